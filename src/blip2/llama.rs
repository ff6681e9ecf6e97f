//! LLaMA, the language model that Vicuna is: a causal decoder whose attention turns queries and keys
//! by their positions.
//!
//! Source: Touvron et al. 2023, *LLaMA: Open and Efficient Foundation Language Models* (arXiv
//! 2302.13971), as `LlamaForCausalLM` computes it.

use candle_core::{Result, Tensor};

use super::config::LlamaConfig;
use super::decoder::Decoder;
use crate::nn::{
    Activation, JointLinear, Kernels, KvPool, KvShape, Linear, Paging, RmsNorm, RotaryEmbedding, Rows, WeightMatrix,
    Weights,
};

/// The embedding of each token.
const TOKENS: &str = "model.embed_tokens.weight";

/// Embeddings in, logits out.
pub struct Llama {
    /// `[vocabulary, hidden]`.
    embed_tokens: WeightMatrix,
    rotary: RotaryEmbedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    /// Hidden states to logits.
    lm_head: Linear,
    kv_shape: KvShape,
}

impl Llama {
    /// Takes the tensors `model.*` below `vb`, and `lm_head.weight` where the head is not the token
    /// table.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
    pub fn new(config: &LlamaConfig, vb: Weights) -> Result<Self> {
        let model = vb.pp("model");
        let embed_tokens = WeightMatrix::new(config.hidden_size, config.vocab_size, TOKENS, &vb)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| DecoderLayer::new(config, model.pp("layers").pp(index)))
            .collect::<Result<_>>()?;
        Ok(Self {
            rotary: RotaryEmbedding::new(config.head_dim, config.rope_theta, &vb),
            layers,
            norm: RmsNorm::new(config.hidden_size, config.rms_norm_eps, model.pp("norm"))?,
            lm_head: Linear::from_parts(lm_head(config, &embed_tokens, &vb)?, None)?,
            embed_tokens,
            kv_shape: KvShape {
                layers: config.num_hidden_layers,
                heads: config.num_attention_heads,
                size: config.head_dim,
            },
        })
    }
}

impl Decoder for Llama {
    fn kv_shape(&self) -> KvShape {
        self.kv_shape
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embed_tokens.rows(ids)?.unsqueeze(0)
    }

    fn place(&self, embeds: &Tensor, paging: &mut Paging) -> Result<Tensor> {
        paging.rotation = Some(self.rotary.at(&paging.positions())?);
        Ok(embeds.clone())
    }

    fn layer(&self, index: usize, x: &Tensor, paging: &Paging, pool: &mut KvPool) -> Result<Tensor> {
        self.layers[index].forward(x, (index, paging, pool))
    }

    fn finish(&self, x: Tensor) -> Result<Tensor> {
        self.norm.forward(&x)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        // However many ask for logits, each reads one row.
        self.lm_head.forward_of(Rows::Tokens, hidden)
    }
}

/// The reference ties the head to the token embedding where the config says so and the checkpoint
/// holds no head of its own; a head that differs wins.
fn lm_head(config: &LlamaConfig, embed_tokens: &WeightMatrix, vb: &Weights) -> Result<WeightMatrix> {
    if config.tie_word_embeddings && !vb.contains_other_than(TOKENS, "lm_head.weight") {
        return Ok(embed_tokens.clone());
    }
    WeightMatrix::new(config.hidden_size, config.vocab_size, "lm_head.weight", vb)
}

/// `LlamaDecoderLayer`: each half is normed before, and added to what came in.
struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
    kernels: Kernels,
}

