//! The texts' side: BERT that looks at a picture, or in the decoder of answers at a question.
//!
//! Source: `BlipTextModel` and `BlipTextLMHeadModel`. One module in three uses: a decoder (causal, with
//! a head), a text's encoder with the picture, and one without it.

use candle_core::{Result, Tensor};

use super::config::BlipConfig;
use crate::nn::bert::{BertLayer, BertNames};
use crate::nn::{
    Activation, AttentionRecord, KvPool, KvShape, LayerNorm, Linear, LookedAt, LookingRows, Paging, Rows, WeightMatrix,
    Weights, cuda_rules,
};

/// What the layers' tensors are called.
const NAMES: BertNames = BertNames {
    projections: "self",
    intermediate: "intermediate",
    output: "output",
};

/// The table of tokens, below the model's name.
const TOKENS: &str = "embeddings.word_embeddings.weight";

/// Token ids in, a hidden state a token out.
pub struct TextModel {
    /// `[vocabulary, hidden]`.
    word_embeddings: WeightMatrix,
    /// `[positions, hidden]`.
    position_embeddings: Tensor,
    layer_norm: LayerNorm,
    layers: Vec<BertLayer>,
}

impl TextModel {
    /// Takes the tensors `embeddings.*` and `encoder.*` below `vb`.
    ///
    /// # Errors
    /// As for [`Blip::new`](super::Blip::new).
    pub fn new(config: &BlipConfig, vb: Weights) -> Result<Self> {
        let text = &config.text_config;
        let hidden = text.hidden_size;
        let embeddings = vb.pp("embeddings");
        let layers = vb.pp("encoder.layer");
        let shape = config.bert_shape();
        Ok(Self {
            word_embeddings: WeightMatrix::new(hidden, text.vocab_size, TOKENS, &vb)?,
            position_embeddings: embeddings
                .pp("position_embeddings")
                .get((text.max_position_embeddings, hidden), "weight")?,
            layer_norm: LayerNorm::new(hidden, text.layer_norm_eps, embeddings.pp("LayerNorm"))?,
            layers: (0..text.num_hidden_layers)
                .map(|index| BertLayer::new(&shape, NAMES, layers.pp(index)))
                .collect::<Result<_>>()?,
        })
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Ids and the position of each to what the first layer takes, `[1, ids, hidden]`. Both must be in
    /// their tables.
    ///
    /// # Errors
    /// One is not, or the device's.
    pub fn embed(&self, ids: &[u32], positions: &[u32]) -> Result<Tensor> {
        let places = cuda_rules::index_select(&self.position_embeddings, positions)?;
        let embeds = (self.word_embeddings.rows(ids)? + places)?;
        self.layer_norm.forward(&embeds.unsqueeze(0)?)
    }

    /// The same of a whole text.
    ///
    /// # Errors
    /// As for [`TextModel::embed`].
    pub fn embed_text(&self, ids: &[u32]) -> Result<Tensor> {
        let positions: Vec<u32> = (0..ids.len() as u32).collect();
        self.embed(ids, &positions)
    }

    /// What its layers look at: a picture's hidden states, or a question's, `[1, length, width]`.
    ///
    /// # Errors
    /// The device's.
    pub fn look_at(&self, states: &Tensor) -> Result<LookedAt> {
        LookedAt::new(self.layers.iter().filter_map(|layer| layer.keys_and_values(states)))
    }

    /// One layer of a text whose tokens all see each other: `[1, ids, hidden]` in and out. Without
    /// anything to look at cross-attention is left out.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_layer(
        &self,
        index: usize,
        x: &Tensor,
        looking: &[LookingRows],
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        self.layers[index].encode(index, x, looking, record)
    }

    /// All layers of a text: hidden states `[1, ids, hidden]`. What it gives what it looks at is written down
    /// where that is asked for.
    ///
    /// # Errors
    /// As for [`TextModel::embed`].
    pub fn encode(&self, ids: &[u32], looking: &[LookingRows], record: Option<&AttentionRecord>) -> Result<Tensor> {
        let embeds = self.embed_text(ids)?;
        (0..self.layers()).try_fold(embeds, |x, index| self.encode_layer(index, &x, looking, record))
    }
}

/// A text model with a head: ids in, logits of the next token out.
pub struct TextDecoder {
    pub bert: TextModel,
    /// `cls.predictions.transform`.
    dense: Linear,
    activation: Activation,
    layer_norm: LayerNorm,
    head: Linear,
    kv_shape: KvShape,
}

impl TextDecoder {
    /// Takes the tensors `bert.*` and `cls.*` below `vb`. A head that is not there, or repeats the token
    /// table bit for bit, is that table, held once. Of the two names of the head's bias
    /// `decoder.bias` goes first, as in the reference.
    ///
    /// # Errors
    /// As for [`Blip::new`](super::Blip::new).
    pub fn new(config: &BlipConfig, vb: Weights) -> Result<Self> {
        let text = &config.text_config;
        let (hidden, vocabulary) = (text.hidden_size, text.vocab_size);
        let bert = TextModel::new(config, vb.pp("bert"))?;
        let own = "cls.predictions.decoder.weight";
        let head = if vb.contains_other_than(&format!("bert.{TOKENS}"), own) {
            WeightMatrix::new(hidden, vocabulary, own, &vb)?
        } else {
            bert.word_embeddings.clone()
        };
        let predictions = vb.pp("cls.predictions");
        let bias = match predictions.contains_tensor("decoder.bias") {
            true => "decoder.bias",
            false => "bias",
        };
        let transform = predictions.pp("transform");
        Ok(Self {
            dense: Linear::new(hidden, hidden, true, transform.pp("dense"))?,
            activation: text.hidden_act,
            layer_norm: LayerNorm::new(hidden, text.layer_norm_eps, transform.pp("LayerNorm"))?,
            head: Linear::from_parts(head, Some(predictions.get(vocabulary, bias)?))?,
            kv_shape: KvShape {
                layers: text.num_hidden_layers,
                heads: text.num_attention_heads,
                size: hidden / text.num_attention_heads,
            },
            bert,
        })
    }

    /// What is kept of each position.
    pub fn kv_shape(&self) -> KvShape {
        self.kv_shape
    }

    /// One layer of a pass: `[1, rows, hidden]` in and out.
    ///
    /// # Errors
    /// The device's.
    pub fn layer(
        &self,
        index: usize,
        x: &Tensor,
        paging: &Paging,
        pool: &mut KvPool,
        looking: &[LookingRows],
    ) -> Result<Tensor> {
        self.bert.layers[index].decode(x, (index, paging, pool), looking)
    }

    /// Hidden states to logits, `[…, hidden]` to `[…, vocabulary]`.
    ///
    /// # Errors
    /// The device's.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        // However many ask for logits, each reads one row.
        let x = self.dense.forward_activated_of(Rows::Tokens, hidden, self.activation)?;
        self.head.forward_of(Rows::Tokens, &self.layer_norm.forward(&x)?)
    }
}
