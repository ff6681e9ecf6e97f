//! What generation asks of a model: forward passes.

/// A prompt that a language model has read, and that goes on token by token, in rows.
pub trait Forward {
    /// Reads one more token in each row, and gives the logits behind them, one number a token of
    /// the vocabulary in each row. Row `i` goes on from the row `parents[i]` that was; a row that
    /// is not named is gone. Behind the prompt there is one row.
    ///
    /// # Errors
    /// The device's.
    fn forward(&mut self, parents: &[usize], tokens: &[u32]) -> candle_core::Result<Vec<Vec<f32>>>;
}

/// What an answer begins with: a prompt that was read.
pub struct Prefilled<'model> {
    pub model: Box<dyn Forward + 'model>,
    /// Behind the prompt, before any rule: `[vocabulary]`.
    pub logits: Vec<f32>,
    /// The ids in front of the answer where the rules of generation look for them.
    pub ids_before: Vec<u32>,
    /// The tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
    /// The most ids that there may be, those in front of the answer among them.
    pub max_length: usize,
}
