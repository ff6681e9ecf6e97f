//! T5, a language model: an encoder reads the prompt, a decoder writes the answer. Positions
//! are relative, as a bias on the attention's scores.
//!
//! Source: Raffel et al. 2020, *Exploring the Limits of Transfer Learning with a Unified
//! Text-to-Text Transformer* (arXiv 1910.10683), as `T5ForConditionalGeneration` computes it.

use candle_core::{DType, Result, Tensor};

use super::config::T5Config;
use super::precision::of_t5_wo;
use crate::nn::kv_cache::LayerCache;
use crate::nn::{self, Activation, Kernels, KvCache, Linear, Mask, RmsNorm, WeightMatrix, Weights};
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
}

/// What the decoder looks back at.
pub struct T5Cache {
    /// The answer so far.
    answer: KvCache,
    /// The prompt's keys and values, `[1, heads, prompt, d_kv]` in each layer. They are the
    /// same for all rows.
    prompt: Vec<(Tensor, Tensor)>,
}

impl T5Cache {
    /// Row `i` becomes a copy of the row `rows[i]` that was; rows that are not named are gone.
    pub fn reorder(&mut self, rows: &[usize]) -> Result<()> {
        self.answer.reorder(rows)
    }
}

impl T5 {
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

    /// Reads a prompt, `[1, prompt, d_model]`, into a new cache with room for `positions` of
    /// the answer.
    pub fn encode(&self, embeds: &Tensor, positions: usize) -> Result<T5Cache> {
        let hidden = self.encoder.encode(embeds)?;
        Ok(T5Cache {
            answer: KvCache::new(self.decoder.blocks.len(), positions),
            prompt: self.decoder.keys_and_values_of(&hidden)?,
        })
    }

    /// Reads the token that every answer begins with.
    pub fn decode_start(&self, cache: &mut T5Cache) -> Result<Tensor> {
        self.decode(&self.embed_answer(&[self.start_token])?, cache)
    }

    /// Reads the next tokens of an answer's rows, `[rows, tokens, d_model]`, and gives the
    /// hidden states behind them.
    pub fn decode(&self, embeds: &Tensor, cache: &mut T5Cache) -> Result<Tensor> {
        self.decoder.decode(embeds, cache)
    }

    /// Hidden states to logits, `[…, d_model]` to `[…, vocabulary]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match self.scale {
            Some(scale) => self.lm_head.forward(&(hidden * scale)?),
            None => self.lm_head.forward(hidden),
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

    /// Every position sees every other.
    fn encode(&self, embeds: &Tensor) -> Result<Tensor> {
        let bias = self.bias.forward(embeds.dim(1)?, 0, embeds.device())?;
        let mut x = embeds.clone();
        for block in &self.blocks {
            x = block.forward(&x, &bias, None, None)?;
        }
        self.final_layer_norm.forward(&x)
    }

    /// Every position sees those before it, and the prompt.
    fn decode(&self, embeds: &Tensor, cache: &mut T5Cache) -> Result<Tensor> {
        let (length, past) = (embeds.dim(1)?, cache.answer.length);
        let bias = self.bias.forward(length, past, embeds.device())?;
        let mut x = embeds.clone();
        for ((block, answer), prompt) in self.blocks.iter().zip(&mut cache.answer.layers).zip(&cache.prompt) {
            x = block.forward(&x, &bias, Some((answer, past)), Some(prompt))?;
        }
        cache.answer.length += length;
        self.final_layer_norm.forward(&x)
    }

    /// What the decoder's blocks see of the encoder's hidden states.
    fn keys_and_values_of(&self, hidden: &Tensor) -> Result<Vec<(Tensor, Tensor)>> {
        let attentions = self.blocks.iter().filter_map(|block| block.cross_attention.as_ref());
        attentions.map(|half| half.attention.keys_and_values(hidden)).collect()
    }
}

/// `T5Block`: each of its parts is normed before, and added to what came in.
struct Block {
    self_attention: NormedAttention,
    /// The decoder's look at the prompt.
    cross_attention: Option<NormedAttention>,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
    kernels: Kernels,
}

