//! The published checkpoints that Glimpse can run.

use serde_json::{Value, json};

use super::{ModelConfig, Purpose};
use crate::blip::config::Task;
use crate::blip2::config::{LanguageModelConfig, ModelClass};

/// A checkpoint that is known without asking the hub.
pub struct Known {
    /// Its id on the hub.
    pub id: &'static str,
    pub config: ModelConfig,
    /// As `config.json` would say it.
    pub json: serde_json::Value,
}

/// The published checkpoints: BLIP-2's, smallest first, then InstructBLIP's, and BLIP's by what they are for, at
/// last BLIP-2's that compare.
///
/// Only what their `config.json` says beside the classes' defaults is written down here;
/// sizes follow from it.
pub fn known() -> Vec<Known> {
    let (opt_2_7b, opt_6_7b) = (opt(2560, 10240), opt(4096, 16384));
    let (flan_t5_xl, flan_t5_xxl) = (flan_t5(2048, 32, 5120), flan_t5(4096, 64, 10240));
    vec![
        checkpoint("Salesforce/blip2-opt-2.7b", 224, 50265, &opt_2_7b),
        checkpoint("Salesforce/blip2-opt-2.7b-coco", 364, 50265, &opt_2_7b),
        checkpoint("Salesforce/blip2-flan-t5-xl", 224, 32100, &flan_t5_xl),
        checkpoint("Salesforce/blip2-flan-t5-xl-coco", 364, 32100, &flan_t5_xl),
        checkpoint("Salesforce/blip2-opt-6.7b", 224, 50265, &opt_6_7b),
        checkpoint("Salesforce/blip2-opt-6.7b-coco", 364, 50265, &opt_6_7b),
        checkpoint("Salesforce/blip2-flan-t5-xxl", 224, 32100, &flan_t5_xxl),
        instruct("Salesforce/instructblip-flan-t5-xl", 32100, &flan_t5_xl),
        instruct("Salesforce/instructblip-vicuna-7b", 32001, &vicuna(4096, 11008, 32)),
        instruct("Salesforce/instructblip-flan-t5-xxl", 32100, &flan_t5_xxl),
        instruct("Salesforce/instructblip-vicuna-13b", 32001, &vicuna(5120, 13824, 40)),
        blip("Salesforce/blip-image-captioning-base", Task::Caption, VIT_B),
        blip("Salesforce/blip-image-captioning-large", Task::Caption, VIT_L),
        blip("Salesforce/blip-vqa-base", Task::Question, VIT_B),
        blip("Salesforce/blip-vqa-capfilt-large", Task::Question, VIT_B),
        blip("Salesforce/blip-itm-base-coco", Task::Match, VIT_B),
        blip("Salesforce/blip-itm-base-flickr", Task::Match, VIT_B),
        blip("Salesforce/blip-itm-large-coco", Task::Match, VIT_L),
        blip("Salesforce/blip-itm-large-flickr", Task::Match, VIT_L),
        retrieval("Salesforce/blip2-itm-vit-g", 224),
        retrieval("Salesforce/blip2-itm-vit-g-coco", 364),
    ]
}

fn checkpoint(id: &'static str, image_size: u32, image_token_index: u32, text_config: &Value) -> Known {
    let json = json!({
        "model_type": "blip-2",
        "image_token_index": image_token_index,
        "vision_config": {"image_size": image_size},
        "text_config": text_config,
    });
    known_by(id, json)
}

fn instruct(id: &'static str, image_token_index: u32, text_config: &Value) -> Known {
    let json = json!({
        "model_type": "instructblip",
        "architectures": ["InstructBlipForConditionalGeneration"],
        "image_token_index": image_token_index,
        "qformer_config": {"vocab_size": 30523},
        "text_config": text_config,
    });
    known_by(id, json)
}

fn retrieval(id: &'static str, image_size: u32) -> Known {
    let json = json!({
        "model_type": "blip-2",
        "architectures": ["Blip2ForImageTextRetrieval"],
        "vision_config": {"image_size": image_size},
        "qformer_config": {"vocab_size": 30523, "use_qformer_text_input": true},
    });
    known_by(id, json)
}

fn known_by(id: &'static str, json: Value) -> Known {
    let config = ModelConfig::from_json(&json.to_string());
    Known {
        id,
        config: config.expect("these configs are right, as a test sees"),
        json,
    }
}

/// Width, inner width, layers and heads of a vision tower.
const VIT_B: [u32; 4] = [768, 3072, 12, 12];
const VIT_L: [u32; 4] = [1024, 4096, 24, 16];

fn blip(id: &'static str, task: Task, [width, inner, layers, heads]: [u32; 4]) -> Known {
    let vision = json!({"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
                        "num_attention_heads": heads});
    let json = json!({"model_type": "blip", "architectures": [task.class()], "vision_config": vision,
                      "text_config": {"num_attention_heads": 12}});
    known_by(id, json)
}

