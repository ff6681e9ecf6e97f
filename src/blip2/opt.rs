//! OPT, a language model: a causal decoder with learnt positions.
//!
//! Source: `OPTForCausalLM`.

use candle_core::{Result, Tensor};

use super::config::OptConfig;
use crate::nn::kv_cache::LayerCache;
use crate::nn::{self, Activation, Kernels, KvCache, LayerNorm, Linear, Mask, WeightMatrix, Weights};

/// torch's default, which OPT's config cannot change.
const LAYER_NORM_EPS: f64 = 1e-5;

/// The first two rows of the position table are never used, and stored.
pub const POSITION_OFFSET: usize = 2;

/// The embedding of each token.
const TOKENS: &str = "model.decoder.embed_tokens.weight";

/// Embeddings in, logits out.
pub struct Opt {
    /// `[vocabulary, hidden]`.
    embed_tokens: WeightMatrix,
    /// `[positions + 2, hidden]`.
    embed_positions: Tensor,
    layers: Vec<DecoderLayer>,
    final_layer_norm: Option<LayerNorm>,
    /// Hidden states to logits.
    lm_head: Linear,
}

impl Opt {
    pub fn new(config: &OptConfig, vb: Weights) -> Result<Self> {
        let decoder = vb.pp("model.decoder");
        let hidden = config.hidden_size;
        let embed_tokens = WeightMatrix::new(hidden, config.vocab_size, TOKENS, &vb)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| DecoderLayer::new(config, decoder.pp("layers").pp(index)))
            .collect::<Result<_>>()?;
        let has_final_norm = config.do_layer_norm_before && !config.remove_final_layer_norm;
        let lm_head = lm_head(config, &embed_tokens, &vb)?;
        Ok(Self {
            embed_positions: decoder.get(
                (config.max_position_embeddings + POSITION_OFFSET, hidden),
                "embed_positions.weight",
            )?,
            layers,
            final_layer_norm: has_final_norm
                .then(|| norm(config, decoder.pp("final_layer_norm")))
                .transpose()?,
            lm_head: Linear::from_parts(lm_head, None)?,
            embed_tokens,
        })
    }

    /// An empty cache with room for `positions`, in one piece; it grows where more come.
    pub fn new_cache(&self, positions: usize) -> KvCache {
        KvCache::new(self.layers.len(), positions)
    }

    /// Token ids to embeddings, `[1, ids, hidden]`. Ids must be below the vocabulary size.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embed_tokens.rows(ids)?.unsqueeze(0)
    }

    /// Reads the next positions of every row, `[rows, length, hidden]`, and gives the hidden
    /// states behind them.
    pub fn forward(&self, embeds: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let length = embeds.dim(1)?;
        let positions = self.embed_positions.narrow(0, POSITION_OFFSET + cache.length, length)?;
        let mut x = embeds.broadcast_add(&positions)?;
        let mask = if length > 1 {
            Some(Mask::causal(length, cache.length, x.device())?)
        } else {
            None
        };
        let past = cache.length;
        for (layer, cache) in self.layers.iter().zip(&mut cache.layers) {
            x = layer.forward(&x, mask.as_ref(), past, cache)?;
        }
        cache.length += length;
        match &self.final_layer_norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }

    /// Hidden states to logits, `[…, hidden]` to `[…, vocabulary]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.lm_head.forward(hidden)
    }
}

/// The reference ties the head to the token embedding where the config says so
/// and the checkpoint holds no head of its own; a head that differs wins.
fn lm_head(config: &OptConfig, embed_tokens: &WeightMatrix, vb: &Weights) -> Result<WeightMatrix> {
    if config.tie_word_embeddings && !vb.contains_other_than(TOKENS, "lm_head.weight") {
        return Ok(embed_tokens.clone());
    }
    WeightMatrix::new(config.hidden_size, config.vocab_size, "lm_head.weight", vb)
}

fn norm(config: &OptConfig, vb: Weights) -> Result<LayerNorm> {
    if config.layer_norm_elementwise_affine {
        LayerNorm::new(config.hidden_size, LAYER_NORM_EPS, vb)
    } else {
        LayerNorm::plain(config.hidden_size, LAYER_NORM_EPS, &vb)
    }
}

struct DecoderLayer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    /// OPT-350m alone norms after each half instead of before.
    norm_before: bool,
    kernels: Kernels,
}

impl DecoderLayer {
    fn new(config: &OptConfig, vb: Weights) -> Result<Self> {
        let (hidden, ffn, bias) = (config.hidden_size, config.ffn_dim, config.enable_bias);
        Ok(Self {
            self_attn: Attention::new(config, vb.pp("self_attn"))?,
            self_attn_layer_norm: norm(config, vb.pp("self_attn_layer_norm"))?,
            fc1: Linear::new(hidden, ffn, bias, vb.pp("fc1"))?,
            activation: config.activation_function,
            fc2: Linear::new(ffn, hidden, bias, vb.pp("fc2"))?,
            final_layer_norm: norm(config, vb.pp("final_layer_norm"))?,
            norm_before: config.do_layer_norm_before,
            kernels: vb.kernels(),
        })
    }

    fn forward(&self, x: &Tensor, mask: Option<&Mask>, past: usize, cache: &mut LayerCache) -> Result<Tensor> {
        let x = self.around(x, &self.self_attn_layer_norm, |x| {
            self.self_attn.forward(x, mask, past, cache)
        })?;
        self.around(&x, &self.final_layer_norm, |x| {
            self.fc2.forward(&self.fc1.forward_activated(x, self.activation)?)
        })
    }

    /// A half of the layer with its residual, normed before or after.
    fn around(&self, x: &Tensor, norm: &LayerNorm, half: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.norm_before {
            self.kernels.add(x, &half(&norm.forward(x)?)?)
        } else {
            norm.forward(&self.kernels.add(x, &half(x)?)?)
        }
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    attention: nn::Attention,
}

impl Attention {
    fn new(config: &OptConfig, vb: Weights) -> Result<Self> {
        let linear = |name| Linear::new(config.hidden_size, config.hidden_size, config.enable_bias, vb.pp(name));
        Ok(Self {
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            attention: nn::Attention::new(config.num_attention_heads, config.hidden_size, &vb),
        })
    }

    fn forward(&self, x: &Tensor, mask: Option<&Mask>, past: usize, cache: &mut LayerCache) -> Result<Tensor> {
        let q = self.attention.split_heads(&self.q_proj.forward(x)?)?;
        let k = self.attention.split_heads(&self.k_proj.forward(x)?)?;
        let v = self.attention.split_heads(&self.v_proj.forward(x)?)?;
        let (k, v) = cache.append(past, &k, &v)?;
        self.out_proj.forward(&self.attention.forward(&q, &k, &v, mask)?)
    }
}
