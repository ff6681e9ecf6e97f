//! Quantised matrices by candle's operations, as a GPU multiplies them, on the CPU.
//!
//! The golden checkpoints' rows are shorter than a block. Here are two of whole blocks in every
//! format, with OPT and with T5. The yardstick are our own kernels in the same format, which keep
//! activations in f32: GGML's round them to whole numbers of eight bits as well.
//! `GLIMPSE_TEST_DEVICE=cuda` runs them on a GPU, as `make gpu-check` does.

use std::collections::HashMap;
use std::error::Error;

use candle_core::{DType, Device, Tensor};
use glimpse::blip2::Blip2;
use glimpse::cpu::WeightFormat;
use glimpse::generation::GenerationOptions;
use glimpse::models::inventory::{Kind, TensorSpec, inventory};
use glimpse::models::{Checkpoint, ModelConfig};
use glimpse::nn::{Kernels, Placement};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parity::device_by_env;

type AnyResult<T> = Result<T, Box<dyn Error>>;

/// A block of q4_k.
const WIDTH: usize = 256;
const QUERY_TOKENS: usize = 4;
const PICTURE_TOKEN: u32 = 2;
const SIDE: usize = 32;

/// How much further from f32 than our kernels' logits those of GGML's products may be, as a part of
/// the logits' spread: a bound that was chosen and that they keep, not a figure that was measured.
const ROUNDED_ACTIVATIONS: f32 = 0.03;

fn opt() -> Value {
    json!({"model_type": "opt", "hidden_size": WIDTH, "ffn_dim": 2 * WIDTH, "num_hidden_layers": 2,
           "num_attention_heads": 4, "vocab_size": 300, "max_position_embeddings": 64,
           "word_embed_proj_dim": WIDTH, "bos_token_id": 0, "eos_token_id": 1})
}

fn t5() -> Value {
    json!({"model_type": "t5", "d_model": WIDTH, "d_kv": 64, "num_heads": 4, "d_ff": 2 * WIDTH, "num_layers": 2,
           "vocab_size": 300, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0, "bos_token_id": 1,
           "eos_token_id": 1})
}

fn config(language_model: &Value) -> Value {
    json!({
        "model_type": "blip-2",
        "num_query_tokens": QUERY_TOKENS,
        "image_token_index": PICTURE_TOKEN,
        "vision_config": {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2,
                          "num_attention_heads": 4, "image_size": SIDE, "patch_size": 16},
        "qformer_config": {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2,
                           "num_attention_heads": 4, "encoder_hidden_size": WIDTH},
        "text_config": language_model
    })
}

/// A checkpoint of random weights whose rows are whole blocks.
fn checkpoint(language_model: &Value) -> AnyResult<(TempDir, Checkpoint)> {
    let folder = tempfile::tempdir()?;
    let config = config(language_model).to_string();
    let parsed = ModelConfig::from_json(&config)?;
    let tensors = inventory(&parsed, parsed.expects_head());
    let tensors: HashMap<String, Tensor> = tensors
        .iter()
        .map(|spec| Ok((spec.name.clone(), random(spec)?)))
        .collect::<AnyResult<_>>()?;
    std::fs::write(folder.path().join("config.json"), config)?;
    for file in ["preprocessor_config.json", "tokenizer.json"] {
        std::fs::copy(format!("tests/golden/checkpoints/01/{file}"), folder.path().join(file))?;
    }
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors"))?;
    let checkpoint = Checkpoint::open(folder.path())?;
    Ok((folder, checkpoint))
}

/// The same numbers in every run, of a size that keeps what flows between the layers near one.
fn random(spec: &TensorSpec) -> AnyResult<Tensor> {
    let inputs = spec.elements() as usize / spec.shape[0];
    // T5 does not divide its scores.
    let unscaled = if spec.name.ends_with("Attention.q.weight") {
        0.125
    } else {
        1.0
    };
    let (scale, middle) = match spec.kind {
        Kind::Matrix => (1.7 * unscaled * (inputs as f32).powf(-0.5), 0.0),
        Kind::Embedding => (0.5, 0.0),
        Kind::Vector if spec.name.ends_with("weight") => (0.2, 1.0),
        Kind::Vector => (0.2, 0.0),
    };
    let mut state = spec
        .name
        .bytes()
        .fold(1u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut next = || {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        middle + scale * ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0)
    };
    let numbers: Vec<f32> = (0..spec.elements()).map(|_| next()).collect();
    Ok(Tensor::from_vec(numbers, spec.shape.as_slice(), &Device::Cpu)?)
}

/// The logits behind each token of an answer of sixteen, `[17, vocabulary]`.
fn logits(model: &Blip2) -> AnyResult<Tensor> {
    let numbers: Vec<f32> = (0..3 * SIDE * SIDE).map(|i| (i as f32 * 0.37).sin()).collect();
    let pixel_values = Tensor::from_vec(numbers, (1, 3, SIDE, SIDE), &Device::Cpu)?;
    let answer: Vec<u32> = (0..16).map(|i| 10 + 13 * i).collect();
    let logits = model.forward(&pixel_values, &prompt_ids(), &answer)?;
    Ok(logits.to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
}

fn prompt_ids() -> Vec<u32> {
    [vec![PICTURE_TOKEN; QUERY_TOKENS], (20..32).collect()].concat()
}

/// The difference's length as a part of that of the logits around their mean.
fn distance(got: &Tensor, exact: &Tensor) -> AnyResult<f32> {
    let length = |tensor: &Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f32>();
    let spread = exact.broadcast_sub(&exact.mean_keepdim(1)?)?;
    Ok((length(&(got - exact)?)? / length(&spread)?).sqrt())
}

#[test]
fn candles_quantised_products_are_as_near_to_f32_as_ours() -> AnyResult<()> {
    let device = device_by_env()?;
    for language_model in [opt(), t5()] {
        let (_folder, checkpoint) = checkpoint(&language_model)?;
        let exact = logits(&checkpoint.load_blip2(&Placement::cpu(WeightFormat::F32))?)?;
        for weights in [WeightFormat::Q8_0, WeightFormat::Q4_0, WeightFormat::Q4K] {
            let ours = distance(&logits(&checkpoint.load_blip2(&Placement::cpu(weights))?)?, &exact)?;
            let placement = Placement::with_kernels(device.clone(), weights, Kernels::Candle);
            let model = checkpoint.load_blip2(&placement)?;
            let candles = distance(&logits(&model)?, &exact)?;
            let what = format!(
                "{} {}: {candles}, ours {ours}",
                language_model["model_type"],
                weights.name()
            );
            println!("{what}");
            assert!(candles > 0.0 && candles < 1.2 * ours + ROUNDED_ACTIVATIONS, "{what}");
            // Token after token too, in one row and in several.
            for num_beams in [1, 3] {
                let picture = model.encode_picture(&Tensor::zeros((1, 3, SIDE, SIDE), DType::F32, &Device::Cpu)?)?;
                let options = GenerationOptions {
                    num_beams,
                    max_new_tokens: 5,
                    min_new_tokens: 5,
                    ..GenerationOptions::default()
                };
                let mut answer = model.generate(&picture, &prompt_ids(), &options)?;
                let mut tokens = 0;
                while answer.next_token()?.is_some() {
                    tokens += 1;
                }
                assert_eq!(tokens, 5, "{what}");
            }
        }
    }
    Ok(())
}
