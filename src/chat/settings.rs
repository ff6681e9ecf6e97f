//! How a question is put and its answer generated.

use serde::{Deserialize, Serialize};

/// What a visitor set. Settings of generation have the names, meanings and defaults of
/// transformers' `generate`; what is left out is the server's to choose. Numbers are of one
/// type here, so that whatever is wrong with one is said in the same sentence. An answer
/// keeps its settings in this form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many tokens the answer may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_new_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_beams: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_sample: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_repeat_ngram_size: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_return_sequences: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_strings: Option<Vec<String>>,
    /// How many earlier turns are sent along, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_turns: Option<f64>,
    /// Sends the question as it is, not as `Question: … Answer:`, and no earlier turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<bool>,
    /// How a caption begins; the answer is how it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// When beam search ends; `false`, `true` or `"never"` as in the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "it is false, true or \"never\"")]
pub enum EarlyStopping {
    AtOnce(bool),
    Never(Never),
}

/// The word `never`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    Never,
}
