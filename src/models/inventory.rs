//! Which tensors a checkpoint must hold, by its config alone: names and shapes.
//!
//! The names are those of transformers' `Blip2ForConditionalGeneration`,
//! `InstructBlipForConditionalGeneration`, `Blip2ForImageTextRetrieval` and of BLIP's three classes. From this
//! list come the check of a checkpoint before a byte of its weights is read, the number of parameters, and the
//! memory that a dtype needs.

use super::ModelConfig;
use crate::blip::config::{BlipConfig, Task};
use crate::blip2::config::{
    Blip2Config, LanguageModelConfig, LlamaConfig, ModelClass, OptConfig, QFormerConfig, T5Config, VisionConfig,
};
use crate::blip2::opt::POSITION_OFFSET;
use crate::blip2::precision::{of_qformer, of_t5_wo};
use crate::nn::Precision;

/// A tensor that the config asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// As it stands in the files, from the checkpoint's root.
    pub name: String,
    /// Another name that it may have instead.
    pub or: Option<String>,
    pub shape: Vec<usize>,
    /// By which its precision may be another than the model's.
    pub part: Part,
    pub kind: Kind,
}

impl TensorSpec {
    /// The precision that it has in a model of this one.
    pub fn precision(&self, precision: Precision) -> Precision {
        match self.part {
            Part::QFormer | Part::Matching => of_qformer(precision),
            Part::LanguageModel
                if self
                    .name
                    .strip_suffix(".weight")
                    .is_some_and(|name| name.ends_with(T5_WO)) =>
            {
                of_t5_wo(precision)
            }
            _ => precision,
        }
    }

    /// How many numbers it holds.
    pub fn elements(&self) -> u64 {
        let sizes = self.shape.iter().map(|size| *size as u64);
        sizes.fold(1, u64::saturating_mul)
    }
}

/// The box of the paper's figure that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Vision,
    QFormer,
    LanguageProjection,
    LanguageModel,
    /// What compares texts and pictures, behind the Q-Former and in its precision.
    Matching,
    /// BLIP's, and what compares them with pictures.
    Texts,
}

/// What a tensor is for, as far as number formats treat it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The weight of a linear layer, `[out, in]`: what quantised formats quantise.
    Matrix,
    /// Rows that are looked up, or added as they are; the token table is the head's too.
    Embedding,
    /// Biases and norms.
    Vector,
}

/// The language model's own head, which OPT's checkpoints leave out (it is the token table).
pub const HEAD: &str = "language_model.lm_head.weight";

/// OPT's embedding of each token.
pub const TOKEN_TABLE: &str = "language_model.model.decoder.embed_tokens.weight";

/// LLaMA's.
const LLAMA_TABLE: &str = "language_model.model.embed_tokens.weight";

/// T5's, of the prompt and of the answer.
const SHARED_TABLE: &str = "language_model.shared.weight";

/// A head of BLIP's decoder, which repeats its token table in the published files.
const BLIP_HEAD: &str = "text_decoder.cls.predictions.decoder.weight";

/// BLIP's embeddings of each token, of its encoder and of its decoder.
const BLIP_TABLES: [&str; 2] = [
    "text_encoder.embeddings.word_embeddings.weight",
    "text_decoder.bert.embeddings.word_embeddings.weight",
];

/// What T5 embeds an answer with where a file holds it and it differs from the shared table.
pub const ANSWER_TABLE: &str = "language_model.decoder.embed_tokens.weight";

/// Which T5's encoder embeds a prompt with in some files; the shared table is read for it.
const PROMPT_TABLE: &str = "language_model.encoder.embed_tokens.weight";

/// What the first files of T5 hold, and no T5 has ever read (`_keys_to_ignore_on_load_unexpected` of
/// transformers' `T5ForConditionalGeneration`).
const CROSS_BIAS: &str = "language_model.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

/// Buffers that older transformers saved with the weights: they are computed, not learnt.
const BUFFERS: [&str; 2] = ["position_ids", "inv_freq"];

