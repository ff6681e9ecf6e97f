//! What answers looked at, beside the reference's `output_attentions`.
//!
//! `attention.json` and `attention.safetensors` are made by `make golden`; `GLIMPSE_GOLDEN=DIR` tests another set.
//! In f32 on the CPU every weight must be within 1e-4 of the reference's.

use std::error::Error;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use glimpse::cpu::WeightFormat;
use glimpse::models::{AnswerAttention, Checkpoint, Network};
use glimpse::nn::{Kernels, Placement};
use glimpse::processor::{Picture, PictureLimits};
use serde::Deserialize;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const TOLERANCE: f32 = 1e-4;

/// Numbers of a tensor in the file, at most; see `thinned` in the generator.
const SAMPLED: usize = 512;

#[derive(Deserialize)]
struct Expected {
    folder: String,
    picture: String,
    instruction_ids: Vec<u32>,
    prompt_ids: Vec<u32>,
    token_ids: Vec<u32>,
}

impl Expected {
    fn attention(&self, network: &Network, pixel_values: &Tensor) -> AnyResult<AnswerAttention> {
        let ids = [&self.instruction_ids, &self.prompt_ids, &self.token_ids].map(Vec::as_slice);
        Ok(network.attention(pixel_values, ids)?)
    }
}

fn thinned(tensor: &Tensor) -> AnyResult<Vec<f32>> {
    let all: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
    let step = all.len().div_ceil(SAMPLED);
    Ok(all.into_iter().step_by(step).collect())
}

fn is_near(got: &[f32], want: &Tensor) -> AnyResult<bool> {
    let want: Vec<f32> = want.flatten_all()?.to_vec1()?;
    let near = |(got, want): (&f32, &f32)| (got - want).abs() <= TOLERANCE;
    Ok(got.len() == want.len() && got.iter().zip(&want).all(near))
}

fn every_answer_looked_where_the_references_did(kernels: Kernels) -> AnyResult<()> {
    let golden = std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from);
    let answers: Vec<Expected> = serde_json::from_slice(&std::fs::read(golden.join("attention.json"))?)?;
    let tensors = candle_core::safetensors::load(golden.join("attention.safetensors"), &Device::Cpu)?;
    assert!(answers.len() >= 32, "{} answers", answers.len());
    for (number, answer) in answers.iter().enumerate() {
        let folder = golden.join(&answer.folder);
        let checkpoint = Checkpoint::open(&folder)?;
        let network = checkpoint.load(&Placement::with_kernels(Device::Cpu, WeightFormat::F32, kernels))?;
        let picture = Picture::decode(&std::fs::read(folder.join(&answer.picture))?, &PictureLimits::default())?;
        let looked = answer.attention(&network, &checkpoint.processor()?.image.pixel_values(&picture)?)?;
        let about = |what: &str| format!("{what} of answer {number}, {}", answer.folder);
        let expected = |name: String| tensors.get(&format!("{number}/{name}")).ok_or_else(|| about(&name));
        for (index, layer) in looked.layers.iter().enumerate() {
            let want = expected(format!("layer.{index}"))?;
            assert!(is_near(&thinned(layer)?, want)?, "{}", about(&format!("layer {index}")));
        }
        let behind_the_last = format!("{number}/layer.{}", looked.layers.len());
        assert!(!tensors.contains_key(&behind_the_last), "{}", about("fewer layers"));
        let weights: Vec<f32> = looked.weights.flatten_all()?.to_vec1()?;
        assert!(is_near(&weights, expected("weights".into())?)?, "{}", about("weights"));
        assert!(
            is_near(&thinned(&looked.maps)?, expected("maps".into())?)?,
            "{}",
            about("maps")
        );
    }
    Ok(())
}

#[test]
fn with_our_kernels_every_answer_looked_where_the_references_did() -> AnyResult<()> {
    every_answer_looked_where_the_references_did(Kernels::Own)
}

#[test]
fn with_candles_operations_every_answer_looked_where_the_references_did() -> AnyResult<()> {
    every_answer_looked_where_the_references_did(Kernels::Candle)
}
