//! The Q-Former: a few learnt query tokens read the picture for the language model.
//!
//! Source: `Blip2QFormerModel` without text input (BLIP-2, arXiv 2301.12597,
//! figure 2, the left half). Post-norm layers as in BERT.

use candle_core::{Result, Tensor};

use super::config::QFormerConfig;
use crate::nn::bert::{BertLayer, BertNames, BertShape};
use crate::nn::{LayerNorm, Rows, Weights};

/// Image embeddings in, one embedding a query token out.
pub struct QFormer {
    /// `[1, queries, hidden]`.
    query_tokens: Tensor,
    layernorm: LayerNorm,
    layers: Vec<BertLayer>,
}

impl QFormer {
    /// `vb` is the checkpoint's root, since the query tokens lie there.
    pub fn new(config: &QFormerConfig, num_query_tokens: usize, vb: Weights) -> Result<Self> {
        let query_tokens = vb.get((1, num_query_tokens, config.hidden_size), "query_tokens")?;
        let vb = vb.pp("qformer");
        let layers = (0..config.num_hidden_layers)
            .map(|index| BertLayer::new(&shape(config, index), NAMES, vb.pp("encoder.layer").pp(index)))
            .collect::<Result<_>>()?;
        Ok(Self {
            query_tokens,
            layernorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("layernorm"))?,
            layers,
        })
    }

    /// `[batch, 1 + patches, vision hidden]` to `[batch, queries, hidden]`.
    ///
    /// The Q-Former computes in the dtype of its own weights, and the result
    /// comes back in the dtype of the image embeddings.
    pub fn forward(&self, image_embeds: &Tensor) -> Result<Tensor> {
        let batch = image_embeds.dim(0)?;
        let image = image_embeds.to_dtype(self.query_tokens.dtype())?;
        let (_, queries, hidden) = self.query_tokens.dims3()?;
        let mut x = self
            .layernorm
            .forward(&self.query_tokens.broadcast_as((batch, queries, hidden))?)?;
        let rows = Rows::by_count(batch * queries);
        for layer in &self.layers {
            x = layer.forward(rows, &x, Some(&image))?;
        }
        x.to_dtype(image_embeds.dtype())
    }
}

/// What the layers' tensors are called.
const NAMES: BertNames = BertNames {
    projections: "attention",
    intermediate: "intermediate_query",
    output: "output_query",
};

/// The queries look at the picture in every `cross_attention_frequency`-th layer, the first included.
fn shape(config: &QFormerConfig, index: usize) -> BertShape {
    let looks = index.is_multiple_of(config.cross_attention_frequency);
    BertShape {
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        heads: config.num_attention_heads,
        hidden_act: config.hidden_act,
        layer_norm_eps: config.layer_norm_eps,
        looks_at: looks.then_some(config.encoder_hidden_size),
    }
}
