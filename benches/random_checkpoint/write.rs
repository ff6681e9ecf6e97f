//! Random weights to safetensors shards, in one pass.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use glimpse::models::ModelConfig;
use glimpse::models::inventory::{Kind, TensorSpec, inventory};
use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Value, json};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

/// How numbers are stored.
#[derive(Clone, Copy)]
pub enum NumberFormat {
    F32,
    F16,
    Bf16,
}

impl FromStr for NumberFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err("use f32, f16 or bf16"),
        }
    }
}

impl NumberFormat {
    fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// As safetensors and as a config call it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::F32 => ("F32", "float32"),
            Self::F16 => ("F16", "float16"),
            Self::Bf16 => ("BF16", "bfloat16"),
        }
    }

    fn push(self, value: f32, out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend(value.to_le_bytes()),
            Self::F16 => out.extend(f16::from_f32(value).to_le_bytes()),
            Self::Bf16 => out.extend(bf16::from_f32(value).to_le_bytes()),
        }
    }
}

/// Writes a whole checkpoint; gives the bytes of its weights.
pub fn checkpoint(config: &Value, format: NumberFormat, shard_bytes: u64, folder: &Path) -> AnyResult<u64> {
    std::fs::create_dir_all(folder)?;
    let parsed = ModelConfig::from_json(&config.to_string())?;
    small_files(config, &parsed, format, folder)?;
    let tensors = inventory(&parsed, parsed.expects_head());
    let shards = split(&tensors, format, shard_bytes);
    let mut weight_map = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => "model.safetensors".to_string(),
            count => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
        };
        write_shard(shard, format, &folder.join(&name))?;
        weight_map.extend(shard.iter().map(|tensor| (tensor.name.clone(), name.clone())));
    }
    let total: u64 = tensors.iter().map(|tensor| tensor.elements() * format.bytes()).sum();
    if shards.len() > 1 {
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string())?;
    }
    Ok(total)
}

/// The config, and a tokenizer whose ids are within any vocabulary: the demo model's, or BLIP's of letters.
fn small_files(config: &Value, parsed: &ModelConfig, format: NumberFormat, folder: &Path) -> AnyResult<()> {
    let mut config = config.clone();
    if parsed.blip2().is_some() {
        config["architectures"] = json!(["Blip2ForConditionalGeneration"]);
    }
    config["dtype"] = json!(format.names().1);
    std::fs::write(folder.join("config.json"), serde_json::to_string_pretty(&config)?)?;
    let side = parsed.vision().image_size;
    let processor = json!({
        "image_processor_type": "BlipImageProcessor", "do_convert_rgb": true, "do_resize": true, "do_rescale": true,
        "do_normalize": true, "resample": 3, "rescale_factor": 1.0 / 255.0, "size": {"height": side, "width": side},
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73], "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
    });
    std::fs::write(folder.join("preprocessor_config.json"), processor.to_string())?;
    match parsed {
        ModelConfig::Blip(_) => std::fs::write(folder.join("vocab.txt"), letters())?,
        ModelConfig::Blip2(config) => {
            let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/tokenizer.json");
            let tokenizer = serde_json::from_slice(&std::fs::read(demo)?)?;
            let tokenizer = with_a_word_for_each_id(tokenizer, config.text_config.vocab_size());
            std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
        }
    }
    Ok(())
}

/// BERT's special tokens, and words of letters.
fn letters() -> String {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let lines: Vec<String> = special.into_iter().chain(letters).collect();
    lines.join("\n")
}

/// A byte-level tokenizer whose every further id below `vocab_size` is a word too: tokens drawn by random
/// weights are then text, and stream as those of a published checkpoint do.
fn with_a_word_for_each_id(mut tokenizer: Value, vocab_size: usize) -> Value {
    let ids = |tokenizer: &Value| -> Vec<u64> {
        let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
        let words = tokenizer["model"]["vocab"].as_object().into_iter().flatten();
        added
            .filter_map(|token| token["id"].as_u64())
            .chain(words.filter_map(|(_, id)| id.as_u64()))
            .collect()
    };
    let taken = ids(&tokenizer);
    for id in (0..vocab_size as u64).filter(|id| !taken.contains(id)) {
        // "Ġ" is a byte-level tokenizer's space.
        tokenizer["model"]["vocab"][format!("Ġword{id}")] = json!(id);
    }
    tokenizer
}

/// Tensors in order, as many to a shard as it holds.
fn split(tensors: &[TensorSpec], format: NumberFormat, shard_bytes: u64) -> Vec<Vec<TensorSpec>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        let bytes = tensor.elements() * format.bytes();
        if filled + bytes > shard_bytes && filled > 0 {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        if let Some(shard) = shards.last_mut() {
            shard.push(tensor.clone());
        }
    }
    shards
}

fn write_shard(tensors: &[TensorSpec], format: NumberFormat, path: &Path) -> AnyResult<()> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.elements() * format.bytes();
        let entry = json!({"dtype": format.names().0, "shape": tensor.shape, "data_offsets": [offset, end]});
        header.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    // Numbers begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for tensor in tensors {
        write_tensor(tensor, format, &mut file)?;
    }
    file.flush()?;
    Ok(())
}

/// Numbers that are made at a time, on each core.
const PIECE: u64 = 1 << 20;

/// Pieces that are in memory at once.
const PIECES: usize = 16;

fn write_tensor(tensor: &TensorSpec, format: NumberFormat, file: &mut impl Write) -> AnyResult<()> {
    let starts: Vec<u64> = (0..tensor.elements()).step_by(PIECE as usize).collect();
    for starts in starts.chunks(PIECES) {
        let pieces: Vec<Vec<u8>> = starts
            .par_iter()
            .map(|start| piece(tensor, format, *start..(*start + PIECE).min(tensor.elements())))
            .collect();
        for piece in pieces {
            file.write_all(&piece)?;
        }
    }
    Ok(())
}

fn piece(tensor: &TensorSpec, format: NumberFormat, range: std::ops::Range<u64>) -> Vec<u8> {
    let (centre, spread) = distribution(tensor);
    // FNV-1a, so that each tensor has numbers of its own.
    let seed = tensor.name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut out = Vec::with_capacity(((range.end - range.start) * format.bytes()) as usize);
    for index in range {
        format.push(centre + spread * normal(seed.wrapping_add(index)), &mut out);
    }
    out
}

/// Mean and standard deviation that keep activations of ordinary size through all layers,
/// and logits about two apart, so that the likeliest token is clear.
fn distribution(tensor: &TensorSpec) -> (f32, f32) {
    let inputs: usize = tensor.shape.iter().skip(1).product();
    match tensor.kind {
        // T5 does not divide its scores by the root of a head's size, which is 64.
        Kind::Matrix if tensor.name.ends_with("Attention.q.weight") => (0.0, (inputs as f32).powf(-0.5) / 8.0),
        Kind::Matrix => (0.0, (inputs as f32).powf(-0.5)),
        Kind::Embedding => (0.0, 0.04),
        // Norms; all other vectors are biases.
        Kind::Vector if tensor.name.ends_with(".weight") => (1.0, 0.1),
        Kind::Vector => (0.0, 0.02),
    }
}

/// Nearly normal: the sum of four 16-bit numbers of one step of SplitMix64, scaled to a
/// standard deviation of 1.
fn normal(counter: u64) -> f32 {
    let mut x = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let sum = (x & 0xffff) + ((x >> 16) & 0xffff) + ((x >> 32) & 0xffff) + (x >> 48);
    (sum as f32 - 131_070.0) / 37_837.0
}
