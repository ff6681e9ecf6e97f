//! Which of the family's classes a checkpoint is.

use serde_json::Value;

/// A class of transformers that a `config.json` of the family may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelClass {
    /// `Blip2ForConditionalGeneration`: the Q-Former looks at the picture alone.
    #[default]
    Blip2,
    /// `InstructBlipForConditionalGeneration`: the Q-Former reads the instruction too.
    InstructBlip,
    /// `Blip2ForImageTextRetrieval`: no language model; how well a text belongs to a picture.
    ImageTextRetrieval,
}

impl ModelClass {
    /// What the file names, in `architectures` or by a `model_type` that has one class alone. BLIP-2's
    /// has several.
    pub(super) fn of_json(config: &Value) -> Option<Self> {
        let names = config["architectures"].as_array().into_iter().flatten();
        let named = names.filter_map(|name| match name.as_str()? {
            "Blip2ForConditionalGeneration" => Some(Self::Blip2),
            "InstructBlipForConditionalGeneration" => Some(Self::InstructBlip),
            "Blip2ForImageTextRetrieval" => Some(Self::ImageTextRetrieval),
            _ => None,
        });
        let only_class = || (config["model_type"] == "instructblip").then_some(Self::InstructBlip);
        named.into_iter().next().or_else(only_class)
    }

    /// What the tensors of a checkpoint are for, where its config names no class.
    pub fn of_tensors(contains: impl Fn(&str) -> bool) -> Self {
        if contains("itm_head.weight") {
            Self::ImageTextRetrieval
        } else if contains("qformer.embeddings.layernorm.weight") {
            Self::InstructBlip
        } else {
            Self::Blip2
        }
    }

    /// Whether its Q-Former reads texts.
    pub fn reads_text(self) -> bool {
        self != Self::Blip2
    }
}
