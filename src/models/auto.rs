//! `--model auto`: the best model for this machine.
//!
//! Of those that fit where they are to run, the best is found by, in this order:
//!
//! 1. whether it answers in a few seconds: on the CPU, whether its weights have at most
//!    [`QUICK_BYTES`], since every token waits for all of them to be read;
//! 2. what it can be asked: conversations before single questions before captions; of those alone that can
//!    do what is [`Asked`], so that a caption is never asked of a model that answers questions;
//! 3. how well it answers questions zero-shot, by the papers' tables of VQAv2, GQA and OK-VQA
//!    (InstructBLIP before BLIP-2, larger language models before smaller ones, those that were fine-tuned
//!    for COCO's captions last: [`BEST_FIRST`]); what is not in the list comes behind what is;
//! 4. how many parameters it has.
//!
//! Its dtype is what `--dtype` says; where that is auto and what it means does not fit, the one with the
//! most memory that does.

use candle_core::Device;

use super::inventory::parameters;
use super::memory_estimate::{MemoryEstimate, estimate};
use super::{Cached, DtypeChoice, Known, MemoryLimit, ModelConfig, Precision, Purpose, offered_precisions};
use crate::nn::Kernels;

/// Weights that a CPU reads often enough a second.
pub const QUICK_BYTES: u64 = 8_000_000_000;

/// The published checkpoints by how well they answer questions.
const BEST_FIRST: [&str; 21] = [
    "Salesforce/instructblip-vicuna-13b",
    "Salesforce/instructblip-vicuna-7b",
    "Salesforce/instructblip-flan-t5-xxl",
    "Salesforce/instructblip-flan-t5-xl",
    "Salesforce/blip2-flan-t5-xxl",
    "Salesforce/blip2-flan-t5-xl",
    "Salesforce/blip2-opt-6.7b",
    "Salesforce/blip2-opt-2.7b",
    "Salesforce/blip2-flan-t5-xl-coco",
    "Salesforce/blip2-opt-6.7b-coco",
    "Salesforce/blip2-opt-2.7b-coco",
    "Salesforce/blip-vqa-capfilt-large",
    "Salesforce/blip-vqa-base",
    "Salesforce/blip-image-captioning-large",
    "Salesforce/blip-image-captioning-base",
    // Those that compare, by what they find on COCO and Flickr30K.
    "Salesforce/blip2-itm-vit-g-coco",
    "Salesforce/blip2-itm-vit-g",
    "Salesforce/blip-itm-large-coco",
    "Salesforce/blip-itm-large-flickr",
    "Salesforce/blip-itm-base-coco",
    "Salesforce/blip-itm-base-flickr",
];

/// A model that is taken, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoChoice {
    /// As `--model` takes it.
    pub id: String,
    pub dtype: DtypeChoice,
    pub needed: MemoryEstimate,
    pub parameters: u64,
}

/// The best of those that were downloaded whole.
pub fn best_cached(cached: &[Cached], machine: &Machine) -> Option<AutoChoice> {
    let whole = cached.iter().filter(|cached| cached.is_complete);
    machine.best(whole.map(|cached| (cached.id.as_str(), &cached.config)))
}

/// The best of those that are published.
pub fn best_known(known: &[Known], machine: &Machine) -> Option<AutoChoice> {
    machine.best(known.iter().map(|known| (known.id, &known.config)))
}

/// What a model is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whatever people ask, questions and captions.
    Anything,
    Caption,
    Question,
    /// How well texts fit a picture.
    Match,
}

impl Asked {
    /// How much of it models of a purpose can do: more is better, `None` is nothing.
    fn of(self, purpose: Purpose) -> Option<u8> {
        match (purpose, self) {
            (Purpose::Matching, Self::Match) => Some(0),
            (Purpose::Conversation, Self::Anything | Self::Caption | Self::Question) => Some(2),
            (Purpose::Answers, Self::Anything | Self::Question) => Some(1),
            (Purpose::Captions, Self::Anything | Self::Caption) => Some(0),
            _ => None,
        }
    }
}

