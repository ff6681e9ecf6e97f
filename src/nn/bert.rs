//! A layer of BERT with an optional look at something else: the Q-Former's, and those that read and
//! write the texts of BLIP. Post-norm: each part is added to what came in, then normed.
//!
//! Source: Devlin et al. 2018, *BERT* (arXiv 1810.04805), as `BlipTextLayer` and `Blip2QFormerLayer`
//! compute it. Three modes: every row sees every other (bidirectional), the rows of a sequence see those
//! before them (causal, over the KV pool), and either with cross-attention or without.

use candle_core::{Result, Tensor};

use super::attention::Attention as Heads;
use super::attention_record::{Attending, AttentionRecord};
use super::cross_attention::LookingRows;
use super::kv_pool::{KvPool, Paging};
use super::{Activation, JointLinear, Kernels, LayerNorm, Linear, Rows, Weights};

/// The shape of a layer.
#[derive(Clone, Copy, Debug)]
pub struct BertShape {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub heads: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
    /// The width of what cross-attention reads, where the layer has one.
    pub looks_at: Option<usize>,
}

/// What a layer's tensors are called, which differs between networks.
#[derive(Clone, Copy, Debug)]
pub struct BertNames {
    /// Below `attention` and `crossattention`, where the projections are.
    pub projections: &'static str,
    pub intermediate: &'static str,
    pub output: &'static str,
}

/// One layer.
pub struct BertLayer {
    attention: SelfAttention,
    cross_attention: Option<CrossAttention>,
    feed_forward: FeedForward,
}

impl BertLayer {
    /// Takes the tensors of a layer below `vb`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, or whatever the device says.
    pub fn new(shape: &BertShape, names: BertNames, vb: Weights) -> Result<Self> {
        let cross_attention = |width| CrossAttention::new(shape, names, width, vb.pp("crossattention"));
        Ok(Self {
            attention: SelfAttention::new(shape, names, vb.pp("attention"))?,
            cross_attention: shape.looks_at.map(cross_attention).transpose()?,
            feed_forward: FeedForward::new(shape, vb.pp(names.intermediate), vb.pp(names.output))?,
        })
    }

    /// Keys and values of what cross-attention looks at, `[1, length, width]` to
    /// `[1, heads, length, size]` each; none where the layer does not look.
    ///
    /// # Errors
    /// The device's.
    pub fn keys_and_values(&self, looked_at: &Tensor) -> Option<Result<(Tensor, Tensor)>> {
        let attention = self.cross_attention.as_ref()?;
        Some(attention.keys_and_values(looked_at))
    }

    /// The first part of a layer: every row sees every other, `[batch, rows, hidden]` in and out.
    ///
    /// # Errors
    /// The device's.
    pub fn attend(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        self.attention.of_all(rows, x)
    }

    /// The second: every row sees all of `looked_at`, `[batch, length, width]`, if the layer has
    /// cross-attention.
    ///
    /// # Errors
    /// The device's.
    pub fn look_at(
        &self,
        rows: Rows,
        x: Tensor,
        looked_at: &Tensor,
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        let Some(attention) = &self.cross_attention else {
            return Ok(x);
        };
        attention.of_all(rows, &x, looked_at, record)
    }

    /// The last: the feed-forward layer.
    ///
    /// # Errors
    /// The device's.
    pub fn feed_forward(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        self.feed_forward.forward(rows, x)
    }

    /// Every row of a text sees every other, and what was looked at before ([`LookedAt`](super::LookedAt)),
    /// as its `index`-th layer: `[1, rows, hidden]` in and out.
    ///
    /// # Errors
    /// The device's.
    pub fn encode(
        &self,
        index: usize,
        x: &Tensor,
        looking: &[LookingRows],
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        let x = self.attention.of_all(Rows::Prompt, x)?;
        self.feed_forward(Rows::Prompt, &self.look(Rows::Prompt, (index, looking), x, record)?)
    }

    /// The rows of each sequence see those before them and what they look at: `[1, rows, hidden]` in and
    /// out. `cached` are the layer's index, where the rows lie, and the pool.
    ///
    /// # Errors
    /// The device's.
    pub fn decode(&self, x: &Tensor, cached: (usize, &Paging, &mut KvPool), looking: &[LookingRows]) -> Result<Tensor> {
        let (index, rows, record) = (cached.0, cached.1.kind, cached.1.record(Attending::ToLookedAt));
        let x = self.attention.of_earlier(x, cached)?;
        self.feed_forward(rows, &self.look(rows, (index, looking), x, record)?)
    }

    fn look(
        &self,
        rows: Rows,
        looking: (usize, &[LookingRows]),
        x: Tensor,
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        match &self.cross_attention {
            Some(attention) if !looking.1.is_empty() => attention.of_others(rows, &x, looking, record),
            _ => Ok(x),
        }
    }
}

/// A feed-forward layer with its residual.
pub struct FeedForward {
    intermediate: Linear,
    activation: Activation,
    output: ResidualNorm,
}