/// The last matrix of T5's feed-forward layers, which has a precision of its own.
const T5_WO: &str = "DenseReluDense.wo";

/// The tensors that this config asks for, in the order of the model's parts. A tied head is
/// among them only `with_head`, which says that the file holds one all the same.
pub fn inventory(config: &ModelConfig, with_head: bool) -> Vec<TensorSpec> {
    let mut list = List::default();
    match config {
        ModelConfig::Blip2(config) => list.blip2(config, with_head),
        ModelConfig::Blip(config) => list.blip(config, with_head),
    }
    list.tensors
}

/// What a head of its own is called in a model of this config, if it can have one.
pub fn head(config: &ModelConfig) -> Option<&'static str> {
    match config {
        ModelConfig::Blip2(_) => Some(HEAD),
        ModelConfig::Blip(config) => (config.task() != Task::Match).then_some(BLIP_HEAD),
    }
}

/// Whether rows of this tensor are looked up, and it is kept as matrices are.
pub fn is_looked_up_as_matrix(name: &str) -> bool {
    [TOKEN_TABLE, SHARED_TABLE, LLAMA_TABLE, HEAD, BLIP_HEAD].contains(&name) || BLIP_TABLES.contains(&name)
}

/// Whether a tensor that the config does not ask for may be in a sound file all the same.
pub fn may_be_left(name: &str, config: &ModelConfig) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let blip2 = config.blip2().map(|config| &config.text_config);
    let is_of_t5 = matches!(blip2, Some(LanguageModelConfig::T5(_)));
    BUFFERS.contains(&last) || (is_of_t5 && [PROMPT_TABLE, ANSWER_TABLE, CROSS_BIAS].contains(&name))
}

/// How many numbers the model has.
pub fn parameters(config: &ModelConfig) -> u64 {
    let tensors = inventory(config, config.expects_head());
    tensors.iter().map(TensorSpec::elements).sum()
}

struct List {
    tensors: Vec<TensorSpec>,
    part: Part,
}

impl Default for List {
    fn default() -> Self {
        Self {
            tensors: Vec::new(),
            part: Part::Vision,
        }
    }
}

impl List {
    fn add(&mut self, name: String, shape: &[usize], kind: Kind) {
        self.tensors.push(TensorSpec {
            name,
            or: None,
            shape: shape.to_vec(),
            part: self.part,
            kind,
        });
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool) {
        self.add(format!("{name}.weight"), &[outputs, inputs], Kind::Matrix);
        if bias {
            self.add(format!("{name}.bias"), &[outputs], Kind::Vector);
        }
    }

    fn norm(&mut self, name: &str, size: usize) {
        self.add(format!("{name}.weight"), &[size], Kind::Vector);
        self.add(format!("{name}.bias"), &[size], Kind::Vector);
    }

    fn blip2(&mut self, config: &Blip2Config, with_head: bool) {
        self.vision(&config.vision_config);
        self.qformer(&config.qformer_config, config.num_query_tokens, config.class());
        if config.class() == ModelClass::ImageTextRetrieval {
            self.matching(config);
            return;
        }
        self.part = Part::LanguageProjection;
        let (width, hidden) = (config.qformer_config.hidden_size, config.text_config.hidden_size());
        self.linear("language_projection", width, hidden, true);
        self.part = Part::LanguageModel;
        match &config.text_config {
            LanguageModelConfig::Opt(opt) => self.opt(opt, with_head || !opt.tie_word_embeddings),
            // Where its file has no head the reference ties it, whatever the config says.
            LanguageModelConfig::T5(t5) => self.t5(t5, with_head),
            LanguageModelConfig::Llama(llama) => self.llama(llama, with_head || !llama.tie_word_embeddings),
        }
    }