/// Where a model is to run, in what, and for what.
pub struct Machine {
    pub asked: Asked,
    pub device: Device,
    /// Where the system does not say it, everything fits.
    pub limit: Option<MemoryLimit>,
    pub dtype: DtypeChoice,
}

impl Machine {
    fn best<'a>(&self, models: impl Iterator<Item = (&'a str, &'a ModelConfig)>) -> Option<AutoChoice> {
        let fitting = models.filter_map(|(id, config)| Some((self.rank(id, config, self.fit(config)?)?, id, config)));
        let (_, id, config) = fitting.max_by(|(one, ..), (other, ..)| one.cmp(other))?;
        let (dtype, needed) = self.fit(config)?;
        Some(AutoChoice {
            id: id.to_owned(),
            dtype,
            needed,
            parameters: parameters(config),
        })
    }

    /// The dtype in which a model fits, and what it needs in that.
    pub fn fit(&self, config: &ModelConfig) -> Option<(DtypeChoice, MemoryEstimate)> {
        let head = config.expects_head();
        let meant = self.dtype.resolve(&self.device, config).ok()?;
        let needed = |format| {
            let precision = Precision::new(format, Kernels::of(&self.device), &self.device);
            estimate(config, head, precision)
        };
        let fits = |needed: &MemoryEstimate| self.limit.as_ref().is_none_or(|limit| needed.total() <= limit.bytes);
        let usual = Some((self.dtype, needed(meant))).filter(|(_, needed)| fits(needed));
        usual.or_else(|| {
            let smaller = offered_precisions(&self.device)
                .into_iter()
                .map(|precision| precision.weights);
            let mut smaller = smaller.filter(|_| self.dtype == DtypeChoice::Auto);
            let format = smaller.find(|format| fits(&needed(*format)))?;
            Some((DtypeChoice::Format(format), needed(format)))
        })
    }

    /// What a model needs in a dtype; none where there is no such here.
    pub fn needed(&self, config: &ModelConfig, dtype: DtypeChoice) -> Option<MemoryEstimate> {
        let format = dtype.resolve(&self.device, config).ok()?;
        let precision = Precision::new(format, Kernels::of(&self.device), &self.device);
        Some(estimate(config, config.expects_head(), precision))
    }

    /// More is better.
    fn rank(&self, id: &str, config: &ModelConfig, fit: (DtypeChoice, MemoryEstimate)) -> Option<impl Ord + use<>> {
        let is_quick = !self.device.is_cpu() || fit.1.weights <= QUICK_BYTES;
        let asked = self.asked.of(config.purpose())?;
        let name = id.split('@').next().unwrap_or_default();
        let known = BEST_FIRST.iter().rev().position(|known| *known == name);
        Some((is_quick, asked, known, parameters(config)))
    }
}

