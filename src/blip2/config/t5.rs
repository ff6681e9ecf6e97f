//! T5's config.

use serde::Deserialize;
use serde_json::json;

use super::language::check_token;
use super::{ConfigError, EosTokens, MOST, check_layers, check_sizes};
use crate::nn::Activation;

/// `T5Config`, with what the class computes from its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenT5Config")]
pub struct T5Config {
    pub vocab_size: usize,
    /// The width of its embeddings and hidden states.
    pub d_model: usize,
    /// The size of one attention head; all together need not be as wide as `d_model`.
    pub d_kv: usize,
    /// The inner width of a feed-forward layer.
    pub d_ff: usize,
    /// Blocks of the encoder.
    pub num_layers: usize,
    /// Blocks of the decoder.
    pub num_decoder_layers: usize,
    pub num_heads: usize,
    /// Distances that a bias is learnt for; far ones share one.
    pub relative_attention_num_buckets: usize,
    /// From this distance on, in positions, all share the last bucket.
    pub relative_attention_max_distance: usize,
    pub layer_norm_epsilon: f64,
    /// Of the feed-forward layers, which have a gate or none.
    pub activation: Activation,
    /// Whether the activation of one product multiplies another one (`DenseGatedActDense`).
    pub is_gated: bool,
    /// Whether hidden states are scaled down in front of the head (T5 1.0, whose head is the
    /// token table).
    pub scale_decoder_outputs: bool,
    pub bos_token_id: u32,
    pub eos_token_id: EosTokens,
    /// What the decoder begins with.
    pub decoder_start_token_id: u32,
}

/// T5's config as its file writes it.
///
/// The class computes some values of its own from others, and what a file says under their
/// names wins: BLIP-2's files say `gated-gelu`, which would be the approximate GELU, and
/// `"dense_act_fn": "gelu"`, which is the exact one.
#[derive(Deserialize)]
#[serde(default)]
struct WrittenT5Config {
    vocab_size: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    relative_attention_num_buckets: usize,
    relative_attention_max_distance: usize,
    layer_norm_epsilon: f64,
    feed_forward_proj: String,
    dense_act_fn: Option<Activation>,
    is_gated_act: Option<bool>,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
    bos_token_id: Option<u32>,
    eos_token_id: EosTokens,
    decoder_start_token_id: Option<u32>,
}

impl Default for WrittenT5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".into(),
            dense_act_fn: None,
            is_gated_act: None,
            tie_word_embeddings: None,
            scale_decoder_outputs: None,
            bos_token_id: None,
            eos_token_id: EosTokens::One(1),
            decoder_start_token_id: None,
        }
    }
}

impl WrittenT5Config {
    /// The activation and whether it is gated: `gated-gelu`, `relu`.
    fn feed_forward(&self) -> Result<(Activation, bool), String> {
        let written = self.feed_forward_proj.as_str();
        let (name, is_gated) = match written.split_once('-') {
            // For backwards compatibility, as the class says.
            Some(("gated", "gelu")) => ("gelu_new", true),
            Some(("gated", name)) => (name, true),
            _ => (written, false),
        };
        let activation = match self.dense_act_fn {
            Some(activation) => activation,
            None => serde_json::from_value(json!(name)).map_err(|error| format!("feed_forward_proj: {error}"))?,
        };
        Ok((activation, self.is_gated_act.unwrap_or(is_gated)))
    }
}

impl TryFrom<WrittenT5Config> for T5Config {
    type Error = String;

    fn try_from(written: WrittenT5Config) -> Result<Self, String> {
        let (activation, is_gated) = written.feed_forward()?;
        let ends = written.eos_token_id.as_slice();
        let start = written.decoder_start_token_id.or(written.bos_token_id);
        Ok(Self {
            vocab_size: written.vocab_size,
            d_model: written.d_model,
            d_kv: written.d_kv,
            d_ff: written.d_ff,
            num_layers: written.num_layers,
            num_decoder_layers: written.num_decoder_layers.unwrap_or(written.num_layers),
            num_heads: written.num_heads,
            relative_attention_num_buckets: written.relative_attention_num_buckets,
            relative_attention_max_distance: written.relative_attention_max_distance,
            layer_norm_epsilon: written.layer_norm_epsilon,
            activation,
            is_gated,
            scale_decoder_outputs: written
                .scale_decoder_outputs
                .unwrap_or(written.tie_word_embeddings != Some(false)),
            // The reference has no captions without one; the hub's files say the end token.
            bos_token_id: written.bos_token_id.or(ends.first().copied()).unwrap_or_default(),
            decoder_start_token_id: start.ok_or("text_config names no decoder_start_token_id")?,
            eos_token_id: written.eos_token_id,
        })
    }
}

