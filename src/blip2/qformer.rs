//! The Q-Former: a few learnt query tokens read the picture for the language model.
//!
//! Source: `Blip2QFormerModel` (BLIP-2, arXiv 2301.12597, figure 2) and `InstructBlipQFormerModel`
//! (InstructBLIP, arXiv 2305.06500, figure 3), post-norm layers as in BERT. Where it reads texts, queries
//! and text attend to each other in every layer, the picture is looked at by queries alone, and each
//! of the two has feed-forward layers of its own.

use candle_core::{Result, Tensor};

use super::config::{ModelClass, QFormerConfig};
use crate::nn::bert::{BertLayer, BertNames, BertShape, FeedForward};
use crate::nn::{AttentionRecord, LayerNorm, Rows, WeightMatrix, Weights, cuda_rules};

/// Image embeddings in, and texts where it reads them; one embedding a query token or text token out.
pub struct QFormer {
    /// `[1, queries, hidden]`.
    query_tokens: Tensor,
    text: Option<TextEmbeddings>,
    layernorm: LayerNorm,
    layers: Vec<Layer>,
}

/// Texts' tokens and where they stand.
struct TextEmbeddings {
    /// `[vocabulary, hidden]`.
    words: WeightMatrix,
    /// `[positions, hidden]`.
    positions: Tensor,
}

impl QFormer {
    /// `vb` is the checkpoint's root, since the query tokens lie there, and in a
    /// [`ModelClass::ImageTextRetrieval`] the text's embeddings.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
    pub fn new(config: &QFormerConfig, num_query_tokens: usize, class: ModelClass, vb: Weights) -> Result<Self> {
        let query_tokens = vb.get((1, num_query_tokens, config.hidden_size), "query_tokens")?;
        let root = vb.pp("qformer");
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(config, index, class, root.pp("encoder.layer").pp(index)))
            .collect::<Result<_>>()?;
        let (embeddings, layernorm) = match class {
            ModelClass::Blip2 => (None, root.pp("layernorm")),
            ModelClass::InstructBlip => (Some(root.pp("embeddings")), root.pp("embeddings.layernorm")),
            ModelClass::ImageTextRetrieval => (Some(vb.pp("embeddings")), root.pp("layernorm")),
        };
        Ok(Self {
            query_tokens,
            text: embeddings.map(|vb| TextEmbeddings::new(config, &vb)).transpose()?,
            layernorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, layernorm)?,
            layers,
        })
    }

    /// The picture without a text: `[batch, 1 + patches, vision hidden]` to `[batch, queries, hidden]`.
    ///
    /// The Q-Former computes in the dtype of its own weights, and the result
    /// comes back in the dtype of the image embeddings.
    ///
    /// # Errors
    /// The device's.
    pub fn forward(&self, image_embeds: &Tensor) -> Result<Tensor> {
        self.forward_recorded(image_embeds, &[], None)
    }

    /// The picture as a text has it looked at: `[1, 1 + patches, vision hidden]` and the text's ids to
    /// `[1, queries, hidden]`.
    ///
    /// # Errors
    /// A Q-Former that reads no texts, ids that it does not know, or the device's.
    pub fn forward_instructed(&self, image_embeds: &Tensor, ids: &[u32]) -> Result<Tensor> {
        self.forward_recorded(image_embeds, ids, None)
    }

    /// Either of these, without ids or with some; what queries give the rows of the picture in each layer that
    /// looks at it is written down where that is asked for.
    ///
    /// # Errors
    /// As for [`QFormer::forward_instructed`].
    pub fn forward_recorded(
        &self,
        image_embeds: &Tensor,
        ids: &[u32],
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        let (_, queries, hidden) = self.query_tokens.dims3()?;
        let x = self
            .query_tokens
            .broadcast_as((image_embeds.dim(0)?, queries, hidden))?;
        let x = match ids {
            [] => x,
            ids => Tensor::cat(&[&x, &self.embed(ids)?], 1)?,
        };
        let x = self.layers(&x, queries, Some((image_embeds, record)))?;
        x.narrow(1, 0, queries)?.contiguous()?.to_dtype(image_embeds.dtype())
    }

    /// A text by itself: its ids to `[1, ids, hidden]`.
    ///
    /// # Errors
    /// As for [`QFormer::forward_instructed`].
    pub fn forward_text(&self, ids: &[u32]) -> Result<Tensor> {
        self.layers(&self.embed(ids)?, 0, None)
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        match &self.text {
            Some(text) => text.forward(ids, &self.query_tokens),
            None => candle_core::bail!("this Q-Former reads no texts"),
        }
    }

    /// Embeddings of so many queries and of a text behind them, through all layers.
    fn layers(&self, embeddings: &Tensor, queries: usize, image: Option<Image>) -> Result<Tensor> {
        let dtype = self.query_tokens.dtype();
        let record = image.and_then(|(_, record)| record);
        let image = image.map(|(rows, _)| rows.to_dtype(dtype)).transpose()?;
        let mut x = self.layernorm.forward(&embeddings.contiguous()?)?;
        for layer in &self.layers {
            x = layer.forward(&x, queries, image.as_ref().map(|image| (image, record)))?;
        }
        Ok(x)
    }
}

