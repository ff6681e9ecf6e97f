//! The Q-Former: a few learnt query tokens read the picture for the language model.
//!
//! Source: `Blip2QFormerModel` without text input (BLIP-2, arXiv 2301.12597,
//! figure 2, the left half). Post-norm layers as in BERT.

use candle_core::{Result, Tensor};

use super::config::QFormerConfig;
use crate::nn::{self, Activation, Kernels, LayerNorm, Linear, Weights};

/// Image embeddings in, one embedding a query token out.
pub struct QFormer {
    /// `[1, queries, hidden]`.
    query_tokens: Tensor,
    layernorm: LayerNorm,
    layers: Vec<Layer>,
}

impl QFormer {
    /// `vb` is the checkpoint's root, since the query tokens lie there.
    pub fn new(config: &QFormerConfig, num_query_tokens: usize, vb: Weights) -> Result<Self> {
        let query_tokens = vb.get((1, num_query_tokens, config.hidden_size), "query_tokens")?;
        let vb = vb.pp("qformer");
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(config, index, vb.pp("encoder.layer").pp(index)))
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
        for layer in &self.layers {
            x = layer.forward(&x, &image)?;
        }
        x.to_dtype(image_embeds.dtype())
    }
}

struct Layer {
    attention: Attention,
    /// Only in every `cross_attention_frequency`-th layer, the first included.
    crossattention: Option<Attention>,
    intermediate_query: Linear,
    activation: Activation,
    output_query: ResidualNorm,
}

impl Layer {
    fn new(config: &QFormerConfig, index: usize, vb: Weights) -> Result<Self> {
        let has_crossattention = index.is_multiple_of(config.cross_attention_frequency);
        let crossattention = has_crossattention
            .then(|| Attention::new(config, config.encoder_hidden_size, vb.pp("crossattention")))
            .transpose()?;
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            attention: Attention::new(config, hidden, vb.pp("attention"))?,
            crossattention,
            intermediate_query: Linear::new(hidden, intermediate, true, vb.pp("intermediate_query.dense"))?,
            activation: config.hidden_act,
            output_query: ResidualNorm::new(intermediate, config, vb.pp("output_query"))?,
        })
    }

    fn forward(&self, x: &Tensor, image: &Tensor) -> Result<Tensor> {
        let mut x = self.attention.forward(x, x)?;
        if let Some(crossattention) = &self.crossattention {
            x = crossattention.forward(&x, image)?;
        }
        let intermediate = self.intermediate_query.forward_activated(&x, self.activation)?;
        self.output_query.forward(&intermediate, &x)
    }
}

/// Attention of the queries to themselves or to the picture, with its output layer.
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: ResidualNorm,
    attention: nn::Attention,
}

impl Attention {
    fn new(config: &QFormerConfig, key_size: usize, vb: Weights) -> Result<Self> {
        let hidden = config.hidden_size;
        let inner = vb.pp("attention");
        Ok(Self {
            query: Linear::new(hidden, hidden, true, inner.pp("query"))?,
            key: Linear::new(key_size, hidden, true, inner.pp("key"))?,
            value: Linear::new(key_size, hidden, true, inner.pp("value"))?,
            output: ResidualNorm::new(hidden, config, vb.pp("output"))?,
            attention: nn::Attention::new(config.num_attention_heads, hidden, &vb),
        })
    }

    /// `encoder_hidden_states` are the queries themselves, or in cross-attention the picture's.
    fn forward(&self, x: &Tensor, encoder_hidden_states: &Tensor) -> Result<Tensor> {
        let q = self.attention.split_heads(&self.query.forward(x)?)?;
        let k = self.attention.split_heads(&self.key.forward(encoder_hidden_states)?)?;
        let v = self
            .attention
            .split_heads(&self.value.forward(encoder_hidden_states)?)?;
        self.output.forward(&self.attention.forward(&q, &k, &v, None)?, x)
    }
}

/// `LayerNorm(dense(x) + residual)`.
struct ResidualNorm {
    dense: Linear,
    layer_norm: LayerNorm,
    kernels: Kernels,
}

impl ResidualNorm {
    fn new(inputs: usize, config: &QFormerConfig, vb: Weights) -> Result<Self> {
        Ok(Self {
            dense: Linear::new(inputs, config.hidden_size, true, vb.pp("dense"))?,
            layer_norm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            kernels: vb.kernels(),
        })
    }

    fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.layer_norm
            .forward(&self.kernels.add(&self.dense.forward(x)?, residual)?)
    }
}