    fn blip(&mut self, config: &BlipConfig, with_head: bool) {
        self.vision(&config.vision_config);
        self.part = Part::Texts;
        let (vision, text) = (config.vision_config.hidden_size, config.text_config.hidden_size);
        match config.task() {
            Task::Caption => self.blip_decoder(config, with_head),
            Task::Question => {
                self.blip_text(config, "text_encoder");
                self.blip_decoder(config, with_head);
            }
            Task::Match => {
                self.blip_text(config, "text_encoder");
                self.linear("vision_proj", vision, config.projection_size, true);
                self.linear("text_proj", text, config.projection_size, true);
                self.linear("itm_head", text, 2, true);
            }
        }
    }

    fn blip_decoder(&mut self, config: &BlipConfig, with_head: bool) {
        self.blip_text(config, "text_decoder.bert");
        let (hidden, vocabulary) = (config.text_config.hidden_size, config.text_config.vocab_size);
        let predictions = "text_decoder.cls.predictions";
        self.linear(&format!("{predictions}.transform.dense"), hidden, hidden, true);
        self.norm(&format!("{predictions}.transform.LayerNorm"), hidden);
        if with_head {
            self.add(BLIP_HEAD.into(), &[vocabulary, hidden], Kind::Embedding);
        }
        self.add(format!("{predictions}.bias"), &[vocabulary], Kind::Vector);
        if let Some(bias) = self.tensors.last_mut() {
            bias.or = Some(format!("{predictions}.decoder.bias"));
        }
    }

    fn blip_text(&mut self, config: &BlipConfig, name: &str) {
        let (text, vision) = (&config.text_config, config.vision_config.hidden_size);
        let hidden = text.hidden_size;
        let embeddings = format!("{name}.embeddings");
        let tables = [("word", text.vocab_size), ("position", text.max_position_embeddings)];
        for (table, rows) in tables {
            let table = format!("{embeddings}.{table}_embeddings.weight");
            self.add(table, &[rows, hidden], Kind::Embedding);
        }
        self.norm(&format!("{embeddings}.LayerNorm"), hidden);
        for index in 0..text.num_hidden_layers {
            let layer = format!("{name}.encoder.layer.{index}");
            self.bert_attention(&format!("{layer}.attention"), "self", hidden, hidden);
            self.bert_attention(&format!("{layer}.crossattention"), "self", hidden, vision);
            self.linear(
                &format!("{layer}.intermediate.dense"),
                hidden,
                text.intermediate_size,
                true,
            );
            self.linear(&format!("{layer}.output.dense"), text.intermediate_size, hidden, true);
            self.norm(&format!("{layer}.output.LayerNorm"), hidden);
        }
    }

    fn vision(&mut self, config: &VisionConfig) {
        self.part = Part::Vision;
        let (hidden, side) = (config.hidden_size, config.patch_size);
        let embeddings = "vision_model.embeddings";
        self.add(
            format!("{embeddings}.class_embedding"),
            &[1, 1, hidden],
            Kind::Embedding,
        );
        let positions = [1, config.num_positions(), hidden];
        self.add(format!("{embeddings}.position_embedding"), &positions, Kind::Embedding);
        let patch = format!("{embeddings}.patch_embedding");
        self.add(format!("{patch}.weight"), &[hidden, 3, side, side], Kind::Matrix);
        self.add(format!("{patch}.bias"), &[hidden], Kind::Vector);
        for layer in 0..config.num_hidden_layers {
            let layer = format!("vision_model.encoder.layers.{layer}");
            self.norm(&format!("{layer}.layer_norm1"), hidden);
            self.linear(&format!("{layer}.self_attn.qkv"), hidden, 3 * hidden, config.qkv_bias);
            self.linear(&format!("{layer}.self_attn.projection"), hidden, hidden, true);
            self.norm(&format!("{layer}.layer_norm2"), hidden);
            self.linear(&format!("{layer}.mlp.fc1"), hidden, config.intermediate_size, true);
            self.linear(&format!("{layer}.mlp.fc2"), config.intermediate_size, hidden, true);
        }
        self.norm("vision_model.post_layernorm", hidden);
    }