impl TextEmbeddings {
    fn new(config: &QFormerConfig, vb: &Weights) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            words: WeightMatrix::new(hidden, config.vocab_size, "word_embeddings.weight", vb)?,
            positions: vb.get((config.max_position_embeddings, hidden), "position_embeddings.weight")?,
        })
    }

    /// `[1, ids, hidden]`, as the other rows are.
    fn forward(&self, ids: &[u32], other: &Tensor) -> Result<Tensor> {
        let most = self.positions.dim(0)?;
        if ids.len() > most {
            candle_core::bail!("{} tokens are more than the {most} that the Q-Former reads", ids.len());
        }
        let positions: Vec<u32> = (0..ids.len() as u32).collect();
        let words = self.words.rows(ids)?.to_dtype(other.dtype())?;
        (words + cuda_rules::index_select(&self.positions, &positions)?)?.unsqueeze(0)
    }
}

/// What the vision tower sees of a picture, and where what queries give it is written down.
type Image<'a> = (&'a Tensor, Option<&'a AttentionRecord>);

/// A layer of BERT, whose queries have a feed-forward layer of their own where it reads texts.
struct Layer {
    bert: BertLayer,
    of_text: Option<FeedForward>,
}

impl Layer {
    fn new(config: &QFormerConfig, index: usize, class: ModelClass, vb: Weights) -> Result<Self> {
        let shape = shape(config, index);
        let of_text = |vb: &Weights| FeedForward::new(&shape, vb.pp("intermediate"), vb.pp("output"));
        Ok(Self {
            of_text: class.reads_text().then(|| of_text(&vb)).transpose()?,
            bert: BertLayer::new(&shape, NAMES, vb)?,
        })
    }

    /// Rows of so many queries and of a text behind them.
    fn forward(&self, x: &Tensor, queries: usize, image: Option<Image>) -> Result<Tensor> {
        let rows = x.dim(1)?;
        let kind = Rows::by_count(x.dim(0)? * rows);
        let x = self.bert.attend(kind, x)?;
        let Some(of_text) = self.of_text.as_ref().filter(|_| rows > queries) else {
            return self.forward_queries(kind, x, image);
        };
        let text = of_text.forward(kind, &x.narrow(1, queries, rows - queries)?.contiguous()?)?;
        if queries == 0 {
            return Ok(text);
        }
        let queries = self.forward_queries(kind, x.narrow(1, 0, queries)?.contiguous()?, image)?;
        Tensor::cat(&[&queries, &text], 1)
    }

    /// What queries do behind the self-attention.
    fn forward_queries(&self, rows: Rows, mut x: Tensor, image: Option<Image>) -> Result<Tensor> {
        if let Some((image, record)) = image {
            x = self.bert.look_at(rows, x, image, record)?;
        }
        self.bert.feed_forward(rows, &x)
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
