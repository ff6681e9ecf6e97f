//! What generation asks of a model, and what it takes from it: nothing here runs one.

/// The next tokens to be read, one in each row: row `i` goes on from the row `parents[i]` that
/// was, and a row that is not named is gone. Behind the prompt there is one row, 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    pub parents: Vec<usize>,
    pub tokens: Vec<u32>,
}

/// What an answer goes on from.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The ids in front of the answer where the rules of generation look for them.
    pub ids_before: Vec<u32>,
    /// The tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
    /// The most ids that there may be, those in front of the answer among them.
    pub max_length: usize,
}