    fn qformer(&mut self, config: &QFormerConfig, query_tokens: usize, class: ModelClass) {
        self.part = Part::QFormer;
        let hidden = config.hidden_size;
        self.add("query_tokens".into(), &[1, query_tokens, hidden], Kind::Embedding);
        match class {
            ModelClass::Blip2 => self.norm("qformer.layernorm", hidden),
            ModelClass::InstructBlip => {
                self.text_embeddings("qformer.embeddings", config);
                self.norm("qformer.embeddings.layernorm", hidden);
            }
            ModelClass::ImageTextRetrieval => {
                self.text_embeddings("embeddings", config);
                self.norm("qformer.layernorm", hidden);
            }
        }
        for index in 0..config.num_hidden_layers {
            let layer = format!("qformer.encoder.layer.{index}");
            self.bert_attention(&format!("{layer}.attention"), "attention", hidden, hidden);
            if index.is_multiple_of(config.cross_attention_frequency) {
                let looked_at = config.encoder_hidden_size;
                self.bert_attention(&format!("{layer}.crossattention"), "attention", hidden, looked_at);
            }
            self.feed_forward(
                config,
                &format!("{layer}.intermediate_query"),
                &format!("{layer}.output_query"),
            );
            if class.reads_text() {
                self.feed_forward(config, &format!("{layer}.intermediate"), &format!("{layer}.output"));
            }
        }
    }

    fn text_embeddings(&mut self, name: &str, config: &QFormerConfig) {
        let hidden = config.hidden_size;
        let words = [config.vocab_size, hidden];
        self.add(format!("{name}.word_embeddings.weight"), &words, Kind::Embedding);
        let positions = [config.max_position_embeddings, hidden];
        self.add(
            format!("{name}.position_embeddings.weight"),
            &positions,
            Kind::Embedding,
        );
    }