/// Under which licence a published checkpoint is, in a few words; its page on the hub has it whole.
pub fn licence(id: &str) -> &'static str {
    match id.strip_prefix("Salesforce/") {
        Some(name) if name.starts_with("blip-") => "BSD 3-Clause",
        Some(name) if name.starts_with("instructblip-vicuna") => {
            "the terms of LLaMA and Vicuna, not for commercial use"
        }
        Some(_) => "MIT",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::WeightFormat;
    use crate::models::known;

    fn cpu(gigabytes: u64) -> Machine {
        Machine {
            asked: Asked::Anything,
            device: Device::Cpu,
            limit: Some(MemoryLimit::chosen(gigabytes * 1_000_000_000)),
            dtype: DtypeChoice::Auto,
        }
    }

    #[test]
    fn the_best_that_fits_and_is_quick_is_taken() {
        let best = |gigabytes| best_known(&known(), &cpu(gigabytes)).map(|choice| choice.id);
        assert_eq!(best(64).as_deref(), Some("Salesforce/instructblip-flan-t5-xl"));
        assert_eq!(best(2).as_deref(), Some("Salesforce/blip-vqa-capfilt-large"));
        assert_eq!(best(0), None);
        let comparing = |gigabytes| Machine {
            asked: Asked::Match,
            ..cpu(gigabytes)
        };
        let best = |gigabytes| best_known(&known(), &comparing(gigabytes)).map(|choice| choice.id);
        assert_eq!(best(64).as_deref(), Some("Salesforce/blip2-itm-vit-g-coco"));
        assert_eq!(best(1).as_deref(), Some("Salesforce/blip-itm-large-coco"));
        assert_eq!(best(0), None);
    }

    #[test]
    fn what_fits_in_a_smaller_dtype_alone_is_taken_in_that() {
        let opt: Vec<_> = known()
            .into_iter()
            .filter(|known| known.id.ends_with("opt-2.7b"))
            .collect();
        let taken = |gigabytes| best_known(&opt, &cpu(gigabytes)).map(|choice| choice.dtype);
        assert_eq!(taken(9), Some(DtypeChoice::Auto), "q8_0");
        assert!(matches!(
            taken(4),
            Some(DtypeChoice::Format(WeightFormat::Q4_0 | WeightFormat::Q4K))
        ));
        let as_named = Machine {
            dtype: DtypeChoice::Format(WeightFormat::F32),
            ..cpu(9)
        };
        assert_eq!(best_known(&opt, &as_named), None, "another dtype was not asked for");
    }

    #[test]
    fn the_list_has_every_published_model() {
        let mut known: Vec<&str> = known().iter().map(|known| known.id).collect();
        let mut listed = BEST_FIRST.to_vec();
        known.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, known);
    }

    #[test]
    fn a_model_that_is_downloaded_in_part_is_not_taken() {
        let cached = |id: &str, is_complete| Cached {
            id: id.to_owned(),
            config: known()
                .into_iter()
                .find(|known| known.id == id)
                .expect("it is known")
                .config,
            folder: std::path::PathBuf::new(),
            is_complete,
        };
        let here = [
            cached("Salesforce/instructblip-flan-t5-xl", false),
            cached("Salesforce/blip-vqa-base", true),
            cached("Salesforce/blip-itm-large-coco", true),
            cached("Salesforce/blip2-opt-2.7b-coco", true),
        ];
        let best = |here: &[Cached]| best_cached(here, &cpu(64)).map(|choice| choice.id);
        assert_eq!(best(&here).as_deref(), Some("Salesforce/blip2-opt-2.7b-coco"));
        assert_eq!(best(&here[..3]).as_deref(), Some("Salesforce/blip-vqa-base"));
        assert_eq!(best(&here[2..3]), None);
    }

    #[test]
    fn a_model_is_taken_for_what_is_asked_alone() {
        let of_blip = |asked: Asked| {
            let mut blip = known();
            blip.retain(|known| known.id.starts_with("Salesforce/blip-"));
            let machine = Machine { asked, ..cpu(64) };
            best_known(&blip, &machine).map(|choice| choice.id)
        };
        let taken = [Asked::Anything, Asked::Question, Asked::Caption, Asked::Match].map(of_blip);
        let names = taken.iter().map(|id| id.as_deref().unwrap_or_default());
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "Salesforce/blip-vqa-capfilt-large",
                "Salesforce/blip-vqa-capfilt-large",
                "Salesforce/blip-image-captioning-large",
                "Salesforce/blip-itm-large-coco"
            ]
        );
        for asked in [Asked::Caption, Asked::Question] {
            let best = best_known(&known(), &Machine { asked, ..cpu(64) }).map(|choice| choice.id);
            assert_eq!(
                best.as_deref(),
                Some("Salesforce/instructblip-flan-t5-xl"),
                "it does both"
            );
        }
    }
}
