//! Loading: the same numbers as candle's own loader, in little more memory than they need.

#[path = "../../benches/random_checkpoint/write.rs"]
mod random;

use std::path::Path;

use crate::support::TinyCheckpoint;
use candle_core::{DType, Device, Tensor};
use glimpse::cpu::WeightFormat;
use glimpse::models::Checkpoint;
use glimpse::models::inventory::{ANSWER_TABLE, HEAD, TOKEN_TABLE, inventory};
use glimpse::nn::{Placement, Weights};
use random::NumberFormat;
use serde_json::json;

#[test]
fn every_number_format_is_read_and_converted_as_candle_does() {
    let checkpoint = TinyCheckpoint::new();
    for stored in [DType::F32, DType::F16, DType::BF16, DType::F64] {
        let mut expected = None;
        checkpoint.save(|tensors| {
            for tensor in tensors.values_mut() {
                *tensor = tensor.to_dtype(stored).expect("these are numbers");
            }
            expected = Some(tensors.clone());
        });
        let opened = Checkpoint::open(checkpoint.folder.path()).expect("it is whole");
        for wanted in [DType::F32, DType::F16, DType::BF16] {
            let tensors = opened.tensors();
            for (name, tensor) in expected.as_ref().expect("it was saved") {
                let found = tensors.tensor(name, tensor.shape(), wanted, &Device::Cpu);
                let found = found.expect("it is there");
                assert_eq!(found.dtype(), wanted);
                // By way of f32, as torch does; candle's way from f64 to bf16 rounds otherwise.
                let expected = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.to_dtype(wanted));
                let expected = expected.expect("these are numbers");
                assert_eq!(bits(&found), bits(&expected), "{name} from {stored:?} to {wanted:?}");
                if wanted == DType::F32 {
                    let matrix = tensors.matrix(name, tensor.shape()).expect("it is there");
                    let rows = Tensor::new(matrix.read(0..matrix.outputs(), &mut Vec::new()), &Device::Cpu);
                    assert_eq!(
                        bits(&rows.expect("they are numbers")),
                        bits(&expected),
                        "{name} from {stored:?}"
                    );
                }
            }
        }
    }
}

/// The numbers, exactly.
fn bits(tensor: &Tensor) -> Vec<u64> {
    let numbers = tensor.flatten_all().and_then(|flat| flat.to_dtype(DType::F64));
    let numbers = numbers
        .and_then(|numbers| numbers.to_vec1::<f64>())
        .expect("these are numbers");
    numbers.into_iter().map(f64::to_bits).collect()
}

#[test]
fn the_inventory_is_what_the_reference_saves() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints");
    let folders = std::fs::read_dir(golden).expect("the golden files are there");
    let mut seen = 0;
    for folder in folders.map(|entry| entry.expect("it can be listed").path()) {
        let checkpoint = Checkpoint::open(&folder).expect("it is whole");
        let mut asked: Vec<_> = inventory(checkpoint.config(), checkpoint.has_head())
            .into_iter()
            .map(|tensor| (tensor.name, tensor.shape))
            .collect();
        asked.sort();
        assert_eq!(asked, saved(&folder), "{}", folder.display());
        seen += 1;
    }
    assert_eq!(seen, 32);
}

#[test]
fn no_tensor_of_a_sound_checkpoint_is_told_to_be_left() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints");
    let folders = std::fs::read_dir(golden).expect("the golden files are there");
    let folders = folders.map(|entry| Checkpoint::open(entry.expect("it can be listed").path()));
    for checkpoint in folders.chain([Checkpoint::demo()]) {
        let checkpoint = checkpoint.expect("it is whole");
        assert!(checkpoint.unused_tensors().is_empty(), "{}", checkpoint.name());
    }
}

/// Tables that are not asked for: of T5, the encoder's is never read, and the decoder's may
/// repeat the shared one.
const TABLES: [&str; 2] = ["language_model.encoder.embed_tokens.weight", ANSWER_TABLE];

/// Names and shapes in all of a folder's weight files, sorted.
fn saved(folder: &Path) -> Vec<(String, Vec<usize>)> {
    let files = std::fs::read_dir(folder)
        .expect("it is there")
        .flatten()
        .map(|entry| entry.path());
    let is_weights = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("model") && name.ends_with(".safetensors")
    };
    let mut all: Vec<_> = files
        .filter(is_weights)
        .flat_map(|file| candle_core::safetensors::load(file, &Device::Cpu).expect("it is whole"))
        .map(|(name, tensor)| (name, tensor.dims().to_vec()))
        .filter(|(name, _)| !TABLES.contains(&name.as_str()))
        .collect();
    all.sort();
    all
}

#[test]
fn a_head_that_repeats_the_token_table_is_held_once() {
    let checkpoint = TinyCheckpoint::new();
    let is_its_own = |change: f64| {
        checkpoint.save(|tensors| {
            let head = (&tensors[TOKEN_TABLE] + change).expect("these are numbers");
            tensors.insert(HEAD.into(), head);
        });
        let opened = Checkpoint::open(checkpoint.folder.path()).expect("it is whole");
        let tensors = Weights::new(opened.tensors(), Placement::cpu(WeightFormat::F32));
        tensors.contains_other_than(TOKEN_TABLE, HEAD)
    };
    assert!(!is_its_own(0.0));
    assert!(is_its_own(1.0));
}

/// Weights of 0.5 GB in f32: large enough to tell whether they were in memory twice.
#[cfg(target_os = "linux")]
#[test]
fn loading_needs_little_more_memory_than_the_weights() {
    let config = json!({
        "model_type": "blip-2", "image_token_index": 2, "num_query_tokens": 8,
        "vision_config": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
                          "num_attention_heads": 4, "image_size": 56},
        "qformer_config": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
                           "num_attention_heads": 4},
        "text_config": {"model_type": "opt", "hidden_size": 1024, "word_embed_proj_dim": 1024, "ffn_dim": 4096,
                        "num_hidden_layers": 6, "num_attention_heads": 16, "vocab_size": 50304},
    });
    let folder = tempfile::tempdir().expect("there is a folder for tests");
    let bytes = random::checkpoint(&config, NumberFormat::F32, 200_000_000, folder.path()).expect("there is room");
    assert!(folder.path().join("model.safetensors.index.json").is_file());
    let model = folder.path().to_str().expect("temporary folders have plain names");
    for (dtype, resident) in [("f32", bytes), ("f16", bytes / 2)] {
        let server = crate::support::Server::start(&["--model", model, "--dtype", dtype]);
        let (peak, allowed) = (server.peak_memory(), resident * 115 / 100 + 300_000_000);
        eprintln!(
            "{dtype}: peak {} MB, allowed {} MB",
            peak / 1_000_000,
            allowed / 1_000_000
        );
        assert!(
            peak <= allowed,
            "{dtype}: {peak} bytes at the peak, and {allowed} are allowed"
        );
    }
}
