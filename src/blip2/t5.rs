//! T5, a language model: an encoder reads the prompt, a decoder writes the answer. Positions
//! are relative, as a bias on the attention's scores.
//!
//! Source: Raffel et al. 2020, *Exploring the Limits of Transfer Learning with a Unified
//! Text-to-Text Transformer* (arXiv 1910.10683), as `T5ForConditionalGeneration` computes it.

use candle_core::{DType, Result, Tensor};

use super::config::T5Config;
use super::precision::of_t5_wo;
use crate::nn::{
    self, Activation, Attending, AttentionRecord, JointLinear, Kernels, KvPool, KvShape, Linear, LookedAt, LookingRows,
    Mask, Paging, RmsNorm, Rows, WeightMatrix, Weights,
};
use relative::RelativeBias;

mod relative;

/// The embedding of each token, of the prompt and of the answer.
const SHARED: &str = "shared.weight";

/// Embeddings in, logits out.
pub struct T5 {
    /// The prompt's table, `[vocabulary, d_model]`.
    shared: WeightMatrix,
    /// The answer's table, which is the same one but for odd files.
    decoder_tokens: WeightMatrix,
    encoder: Stack,
    decoder: Stack,
    lm_head: Linear,
    /// What hidden states are multiplied with in front of the head.
    scale: Option<f64>,
    start_token: u32,
    kv_shape: KvShape,
}

/// A prompt on its way through the encoder.
pub struct PromptEncoding {
    x: Tensor,
    bias: Mask,
    layer: usize,
}

impl T5 {
    /// Takes the tensors `shared`, `encoder.*`, `decoder.*` and `lm_head` below `vb`. A head or a
    /// token table that is not there, or repeats `shared` bit for bit, is `shared`, held once.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
    pub fn new(config: &T5Config, vb: Weights) -> Result<Self> {
        let shared = WeightMatrix::new(config.d_model, config.vocab_size, SHARED, &vb)?;
        let tied = |name: &str| tied(config, name, &shared, &vb);
        Ok(Self {
            decoder_tokens: tied("decoder.embed_tokens.weight")?,
            encoder: Stack::new(config, config.num_layers, false, vb.pp("encoder"))?,
            decoder: Stack::new(config, config.num_decoder_layers, true, vb.pp("decoder"))?,
            lm_head: Linear::from_parts(tied("lm_head.weight")?, None)?,
            scale: config.scale_decoder_outputs.then(|| (config.d_model as f64).powf(-0.5)),
            start_token: config.decoder_start_token_id,
            shared,
            kv_shape: KvShape {
                layers: config.num_decoder_layers,
                heads: config.num_heads,
                size: config.d_kv,
            },
        })
    }

