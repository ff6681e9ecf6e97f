//! BLIP-2's matching head (`Blip2ForImageTextRetrieval`) against the reference: the folders of
//! `tests/golden/retrieval`, made by `make golden` with transformers in f32 on the CPU.
//!
//! What must hold in f32: pixel values equal to the bit, ids equal; the vision tower's output, all
//! embeddings, logits, probabilities and cosines within 1e-4.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use glimpse::blip2::config::ModelClass;
use glimpse::blip2::retrieval::{Blip2Retrieval, cosine};
use glimpse::cpu::WeightFormat;
use glimpse::models::Checkpoint;
use glimpse::nn::matching::{MatchScore, Matcher};
use glimpse::nn::{Kernels, Placement};
use glimpse::processor::{Picture, PictureLimits, Processor};
use serde::Deserialize;

use crate::support::{glimpse, stderr};

type AnyResult<T> = Result<T, Box<dyn Error>>;

const TOLERANCE: f32 = 1e-4;

/// The most values that the reference keeps of a tensor.
const SAMPLE: usize = 1024;

/// `expected.json`.
#[derive(Deserialize)]
struct Expected {
    pictures: Vec<ExpectedPicture>,
    scores: Vec<ExpectedScore>,
}

#[derive(Deserialize)]
struct ExpectedPicture {
    file: String,
}

#[derive(Deserialize)]
struct ExpectedScore {
    picture: usize,
    text: String,
    ids: Vec<u32>,
    logits: [f32; 2],
    probability: f32,
    cosine: f32,
}

struct Case {
    folder: PathBuf,
    expected: Expected,
    tensors: HashMap<String, Tensor>,
    model: Blip2Retrieval,
    processor: Processor,
}

impl Case {
    fn open(folder: &Path, placement: &Placement) -> AnyResult<Self> {
        let checkpoint = Checkpoint::open(folder)?;
        let config = checkpoint.config().blip2().ok_or("it is BLIP-2")?;
        assert_eq!(config.class(), ModelClass::ImageTextRetrieval);
        assert_eq!(checkpoint.unused_tensors(), [""; 0], "{}", folder.display());
        Ok(Self {
            folder: folder.to_path_buf(),
            expected: serde_json::from_slice(&std::fs::read(folder.join("expected.json"))?)?,
            tensors: candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)?,
            model: checkpoint.load_retrieval(placement)?,
            processor: checkpoint.processor()?,
        })
    }

    fn encode(&self, picture: usize) -> AnyResult<Tensor> {
        Ok(self.model.encode_picture(&self.pixel_values(picture)?)?)
    }

    fn pixel_values(&self, picture: usize) -> AnyResult<Tensor> {
        let bytes = std::fs::read(self.folder.join(&self.expected.pictures[picture].file))?;
        let picture = Picture::decode(&bytes, &PictureLimits::default())?;
        Ok(self.processor.image.pixel_values(&picture)?)
    }

    /// The largest difference of any number from the reference's, of all texts and pictures.
    fn worst(&self) -> AnyResult<f32> {
        let mut worst = 0f32;
        let mut pictures = Vec::new();
        for index in 0..self.expected.pictures.len() {
            let encoded = self.encode(index)?;
            if index == 0 {
                worst = worst.max(self.difference("image_embeds", &encoded)?);
            }
            let features = self.model.picture_features(&encoded)?;
            worst = worst.max(self.difference(&format!("picture_features-{index}"), &features)?);
            pictures.push((encoded, features));
        }
        for (number, score) in self.expected.scores.iter().enumerate() {
            let ids = self.processor.text.text_ids(&score.text)?;
            assert_eq!(ids, score.ids, "{}: {:?}", self.folder.display(), score.text);
            let (encoded, features) = &pictures[score.picture];
            let text = self.model.text_features(&ids)?;
            if score.picture == 0 {
                worst = worst.max(self.difference(&format!("text_features-{number}"), &text)?);
            }
            let logits = self.model.match_logits(encoded, &ids)?;
            let found = MatchScore::new(logits, cosine(features, &text)?);
            let differences = [
                logits[0] - score.logits[0],
                logits[1] - score.logits[1],
                found.probability - score.probability,
                found.cosine - score.cosine,
            ];
            worst = differences
                .iter()
                .fold(worst, |worst, difference| worst.max(difference.abs()));
            assert!(differences.iter().all(|difference| difference.is_finite()));
        }
        Ok(worst)
    }

    /// As a part of the reference's largest value, where that is more than 1.
    fn difference(&self, name: &str, got: &Tensor) -> AnyResult<f32> {
        let want: Vec<f32> = self.tensors[name].to_vec1()?;
        let got: Vec<f32> = got.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let got: Vec<f32> = got.iter().copied().step_by(got.len().div_ceil(SAMPLE)).collect();
        assert_eq!(got.len(), want.len(), "{name}");
        let largest = want.iter().fold(1f32, |largest, value| largest.max(value.abs()));
        let differences = got.iter().zip(&want).map(|(got, want)| (got - want).abs() / largest);
        Ok(differences.fold(0.0, f32::max))
    }
}

