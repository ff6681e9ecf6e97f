//! OPT, a language model: a causal decoder with learnt positions.
//!
//! Source: `OPTForCausalLM`.

use candle_core::{Result, Tensor};

use super::config::OptConfig;
use super::decoder::Decoder;
use crate::nn::{
    Activation, JointLinear, Kernels, KvPool, KvShape, LayerNorm, Linear, Paging, Rows, WeightMatrix, Weights,
    cuda_rules,
};

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
    kv_shape: KvShape,
}

impl Opt {
    /// Takes the tensors `model.decoder.*` below `vb`, and `lm_head.weight` where the head is not
    /// the token table.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
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
            kv_shape: KvShape {
                layers: config.num_hidden_layers,
                heads: config.num_attention_heads,
                size: config.head_size(),
            },
        })
    }
}

impl Decoder for Opt {
    fn kv_shape(&self) -> KvShape {
        self.kv_shape
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embed_tokens.rows(ids)?.unsqueeze(0)
    }

    fn place(&self, embeds: &Tensor, paging: &mut Paging) -> Result<Tensor> {
        let places: Vec<u32> = paging
            .positions()
            .iter()
            .map(|position| position + POSITION_OFFSET as u32)
            .collect();
        embeds + cuda_rules::index_select(&self.embed_positions, &places)?.unsqueeze(0)?
    }

    fn layer(&self, index: usize, x: &Tensor, paging: &Paging, pool: &mut KvPool) -> Result<Tensor> {
        self.layers[index].forward(paging.kind, x, |attention, x| attention.forward(x, index, paging, pool))
    }

    fn finish(&self, x: Tensor) -> Result<Tensor> {
        match &self.final_layer_norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        // However many ask for logits, each reads one row.
        self.lm_head.forward_of(Rows::Tokens, hidden)
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

    fn forward(
        &self,
        rows: Rows,
        x: &Tensor,
        attend: impl FnOnce(&Attention, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let x = self.around(x, &self.self_attn_layer_norm, |x| attend(&self.self_attn, x))?;
        self.around(&x, &self.final_layer_norm, |x| {
            let inner = self.fc1.forward_activated_of(rows, x, self.activation)?;
            self.fc2.forward_of(rows, &inner)
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
    /// `q_proj`, `k_proj` and `v_proj`.
    qkv: JointLinear<3>,
    out_proj: Linear,
    scale: f64,
}

impl Attention {
    fn new(config: &OptConfig, vb: Weights) -> Result<Self> {
        let linear = |name| Linear::new(config.hidden_size, config.hidden_size, config.enable_bias, vb.pp(name));
        Ok(Self {
            qkv: JointLinear::new([linear("q_proj")?, linear("k_proj")?, linear("v_proj")?])?,
            out_proj: linear("out_proj")?,
            scale: (config.head_size() as f64).powf(-0.5),
        })
    }

    fn forward(&self, x: &Tensor, layer: usize, paging: &Paging, pool: &mut KvPool) -> Result<Tensor> {
        let [q, k, v] = self.qkv.forward_of(paging.kind, x)?;
        let attended = pool.attend(layer, paging, [&q, &k, &v], self.scale)?;
        self.out_proj.forward_of(paging.kind, &attended)
    }
}