    /// A prompt's ids to embeddings, `[1, ids, d_model]`. Ids must be below the vocabulary size.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.shared.rows(ids)?.unsqueeze(0)
    }

    /// An answer's ids to embeddings, `[1, ids, d_model]`.
    pub fn embed_answer(&self, ids: &[u32]) -> Result<Tensor> {
        self.decoder_tokens.rows(ids)?.unsqueeze(0)
    }

    /// The token that every answer begins with.
    pub fn start_token(&self) -> u32 {
        self.start_token
    }

    /// What the decoder keeps of each position.
    pub fn kv_shape(&self) -> KvShape {
        self.kv_shape
    }

    /// Begins to read a prompt, `[1, prompt, d_model]`.
    pub fn begin_prompt(&self, embeds: &Tensor) -> Result<PromptEncoding> {
        Ok(PromptEncoding {
            bias: self.encoder.bias.forward(embeds.dim(1)?, 0, embeds.device())?,
            x: embeds.clone(),
            layer: 0,
        })
    }

    /// Goes one layer on; gives the prompt as the decoder looks at it behind the last one.
    pub fn read_on(&self, prompt: &mut PromptEncoding) -> Result<Option<LookedAt>> {
        if let Some(block) = self.encoder.blocks.get(prompt.layer) {
            prompt.x = block.encode(&prompt.x, &prompt.bias)?;
            prompt.layer += 1;
            return Ok(None);
        }
        let hidden = self.encoder.final_layer_norm.forward(&prompt.x)?;
        let attentions = self
            .decoder
            .blocks
            .iter()
            .filter_map(|block| block.cross_attention.as_ref());
        let keys_and_values = attentions.map(|half| half.keys_and_values(&hidden));
        LookedAt::new(keys_and_values).map(Some)
    }

    /// What the decoder adds to scores, for so many distances, from the farthest to 0.
    pub fn decoder_bias(&self) -> impl Fn(usize) -> Vec<Vec<f32>> + '_ {
        |distances| self.decoder.bias.by_distance(distances)
    }

    /// One layer of the decoder: `[1, rows, d_model]` in and out, of which so many rows each look
    /// at their prompt.
    pub fn layer(
        &self,
        index: usize,
        x: &Tensor,
        paging: &Paging,
        pool: &mut KvPool,
        prompts: &[LookingRows],
    ) -> Result<Tensor> {
        self.decoder.blocks[index].decode(x, (index, paging, pool), prompts)
    }

    /// Behind the decoder's last layer.
    pub fn finish(&self, x: Tensor) -> Result<Tensor> {
        self.decoder.final_layer_norm.forward(&x)
    }

    /// Hidden states to logits, `[…, d_model]` to `[…, vocabulary]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match self.scale {
            Some(scale) => self.lm_head.forward_of(Rows::Tokens, &(hidden * scale)?),
            None => self.lm_head.forward_of(Rows::Tokens, hidden),
        }
    }
}

/// Whatever the config says, the reference ties tables and head to the shared table where
/// the file holds none of their own; one that differs wins.
fn tied(config: &T5Config, name: &str, shared: &WeightMatrix, vb: &Weights) -> Result<WeightMatrix> {
    if vb.contains_other_than(SHARED, name) {
        WeightMatrix::new(config.d_model, config.vocab_size, name, vb)
    } else {
        Ok(shared.clone())
    }
}

/// The encoder or the decoder: `T5Stack`.
struct Stack {
    blocks: Vec<Block>,
    /// The first block's, used by all.
    bias: RelativeBias,
    final_layer_norm: RmsNorm,
}

impl Stack {
    fn new(config: &T5Config, layers: usize, is_decoder: bool, vb: Weights) -> Result<Self> {
        let blocks = vb.pp("block");
        Ok(Self {
            bias: RelativeBias::new(config, is_decoder, blocks.pp("0.layer.0.SelfAttention"))?,
            blocks: (0..layers)
                .map(|index| Block::new(config, is_decoder, blocks.pp(index).pp("layer")))
                .collect::<Result<_>>()?,
            final_layer_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, vb.pp("final_layer_norm"))?,
        })
    }
}

/// `T5Block`: each of its parts is normed before, and added to what came in.
struct Block {
    self_attention: SelfAttention,
    /// The decoder's look at the prompt.
    cross_attention: Option<CrossAttention>,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
    kernels: Kernels,
}

impl Block {
    fn new(config: &T5Config, is_decoder: bool, vb: Weights) -> Result<Self> {
        let cross_attention = is_decoder.then(|| CrossAttention::new(config, vb.pp(1))).transpose()?;
        let last = vb.pp(if is_decoder { 2 } else { 1 });
        Ok(Self {
            self_attention: SelfAttention::new(config, vb.pp(0))?,
            cross_attention,
            feed_forward_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, last.pp("layer_norm"))?,
            feed_forward: FeedForward::new(config, last.pp("DenseReluDense"))?,
            kernels: vb.kernels(),
        })
    }

    /// In the encoder, where every position sees every other.
    fn encode(&self, x: &Tensor, bias: &Mask) -> Result<Tensor> {
        let x = self.add(x, &self.self_attention.of_all(x, bias)?)?;
        self.feed_forward(Rows::Prompt, &x)
    }

    /// In the decoder, where every position sees those before it, and the prompt.
    fn decode(&self, x: &Tensor, cached: (usize, &Paging, &mut KvPool), prompts: &[LookingRows]) -> Result<Tensor> {
        let (index, rows, record) = (cached.0, cached.1.kind, cached.1.record(Attending::ToLookedAt));
        let mut x = self.add(x, &self.self_attention.of_earlier(x, cached)?)?;
        if let Some(attention) = &self.cross_attention {
            x = self.add(&x, &attention.of_prompts(rows, &x, (index, prompts), record)?)?;
        }
        self.feed_forward(rows, &x)
    }

    fn feed_forward(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        let normed = self.feed_forward_norm.forward(x)?;
        self.add(x, &self.feed_forward.forward(rows, &normed)?)
    }

    fn add(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        finite(add(self.kernels, x, y)?)
    }
}