impl Block {
    fn new(config: &T5Config, is_decoder: bool, vb: Weights) -> Result<Self> {
        let cross_attention = is_decoder
            .then(|| NormedAttention::new(config, "EncDecAttention", vb.pp(1)))
            .transpose()?;
        let last = vb.pp(if is_decoder { 2 } else { 1 });
        Ok(Self {
            self_attention: NormedAttention::new(config, "SelfAttention", vb.pp(0))?,
            cross_attention,
            feed_forward_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, last.pp("layer_norm"))?,
            feed_forward: FeedForward::new(config, last.pp("DenseReluDense"))?,
            kernels: vb.kernels(),
        })
    }

    /// `cache` is the decoder's, with the number of positions in it; `prompt` are the keys and
    /// values that it looks at.
    fn forward(
        &self,
        x: &Tensor,
        bias: &Mask,
        cache: Option<(&mut LayerCache, usize)>,
        prompt: Option<&(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let add = |x: &Tensor, y: &Tensor| finite(add(self.kernels, x, y)?);
        let mut x = add(x, &self.self_attention.self_attention(x, bias, cache)?)?;
        if let (Some(attention), Some(prompt)) = (&self.cross_attention, prompt) {
            x = add(&x, &attention.cross_attention(&x, prompt)?)?;
        }
        let normed = self.feed_forward_norm.forward(&x)?;
        add(&x, &self.feed_forward.forward(&normed)?)
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
/// what the next layers can add to.
fn finite(x: Tensor) -> Result<Tensor> {
    const LARGEST: f64 = 65504.0;
    if x.dtype() != DType::F16
        || x.abs()?
            .max_all()?
            .to_dtype(DType::F32)?
            .to_scalar::<f32>()?
            .is_finite()
    {
        return Ok(x);
    }
    x.clamp(-(LARGEST - 1000.0), LARGEST - 1000.0)
}

/// Attention with the norm in front of it: `T5LayerSelfAttention`, `T5LayerCrossAttention`.
struct NormedAttention {
    layer_norm: RmsNorm,
    attention: Attention,
}

impl NormedAttention {
    fn new(config: &T5Config, name: &str, vb: Weights) -> Result<Self> {
        Ok(Self {
            layer_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, vb.pp("layer_norm"))?,
            attention: Attention::new(config, vb.pp(name))?,
        })
    }

    fn self_attention(&self, x: &Tensor, bias: &Mask, cache: Option<(&mut LayerCache, usize)>) -> Result<Tensor> {
        let x = self.layer_norm.forward(x)?;
        let (mut k, mut v) = self.attention.keys_and_values(&x)?;
        if let Some((cache, past)) = cache {
            (k, v) = cache.append(past, &k, &v)?;
        }
        self.attention.forward(&x, &k, &v, Some(bias))
    }

    /// All rows look at the same prompt, so they are read as one row of more queries.
    fn cross_attention(&self, x: &Tensor, (k, v): &(Tensor, Tensor)) -> Result<Tensor> {
        let (rows, length, d_model) = x.dims3()?;
        let queries = self.layer_norm.forward(x)?.reshape((1, rows * length, d_model))?;
        let y = self.attention.forward(&queries, k, v, None)?;
        y.reshape((rows, length, d_model))
    }
}

/// `T5Attention`: no biases, and scores that are not scaled.
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    attention: nn::Attention,
}

impl Attention {
    fn new(config: &T5Config, vb: Weights) -> Result<Self> {
        let (d_model, inner) = (config.d_model, config.inner_size());
        let linear = |name| Linear::new(d_model, inner, false, vb.pp(name));
        Ok(Self {
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            o: Linear::new(inner, d_model, false, vb.pp("o"))?,
            attention: nn::Attention::unscaled(config.num_heads, &vb),
        })
    }

    /// `[rows, length, d_model]` to `[rows, heads, length, d_kv]`, twice.
    fn keys_and_values(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let k = self.attention.split_heads(&self.k.forward(x)?)?;
        Ok((k, self.attention.split_heads(&self.v.forward(x)?)?))
    }

    fn forward(&self, x: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Mask>) -> Result<Tensor> {
        let q = self.attention.split_heads(&self.q.forward(x)?)?;
        self.o.forward(&self.attention.forward(&q, k, v, bias)?)
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
            wo: Linear::new(config.d_ff, config.d_model, false, for_wo.pp("wo"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = self.wi.forward_activated(x, self.activation)?;
        if let Some(gate) = &self.gate {
            y = (y * gate.forward(x)?)?;
        }
        self.wo.forward(&y.to_dtype(self.wo_dtype)?)
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