    fn feed_forward(&mut self, config: &QFormerConfig, intermediate: &str, output: &str) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        self.linear(&format!("{intermediate}.dense"), hidden, inner, true);
        self.linear(&format!("{output}.dense"), inner, hidden, true);
        self.norm(&format!("{output}.LayerNorm"), hidden);
    }

    fn matching(&mut self, config: &Blip2Config) {
        self.part = Part::Matching;
        let (hidden, width) = (config.qformer_config.hidden_size, config.image_text_hidden_size);
        self.linear("vision_projection", hidden, width, true);
        self.linear("text_projection", hidden, width, true);
        self.linear("itm_head", hidden, 2, true);
    }

    fn bert_attention(&mut self, name: &str, inner: &str, hidden: usize, looked_at: usize) {
        self.linear(&format!("{name}.{inner}.query"), hidden, hidden, true);
        self.linear(&format!("{name}.{inner}.key"), looked_at, hidden, true);
        self.linear(&format!("{name}.{inner}.value"), looked_at, hidden, true);
        self.linear(&format!("{name}.output.dense"), hidden, hidden, true);
        self.norm(&format!("{name}.output.LayerNorm"), hidden);
    }

    fn opt(&mut self, config: &OptConfig, head: bool) {
        let decoder = "language_model.model.decoder";
        let (hidden, bias) = (config.hidden_size, config.enable_bias);
        let tokens = [config.vocab_size, hidden];
        self.add(TOKEN_TABLE.into(), &tokens, Kind::Embedding);
        let positions = [config.max_position_embeddings + POSITION_OFFSET, hidden];
        self.add(format!("{decoder}.embed_positions.weight"), &positions, Kind::Embedding);
        for layer in 0..config.num_hidden_layers {
            let layer = format!("{decoder}.layers.{layer}");
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&format!("{layer}.self_attn.{projection}"), hidden, hidden, bias);
            }
            self.linear(&format!("{layer}.fc1"), hidden, config.ffn_dim, bias);
            self.linear(&format!("{layer}.fc2"), config.ffn_dim, hidden, bias);
            self.opt_norm(config, &format!("{layer}.self_attn_layer_norm"));
            self.opt_norm(config, &format!("{layer}.final_layer_norm"));
        }
        if config.do_layer_norm_before && !config.remove_final_layer_norm {
            self.opt_norm(config, &format!("{decoder}.final_layer_norm"));
        }
        if head {
            self.add(HEAD.into(), &tokens, Kind::Embedding);
        }
    }

    fn opt_norm(&mut self, config: &OptConfig, name: &str) {
        if config.layer_norm_elementwise_affine {
            self.norm(name, config.hidden_size);
        }
    }

    fn llama(&mut self, config: &LlamaConfig, head: bool) {
        let model = "language_model.model";
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (
            config.num_attention_heads * config.head_dim,
            config.num_key_value_heads * config.head_dim,
        );
        let tokens = [config.vocab_size, hidden];
        self.add(LLAMA_TABLE.into(), &tokens, Kind::Embedding);
        for layer in 0..config.num_hidden_layers {
            let layer = format!("{model}.layers.{layer}");
            let bias = config.attention_bias;
            for (projection, width) in [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)] {
                self.linear(&format!("{layer}.self_attn.{projection}"), hidden, width, bias);
            }
            self.linear(&format!("{layer}.self_attn.o_proj"), queries, hidden, bias);
            for projection in ["gate_proj", "up_proj"] {
                self.linear(&format!("{layer}.mlp.{projection}"), hidden, inner, config.mlp_bias);
            }
            self.linear(&format!("{layer}.mlp.down_proj"), inner, hidden, config.mlp_bias);
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                self.add(format!("{layer}.{norm}.weight"), &[hidden], Kind::Vector);
            }
        }
        self.add(format!("{model}.norm.weight"), &[hidden], Kind::Vector);
        if head {
            self.add(HEAD.into(), &tokens, Kind::Embedding);
        }
    }

    fn t5(&mut self, config: &T5Config, head: bool) {
        let tokens = [config.vocab_size, config.d_model];
        self.add(SHARED_TABLE.into(), &tokens, Kind::Embedding);
        self.t5_stack(config, "encoder", config.num_layers, &["SelfAttention"]);
        let attentions = ["SelfAttention", "EncDecAttention"];
        self.t5_stack(config, "decoder", config.num_decoder_layers, &attentions);
        if head {
            self.add(HEAD.into(), &tokens, Kind::Embedding);
        }
    }

    fn t5_stack(&mut self, config: &T5Config, stack: &str, layers: usize, attentions: &[&str]) {
        let (d_model, inner) = (config.d_model, config.inner_size());
        let stack = format!("language_model.{stack}");
        let buckets = [config.relative_attention_num_buckets, config.num_heads];
        let bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        self.add(format!("{stack}.{bias}"), &buckets, Kind::Embedding);
        for block in 0..layers {
            for (index, attention) in attentions.iter().enumerate() {
                let layer = format!("{stack}.block.{block}.layer.{index}");
                for projection in ["q", "k", "v"] {
                    self.linear(&format!("{layer}.{attention}.{projection}"), d_model, inner, false);
                }
                self.linear(&format!("{layer}.{attention}.o"), inner, d_model, false);
                self.add(format!("{layer}.layer_norm.weight"), &[d_model], Kind::Vector);
            }
            let layer = format!("{stack}.block.{block}.layer.{}", attentions.len());
            let inward: &[&str] = if config.is_gated { &["wi_0", "wi_1"] } else { &["wi"] };
            for name in inward {
                self.linear(&format!("{layer}.DenseReluDense.{name}"), d_model, config.d_ff, false);
            }
            self.linear(&format!("{layer}.{T5_WO}"), config.d_ff, d_model, false);
            self.add(format!("{layer}.layer_norm.weight"), &[d_model], Kind::Vector);
        }
        self.add(format!("{stack}.final_layer_norm.weight"), &[d_model], Kind::Vector);
    }
}