/// A sum in the larger of two dtypes: in f16 all behind the first feed-forward layer is f32,
/// since what comes out of it is.
fn add(kernels: Kernels, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.dtype() == y.dtype() {
        return kernels.add(x, y);
    }
    x.to_dtype(DType::F32)? + y.to_dtype(DType::F32)?
}

/// As the reference does in f16 alone: where a number became infinite, all are brought back to
/// what the next layers can add to. Whether one did stays on the device: to ask would be to wait for
/// it.
fn finite(x: Tensor) -> Result<Tensor> {
    const LARGEST: f64 = 65504.0;
    if x.dtype() != DType::F16 {
        return Ok(x);
    }
    let is_overflown = x.abs()?.max_all()?.gt(LARGEST)?.broadcast_as(x.shape())?;
    let brought_back = x.clamp(-(LARGEST - 1000.0), LARGEST - 1000.0)?;
    is_overflown.where_cond(&brought_back, &x)
}

/// `T5LayerSelfAttention`: the norm, and attention without biases whose scores are not scaled.
struct SelfAttention {
    layer_norm: RmsNorm,
    /// `q`, `k` and `v`.
    qkv: JointLinear<3>,
    o: Linear,
    heads: nn::Attention,
}

impl SelfAttention {
    fn new(config: &T5Config, vb: Weights) -> Result<Self> {
        let (d_model, inner, names) = (config.d_model, config.inner_size(), vb.pp("SelfAttention"));
        let linear = |name| Linear::new(d_model, inner, false, names.pp(name));
        Ok(Self {
            layer_norm: RmsNorm::new(d_model, config.layer_norm_epsilon, vb.pp("layer_norm"))?,
            qkv: JointLinear::new([linear("q")?, linear("k")?, linear("v")?])?,
            o: Linear::new(inner, d_model, false, names.pp("o"))?,
            heads: nn::Attention::unscaled(config.num_heads, &vb),
        })
    }

    fn of_all(&self, x: &Tensor, bias: &Mask) -> Result<Tensor> {
        let [q, k, v] = self.qkv.forward_of(Rows::Prompt, &self.layer_norm.forward(x)?)?;
        let split = |x: &Tensor| self.heads.split_heads(x);
        let attended = self.heads.forward(&split(&q)?, &split(&k)?, &split(&v)?, Some(bias))?;
        self.o.forward_of(Rows::Prompt, &attended)
    }

    fn of_earlier(&self, x: &Tensor, (layer, paging, pool): (usize, &Paging, &mut KvPool)) -> Result<Tensor> {
        let [q, k, v] = self.qkv.forward_of(paging.kind, &self.layer_norm.forward(x)?)?;
        let attended = pool.attend(layer, paging, [&q, &k, &v], 1.0)?;
        self.o.forward_of(paging.kind, &attended)
    }
}

/// `T5LayerCrossAttention`: the same of the prompt.
struct CrossAttention {
    layer_norm: RmsNorm,
    q: Linear,
    /// `k` and `v`.
    kv: JointLinear<2>,
    o: Linear,
    heads: nn::Attention,
}

impl CrossAttention {
    fn new(config: &T5Config, vb: Weights) -> Result<Self> {
        let (d_model, inner, names) = (config.d_model, config.inner_size(), vb.pp("EncDecAttention"));
        let linear = |name| Linear::new(d_model, inner, false, names.pp(name));
        Ok(Self {
            layer_norm: RmsNorm::new(d_model, config.layer_norm_epsilon, vb.pp("layer_norm"))?,
            q: linear("q")?,
            kv: JointLinear::new([linear("k")?, linear("v")?])?,
            o: Linear::new(inner, d_model, false, names.pp("o"))?,
            heads: nn::Attention::unscaled(config.num_heads, &vb),
        })
    }