impl FeedForward {
    /// Takes the tensors of its two parts.
    ///
    /// # Errors
    /// As for [`BertLayer::new`].
    pub fn new(shape: &BertShape, intermediate: Weights, output: Weights) -> Result<Self> {
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        Ok(Self {
            intermediate: Linear::new(hidden, inner, true, intermediate.pp("dense"))?,
            activation: shape.hidden_act,
            output: ResidualNorm::new(inner, shape, output)?,
        })
    }

    /// `[batch, rows, hidden]` in and out.
    ///
    /// # Errors
    /// The device's.
    pub fn forward(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        let intermediate = self.intermediate.forward_activated_of(rows, x, self.activation)?;
        self.output.forward(rows, &intermediate, x)
    }
}

/// Self-attention with its output layer.
struct SelfAttention {
    /// `query`, `key` and `value`.
    qkv: JointLinear<3>,
    output: ResidualNorm,
    heads: Heads,
    scale: f64,
}

impl SelfAttention {
    fn new(shape: &BertShape, names: BertNames, vb: Weights) -> Result<Self> {
        let hidden = shape.hidden_size;
        let linear = |name| Linear::new(hidden, hidden, true, vb.pp(names.projections).pp(name));
        Ok(Self {
            qkv: JointLinear::new([linear("query")?, linear("key")?, linear("value")?])?,
            output: ResidualNorm::new(hidden, shape, vb.pp("output"))?,
            heads: Heads::new(shape.heads, hidden, &vb),
            scale: ((hidden / shape.heads.max(1)) as f64).powf(-0.5),
        })
    }

    fn of_all(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        let [q, k, v] = self.qkv.forward_of(rows, x)?;
        let split = |x: &Tensor| self.heads.split_heads(x);
        let attended = self.heads.forward(&split(&q)?, &split(&k)?, &split(&v)?, None)?;
        self.output.forward(rows, &attended, x)
    }

    fn of_earlier(&self, x: &Tensor, (layer, paging, pool): (usize, &Paging, &mut KvPool)) -> Result<Tensor> {
        let [q, k, v] = self.qkv.forward_of(paging.kind, x)?;
        let attended = pool.attend(layer, paging, [&q, &k, &v], self.scale)?;
        self.output.forward(paging.kind, &attended, x)
    }
}

/// Cross-attention with its output layer.
struct CrossAttention {
    query: Linear,
    /// `key` and `value`, of what is looked at.
    kv: JointLinear<2>,
    output: ResidualNorm,
    heads: Heads,
}

impl CrossAttention {
    fn new(shape: &BertShape, names: BertNames, looks_at: usize, vb: Weights) -> Result<Self> {
        let hidden = shape.hidden_size;
        let linear = |inputs, name| Linear::new(inputs, hidden, true, vb.pp(names.projections).pp(name));
        Ok(Self {
            query: linear(hidden, "query")?,
            kv: JointLinear::new([linear(looks_at, "key")?, linear(looks_at, "value")?])?,
            output: ResidualNorm::new(hidden, shape, vb.pp("output"))?,
            heads: Heads::new(shape.heads, hidden, &vb),
        })
    }

    fn keys_and_values(&self, looked_at: &Tensor) -> Result<(Tensor, Tensor)> {
        let [k, v] = self.kv.forward_of(Rows::Prompt, looked_at)?;
        Ok((self.heads.split_heads(&k)?, self.heads.split_heads(&v)?))
    }

    fn of_all(&self, rows: Rows, x: &Tensor, looked_at: &Tensor, record: Option<&AttentionRecord>) -> Result<Tensor> {
        let (k, v) = self.keys_and_values(looked_at)?;
        let q = self.heads.split_heads(&self.query.forward_of(rows, x)?)?;
        if let Some(record) = record {
            self.heads.record(&q, &k, record)?;
        }
        self.output.forward(rows, &self.heads.forward(&q, &k, &v, None)?, x)
    }

    fn of_others(
        &self,
        rows: Rows,
        x: &Tensor,
        (layer, looking): (usize, &[LookingRows]),
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        let queries = self.query.forward_of(rows, x)?;
        self.output
            .forward(rows, &self.heads.look(&queries, layer, looking, record)?, x)
    }
}

/// `LayerNorm(dense(x) + residual)`.
struct ResidualNorm {
    dense: Linear,
    layer_norm: LayerNorm,
    kernels: Kernels,
}

impl ResidualNorm {
    fn new(inputs: usize, shape: &BertShape, vb: Weights) -> Result<Self> {
        Ok(Self {
            dense: Linear::new(inputs, shape.hidden_size, true, vb.pp("dense"))?,
            layer_norm: LayerNorm::new(shape.hidden_size, shape.layer_norm_eps, vb.pp("LayerNorm"))?,
            kernels: vb.kernels(),
        })
    }

    fn forward(&self, rows: Rows, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let x = self.dense.forward_of(rows, x)?;
        self.layer_norm.forward(&self.kernels.add(&x, residual)?)
    }
}
