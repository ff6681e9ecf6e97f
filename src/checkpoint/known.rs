//! The published checkpoints that Glimpse can run.

use serde_json::json;

use crate::blip2::config::Blip2Config;

/// A checkpoint that is known without asking the hub.
pub struct Known {
    /// Its id on the hub.
    pub id: &'static str,
    pub config: Blip2Config,
    /// As `config.json` would say it.
    pub json: serde_json::Value,
}

/// The published BLIP-2 checkpoints with an OPT language model, smallest first.
///
/// Only what their `config.json` says beside the classes' defaults is written down here;
/// sizes follow from it.
pub fn known() -> Vec<Known> {
    let checkpoint = |id, image_size: u32, (hidden_size, ffn_dim): (u32, u32)| {
        let json = json!({
            "model_type": "blip-2",
            "image_token_index": 50265,
            "vision_config": {"image_size": image_size},
            "text_config": {"model_type": "opt", "hidden_size": hidden_size, "word_embed_proj_dim": hidden_size,
                            "ffn_dim": ffn_dim, "num_hidden_layers": 32, "num_attention_heads": 32,
                            "vocab_size": 50304, "eos_token_id": 50118},
        });
        let config = Blip2Config::from_json(&json.to_string());
        Known {
            id,
            config: config.expect("these configs are right, as a test sees"),
            json,
        }
    };
    let (small, large) = ((2560, 10240), (4096, 16384));
    vec![
        checkpoint("Salesforce/blip2-opt-2.7b", 224, small),
        checkpoint("Salesforce/blip2-opt-2.7b-coco", 364, small),
        checkpoint("Salesforce/blip2-opt-6.7b", 224, large),
        checkpoint("Salesforce/blip2-opt-6.7b-coco", 364, large),
    ]
}

/// What a language model of these sizes is called.
pub fn language_model(config: &Blip2Config) -> String {
    let text = &config.text_config;
    match (text.hidden_size, text.num_hidden_layers) {
        (2560, 32) => "OPT 2.7B".into(),
        (4096, 32) => "OPT 6.7B".into(),
        (width, layers) => format!("OPT {layers} x {width}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::inventory::parameters;

    #[test]
    fn published_checkpoints_have_their_published_numbers_of_parameters() {
        let counts: Vec<_> = known()
            .iter()
            .map(|known| (known.id, parameters(&known.config)))
            .collect();
        assert_eq!(counts[0], ("Salesforce/blip2-opt-2.7b", 3_744_761_856));
        assert_eq!(counts[1], ("Salesforce/blip2-opt-2.7b-coco", 3_745_353_216));
        assert_eq!(counts[2], ("Salesforce/blip2-opt-6.7b", 7_752_869_376));
    }
}