impl DecoderLayer {
    fn new(config: &LlamaConfig, vb: Weights) -> Result<Self> {
        let norm = |name| RmsNorm::new(config.hidden_size, config.rms_norm_eps, vb.pp(name));
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn: Attention::new(config, vb.pp("self_attn"))?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp: Mlp::new(config, vb.pp("mlp"))?,
            kernels: vb.kernels(),
        })
    }

    fn forward(&self, x: &Tensor, cached: (usize, &Paging, &mut KvPool)) -> Result<Tensor> {
        let rows = cached.1.kind;
        let attended = self.self_attn.forward(&self.input_layernorm.forward(x)?, cached)?;
        let x = self.kernels.add(x, &attended)?;
        let normed = self.post_attention_layernorm.forward(&x)?;
        self.kernels.add(&x, &self.mlp.forward(rows, &normed)?)
    }
}

/// `LlamaAttention`: several heads of queries may share one of keys and values.
struct Attention {
    /// `q_proj`, `k_proj` and `v_proj`.
    qkv: JointLinear<3>,
    o_proj: Linear,
    heads: usize,
    key_value_heads: usize,
    scale: f64,
}

impl Attention {
    fn new(config: &LlamaConfig, vb: Weights) -> Result<Self> {
        let (hidden, bias) = (config.hidden_size, config.attention_bias);
        let (heads, key_value_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let linear = |name, heads| Linear::new(hidden, heads * config.head_dim, bias, vb.pp(name));
        Ok(Self {
            qkv: JointLinear::new([
                linear("q_proj", heads)?,
                linear("k_proj", key_value_heads)?,
                linear("v_proj", key_value_heads)?,
            ])?,
            o_proj: Linear::new(heads * config.head_dim, hidden, bias, vb.pp("o_proj"))?,
            heads,
            key_value_heads,
            scale: (config.head_dim as f64).powf(-0.5),
        })
    }

    fn forward(&self, x: &Tensor, (layer, paging, pool): (usize, &Paging, &mut KvPool)) -> Result<Tensor> {
        let [q, k, v] = self.qkv.forward_of(paging.kind, x)?;
        let (q, k) = match &paging.rotation {
            Some(rotation) => (rotation.rotate(&q)?, rotation.rotate(&k)?),
            None => candle_core::bail!("the pass has no angles: its rows were not placed"),
        };
        let (k, v) = (self.for_each_head(k)?, self.for_each_head(v)?);
        let attended = pool.attend(layer, paging, [&q, &k, &v], self.scale)?;
        self.o_proj.forward_of(paging.kind, &attended)
    }

    /// Keys or values with one head for each of the queries', which lie beside those that they share
    /// with: `repeat_kv`.
    fn for_each_head(&self, x: Tensor) -> Result<Tensor> {
        if self.heads == self.key_value_heads {
            return Ok(x);
        }
        let (batch, rows, width) = x.dims3()?;
        let (shared, size) = (self.heads / self.key_value_heads, width / self.key_value_heads);
        let heads = x.reshape((batch, rows, self.key_value_heads, 1, size))?;
        let repeated = heads.broadcast_as((batch, rows, self.key_value_heads, shared, size))?;
        repeated.contiguous()?.reshape((batch, rows, self.heads * size))
    }
}

/// `LlamaMLP`: the activation of one product lets another one through.
struct Mlp {
    gate_proj: Linear,
    activation: Activation,
    up_proj: Linear,
    down_proj: Linear,
    kernels: Kernels,
}

impl Mlp {
    fn new(config: &LlamaConfig, vb: Weights) -> Result<Self> {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        Ok(Self {
            gate_proj: Linear::new(hidden, inner, bias, vb.pp("gate_proj"))?,
            activation: config.hidden_act,
            up_proj: Linear::new(hidden, inner, bias, vb.pp("up_proj"))?,
            down_proj: Linear::new(inner, hidden, bias, vb.pp("down_proj"))?,
            kernels: vb.kernels(),
        })
    }

    fn forward(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        let gate = self.gate_proj.forward_activated_of(rows, x, self.activation)?;
        let inner = self.kernels.multiply(&gate, &self.up_proj.forward_of(rows, x)?)?;
        self.down_proj.forward_of(rows, &inner)
    }
}
