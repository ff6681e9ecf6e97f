//! A decoder alone, which reads prompt and answer as one text from front to back: what
//! [`opt`](super::opt) and [`llama`](super::llama) have in common for the passes.

use candle_core::{Result, Tensor};

use crate::nn::{KvPool, KvShape, Paging};

/// Embeddings in, logits out, a layer at a time.
pub trait Decoder: Send + Sync {
    /// What is kept of each position.
    fn kv_shape(&self) -> KvShape;

    /// Token ids to embeddings, `[1, ids, hidden]`. Ids must be below the vocabulary size.
    ///
    /// # Errors
    /// An id that the table does not have, or the device's.
    fn embed(&self, ids: &[u32]) -> Result<Tensor>;

    /// What the first layer takes of embeddings, `[1, rows, hidden]`, whose positions the paging
    /// tells; what all layers need of positions is put there.
    ///
    /// # Errors
    /// The device's.
    fn place(&self, embeds: &Tensor, paging: &mut Paging) -> Result<Tensor>;

    /// One layer of a pass: `[1, rows, hidden]` in and out.
    ///
    /// # Errors
    /// The device's.
    fn layer(&self, index: usize, x: &Tensor, paging: &Paging, pool: &mut KvPool) -> Result<Tensor>;

    /// Behind the last layer.
    ///
    /// # Errors
    /// The device's.
    fn finish(&self, x: Tensor) -> Result<Tensor>;

    /// Hidden states to logits, `[…, hidden]` to `[…, vocabulary]`.
    ///
    /// # Errors
    /// The device's.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor>;
}