fn opt(hidden_size: u32, ffn_dim: u32) -> Value {
    json!({"model_type": "opt", "hidden_size": hidden_size, "word_embed_proj_dim": hidden_size, "ffn_dim": ffn_dim,
           "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 50304, "eos_token_id": 50118})
}

fn flan_t5(d_model: u32, num_heads: u32, d_ff: u32) -> Value {
    json!({"model_type": "t5", "d_model": d_model, "num_heads": num_heads, "d_ff": d_ff, "num_layers": 24,
           "num_decoder_layers": 24, "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu",
           "tie_word_embeddings": false, "bos_token_id": 1, "decoder_start_token_id": 0})
}

fn vicuna(hidden_size: u32, intermediate_size: u32, layers: u32) -> Value {
    json!({"model_type": "llama", "hidden_size": hidden_size, "intermediate_size": intermediate_size,
           "num_hidden_layers": layers, "num_attention_heads": layers, "vocab_size": 32064, "bos_token_id": 0,
           "eos_token_id": 1, "pad_token_id": 32000})
}

/// What a language model of these sizes is called; of BLIP's, also what it is for.
pub fn language_model(config: &ModelConfig) -> String {
    let config = match config {
        ModelConfig::Blip2(config) => config,
        ModelConfig::Blip(_) => return format!("BERT, {}", word_for(config.purpose())),
    };
    if config.class() == ModelClass::ImageTextRetrieval {
        return "none (matches texts)".into();
    }
    match &config.text_config {
        LanguageModelConfig::Opt(opt) => match (opt.hidden_size, opt.num_hidden_layers) {
            (2560, 32) => "OPT 2.7B".into(),
            (4096, 32) => "OPT 6.7B".into(),
            (width, layers) => format!("OPT {layers} x {width}"),
        },
        LanguageModelConfig::T5(t5) => match (t5.d_model, t5.num_layers) {
            (2048, 24) => "Flan-T5 XL".into(),
            (4096, 24) => "Flan-T5 XXL".into(),
            (width, layers) => format!("T5 {layers} + {} x {width}", t5.num_decoder_layers),
        },
        LanguageModelConfig::Llama(llama) => match (llama.hidden_size, llama.num_hidden_layers) {
            (4096, 32) => "Vicuna 7B".into(),
            (5120, 40) => "Vicuna 13B".into(),
            (width, layers) => format!("LLaMA {layers} x {width}"),
        },
    }
}

/// What a model is for, in a word.
fn word_for(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Conversation => "conversations",
        Purpose::Captions => "captions",
        Purpose::Answers => "answers",
        Purpose::Matching => "matching",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::inventory::parameters;

    #[test]
    fn published_checkpoints_have_their_published_numbers_of_parameters() {
        let counts: Vec<_> = known()
            .iter()
            .map(|known| (known.id, parameters(&known.config)))
            .collect();
        assert_eq!(counts[0], ("Salesforce/blip2-opt-2.7b", 3_744_761_856));
        assert_eq!(counts[1], ("Salesforce/blip2-opt-2.7b-coco", 3_745_353_216));
        assert_eq!(counts[2], ("Salesforce/blip2-flan-t5-xl", 3_942_446_592));
        assert_eq!(counts[3], ("Salesforce/blip2-flan-t5-xl-coco", 3_943_037_952));
        assert_eq!(counts[4], ("Salesforce/blip2-opt-6.7b", 7_752_869_376));
        assert_eq!(counts[6], ("Salesforce/blip2-flan-t5-xxl", 12_229_596_672));
        assert_eq!(counts[7], ("Salesforce/instructblip-flan-t5-xl", 4_022_969_088));
        assert_eq!(counts[8], ("Salesforce/instructblip-vicuna-7b", 7_913_726_720));
        assert_eq!(counts[9], ("Salesforce/instructblip-flan-t5-xxl", 12_310_119_168));
        assert_eq!(counts[10], ("Salesforce/instructblip-vicuna-13b", 14_192_093_952));
        assert_eq!(counts[11], ("Salesforce/blip-image-captioning-base", 223_971_644));
        assert_eq!(counts[12], ("Salesforce/blip-image-captioning-large", 446_290_492));
        assert_eq!(counts[13], ("Salesforce/blip-vqa-base", 361_230_140));
        assert_eq!(counts[15], ("Salesforce/blip-itm-base-coco", 223_744_258));
        assert_eq!(counts[17], ("Salesforce/blip-itm-large-coco", 446_128_642));
        assert_eq!(counts[19], ("Salesforce/blip2-itm-vit-g", 1_172_032_258));
        assert_eq!(counts[20], ("Salesforce/blip2-itm-vit-g-coco", 1_172_623_618));
    }
}