impl T5Config {
    /// All heads side by side.
    pub fn inner_size(&self) -> usize {
        self.num_heads.saturating_mul(self.d_kv)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_layers([
            ("text_config.num_layers", self.num_layers),
            ("text_config.num_decoder_layers", self.num_decoder_layers),
        ])?;
        check_sizes([
            ("text_config.d_model", self.d_model),
            ("text_config.d_kv", self.d_kv),
            ("text_config.num_heads", self.num_heads),
            ("text_config.d_kv times num_heads", self.inner_size()),
            ("text_config.d_ff", self.d_ff),
            ("text_config.vocab_size", self.vocab_size),
        ])?;
        check_token("bos_token_id", self.bos_token_id, self.vocab_size)?;
        check_token("decoder_start_token_id", self.decoder_start_token_id, self.vocab_size)?;
        let (buckets, distance) = (
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        );
        // The encoder has half of the buckets for each direction, and half of those for single steps.
        if !(4..=MOST).contains(&buckets) || !(buckets / 2 + 1..=MOST).contains(&distance) {
            return Err(ConfigError::Nonsense(format!(
                "distances of up to {distance} cannot be put into {buckets} buckets"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::blip2::config::{Blip2Config, LanguageModelConfig};

    fn config(change: impl FnOnce(&mut Value)) -> Result<Blip2Config, String> {
        let mut text = json!({
            "model_type": "t5", "d_model": 20, "d_kv": 7, "num_heads": 3, "d_ff": 30, "num_layers": 2, "vocab_size": 300,
            "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0, "bos_token_id": 1,
        });
        change(&mut text);
        Blip2Config::from_json(&json!({"model_type": "blip-2", "text_config": text}).to_string())
            .map_err(|error| error.to_string())
    }

    fn t5(change: impl FnOnce(&mut Value)) -> Result<T5Config, String> {
        match config(change)?.text_config {
            LanguageModelConfig::T5(t5) => Ok(t5),
            _ => Err("it was taken for another".into()),
        }
    }

    #[test]
    fn what_a_config_leaves_out_is_computed_as_the_reference_does() -> Result<(), String> {
        use Activation::{Gelu, GeluNew, Relu, Silu};
        let feed_forward = |text: Value| {
            t5(|config| {
                config
                    .as_object_mut()
                    .expect("it is an object")
                    .remove("feed_forward_proj");
                let more = text.as_object().cloned().unwrap_or_default();
                config.as_object_mut().expect("it is an object").extend(more);
            })
            .map(|t5| (t5.activation, t5.is_gated))
        };
        assert_eq!(feed_forward(json!({}))?, (Relu, false));
        assert_eq!(
            feed_forward(json!({"feed_forward_proj": "gated-gelu"}))?,
            (GeluNew, true)
        );
        let of_the_hub = json!({"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"});
        assert_eq!(feed_forward(of_the_hub)?, (Gelu, true));
        assert_eq!(feed_forward(json!({"feed_forward_proj": "gated-silu"}))?, (Silu, true));
        assert_eq!(feed_forward(json!({"feed_forward_proj": "gelu"}))?, (Gelu, false));
        assert_eq!(feed_forward(json!({"is_gated_act": true}))?, (Relu, true));
        assert!(t5(|_| {})?.scale_decoder_outputs);
        assert!(!t5(|text| text["tie_word_embeddings"] = false.into())?.scale_decoder_outputs);
        assert!(t5(|text| text["tie_word_embeddings"] = Value::Null)?.scale_decoder_outputs);
        let written_by_version_5 = |text: &mut Value| {
            text["tie_word_embeddings"] = true.into();
            text["scale_decoder_outputs"] = false.into();
        };
        assert!(!t5(written_by_version_5)?.scale_decoder_outputs);
        let without_start = |text: &mut Value| text["decoder_start_token_id"] = Value::Null;
        assert_eq!(t5(without_start)?.decoder_start_token_id, 1);
        assert_eq!(
            t5(|text| text["num_decoder_layers"] = Value::Null)?.num_decoder_layers,
            2
        );
        assert_eq!(t5(|text| text["num_decoder_layers"] = 1.into())?.num_decoder_layers, 1);
        Ok(())
    }

    #[test]
    fn a_config_that_makes_no_sense_is_refused_in_a_sentence() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 12] = [
            (|text| text["d_kv"] = 0.into(), "text_config.d_kv is 0"),
            (|text| text["num_layers"] = 0.into(), "text_config.num_layers is 0"),
            (
                |text| text["num_layers"] = 1_000_000.into(),
                "text_config.num_layers is 1000000",
            ),
            (|text| text["num_decoder_layers"] = 0.into(), "num_decoder_layers is 0"),
            (
                |text| text["d_ff"] = 9_999_999_999u64.into(),
                "text_config.d_ff is 9999999999",
            ),
            (
                |text| text["num_heads"] = 1_000_000.into(),
                "d_kv times num_heads is 7000000",
            ),
            (
                |text| text["relative_attention_num_buckets"] = 2.into(),
                "into 2 buckets",
            ),
            (|text| text["relative_attention_max_distance"] = 16.into(), "up to 16"),
            (
                |text| text["decoder_start_token_id"] = 300.into(),
                "decoder_start_token_id is 300",
            ),
            (|text| text["bos_token_id"] = 300.into(), "bos_token_id is 300"),
            (
                |text| text["feed_forward_proj"] = "gated-maybe".into(),
                "feed_forward_proj",
            ),
            (
                |text| {
                    text["decoder_start_token_id"] = Value::Null;
                    text["bos_token_id"] = Value::Null;
                },
                "decoder_start_token_id",
            ),
        ];
        for (change, words) in cases {
            let error = config(change).expect_err(words);
            assert!(error.contains(words), "{error}");
            assert!(error.starts_with("config.json") && error.ends_with('.'), "{error}");
        }
    }
}
