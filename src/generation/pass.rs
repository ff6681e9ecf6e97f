//! What generation asks of a model, and what it takes from it: nothing here runs one.

/// The next tokens to be read, one in each row: row `i` goes on from the row `parents[i]` that
/// was, and a row that is not named is gone. Behind the prompt there is one row, 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// For each row, the row of the pass before that it goes on from; several may name the same
    /// one.
    pub parents: Vec<usize>,
    /// For each row, the token that it reads; as long as `parents`.
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