    /// `[rows, length, d_model]` to `[rows, heads, length, d_kv]`, twice.
    fn keys_and_values(&self, prompt: &Tensor) -> Result<(Tensor, Tensor)> {
        let [k, v] = self.kv.forward_of(Rows::Prompt, prompt)?;
        Ok((self.heads.split_heads(&k)?, self.heads.split_heads(&v)?))
    }

    fn of_prompts(
        &self,
        kind: Rows,
        x: &Tensor,
        (layer, prompts): (usize, &[LookingRows]),
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        let queries = self.q.forward_of(kind, &self.layer_norm.forward(x)?)?;
        self.o
            .forward_of(kind, &self.heads.look(&queries, layer, prompts, record)?)
    }
}

/// `T5DenseGatedActDense`, or `T5DenseActDense` where there is no gate.
struct FeedForward {
    wi: Linear,
    activation: Activation,
    gate: Option<Linear>,
    wo: Linear,
    /// What `wo` computes in.
    wo_dtype: DType,
    kernels: Kernels,
}

impl FeedForward {
    fn new(config: &T5Config, vb: Weights) -> Result<Self> {
        let linear = |name| Linear::new(config.d_model, config.d_ff, false, vb.pp(name));
        let for_wo = vb.with_precision(of_t5_wo(vb.precision()));
        let (wi, gate) = if config.is_gated {
            (linear("wi_0")?, Some(linear("wi_1")?))
        } else {
            (linear("wi")?, None)
        };
        Ok(Self {
            wi,
            activation: config.activation,
            gate,
            wo_dtype: for_wo.dtype(),
            kernels: vb.kernels(),
            wo: Linear::new(config.d_ff, config.d_model, false, for_wo.pp("wo"))?,
        })
    }

    fn forward(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        let mut y = self.wi.forward_activated_of(rows, x, self.activation)?;
        if let Some(gate) = &self.gate {
            y = self.kernels.multiply(&y, &gate.forward_of(rows, x)?)?;
        }
        self.wo.forward_of(rows, &y.to_dtype(self.wo_dtype)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use half::f16;

    use super::*;

    fn halves(numbers: &[f32]) -> Result<Tensor> {
        Tensor::new(numbers, &Device::Cpu)?.to_dtype(DType::F16)
    }

    #[test]
    fn in_f16_infinite_numbers_are_brought_back_and_finite_ones_stay() -> Result<()> {
        let overflown = finite(halves(&[f32::INFINITY, f32::NEG_INFINITY, 65504.0, -2.0])?)?;
        let expected = [64504.0, -64504.0, 64504.0, -2.0].map(f16::from_f32);
        assert_eq!(overflown.to_vec1::<f16>()?, expected);
        let whole = halves(&[65504.0, -65504.0, 1.0])?;
        assert_eq!(finite(whole.clone())?.to_vec1::<f16>()?, whole.to_vec1::<f16>()?);
        let damaged = finite(halves(&[f32::NAN, 1.0])?)?.to_vec1::<f16>()?;
        assert!(damaged[0].is_nan(), "what is no number is not hidden");
        let f32 = Tensor::new(&[f32::INFINITY], &Device::Cpu)?;
        assert_eq!(finite(f32)?.to_vec1::<f32>()?, [f32::INFINITY]);
        Ok(())
    }

    #[test]
    fn what_comes_out_of_an_f32_layer_is_not_cut_to_f16_again() -> Result<()> {
        let large = Tensor::new(&[100_000f32], &Device::Cpu)?;
        assert_eq!(
            add(Kernels::Candle, &halves(&[0.5])?, &large)?.to_vec1::<f32>()?,
            [100_000.5]
        );
        assert_eq!(
            add(Kernels::Candle, &halves(&[0.5])?, &halves(&[0.25])?)?.dtype(),
            DType::F16
        );
        Ok(())
    }
}