fn folders() -> AnyResult<Vec<PathBuf>> {
    let golden = std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(golden.join("retrieval")) else {
        return Ok(Vec::new());
    };
    let mut folders: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<AnyResult<_>>()?;
    folders.sort();
    Ok(folders)
}

#[test]
fn every_checkpoint_scores_as_the_reference_does() -> AnyResult<()> {
    let folders = folders()?;
    assert!(folders.len() >= 8 || std::env::var_os("GLIMPSE_GOLDEN").is_some());
    for folder in &folders {
        for kernels in [Kernels::Own, Kernels::Candle] {
            let placement = Placement::with_kernels(Device::Cpu, WeightFormat::F32, kernels);
            let worst = Case::open(folder, &placement)?.worst()?;
            assert!(
                worst <= TOLERANCE,
                "{} by {kernels:?}: off by {worst:.1e}",
                folder.display()
            );
        }
    }
    Ok(())
}

#[test]
fn every_format_scores_what_f32_does_but_for_rounding() -> AnyResult<()> {
    for folder in folders()?.iter().take(3) {
        for (format, tolerance) in [
            (WeightFormat::F16, 0.02),
            (WeightFormat::Bf16, 0.15),
            (WeightFormat::Q8_0, 0.15),
            (WeightFormat::Q4K, 1.0),
        ] {
            let case = Case::open(folder, &Placement::cpu(format))?;
            for score in &case.expected.scores {
                let picture = case.model.picture(&case.pixel_values(score.picture)?)?;
                let found = case.model.score(&picture, &case.model.text(&score.ids)?)?;
                let off = (found.probability - score.probability)
                    .abs()
                    .max((found.cosine - score.cosine).abs());
                assert!(
                    off <= tolerance,
                    "{} in {}: off by {off}",
                    folder.display(),
                    format.name()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_checkpoint_that_compares_is_refused_where_it_should_answer_and_the_other_way_round() -> AnyResult<()> {
    let picture = "tests/golden/retrieval/00/picture-0.jpg";
    let [compares, answers] = ["tests/golden/retrieval/00", "tests/golden/checkpoints/00"];
    let cases: [(&[&str], &str); 2] = [
        (&["ask", "--model", compares, picture, "what is it?"], "glimpse match"),
        (
            &["match", "--model", answers, picture, "--text", "a cat"],
            "glimpse ask",
        ),
    ];
    for (arguments, said) in cases {
        let output = glimpse().args(arguments).output()?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    Ok(())
}

#[test]
fn the_terminal_prints_the_references_scores() -> AnyResult<()> {
    let folder = Path::new("tests/golden/retrieval/01");
    let expected: Expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json"))?)?;
    for score in expected.scores.iter().filter(|score| !score.text.trim().is_empty()) {
        let picture = folder.join(&expected.pictures[score.picture].file);
        let mut command = glimpse();
        command.args(["match", "--dtype", "f32", "--json", "--text", &score.text, "--model"]);
        let output = command.arg(folder).arg(picture).output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        let line: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        for (name, want) in [("match", score.probability), ("cosine", score.cosine)] {
            let found = line["scores"][0][name].as_f64().ok_or("a number")? as f32;
            assert!(
                (found - want).abs() <= TOLERANCE,
                "{name} of {:?}: {found}, not {want}",
                score.text
            );
        }
    }
    Ok(())
}
