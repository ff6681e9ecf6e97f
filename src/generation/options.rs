//! How an answer is generated: the settings of transformers' `GenerationConfig` that
//! Glimpse knows, under the same names and with the same defaults.

use std::fmt;

use super::bounds::{self, Bounds};
use super::{GenerationError, StopStrings};

/// How an answer is generated; names and defaults as in the reference.
///
/// The defaults are greedy decoding. [`GenerationOptions::check`] names what is out of
/// range or contradicts itself.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationOptions {
    /// The most tokens an answer may have, its end token included.
    pub max_new_tokens: usize,
    /// The end token is not taken before this many tokens.
    pub min_new_tokens: usize,
    /// The most ids with those in front of the answer ([`Beginning::ids_before`](super::Beginning)), as the
    /// reference counts where it is told a `max_length`; in place of `max_new_tokens`, where there is one.
    pub max_length: Option<usize>,
    /// The end token is not taken before there are this many ids, those in front of the answer among
    /// them; beside `min_new_tokens`.
    pub min_length: usize,
    /// Beams of beam search; 1 is none.
    pub num_beams: usize,
    /// Tokens are drawn by their probabilities; otherwise the likeliest is taken.
    pub do_sample: bool,
    /// Logits are divided by it before a token is drawn: below 1 the likely ones win more often, above 1 less.
    pub temperature: f64,
    /// Only this many likeliest tokens are drawn from; 0 is all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability are drawn from.
    pub top_p: f64,
    /// What the drawing starts from: the same seed, the same answer. `None` is another one each time.
    pub seed: Option<u64>,
    /// Beam scores are divided by the answer's length to this power: above 0 prefers long answers.
    pub length_penalty: f64,
    pub early_stopping: EarlyStopping,
    /// Logits of tokens that are there already, in OPT's prompt too, are made smaller by this factor.
    pub repetition_penalty: f64,
    /// No sequence of this many tokens comes twice, those of OPT's prompt included; 0 is no such rule.
    pub no_repeat_ngram_size: usize,
    /// How many answers there shall be: drawn ones, or the best beams.
    pub num_return_sequences: usize,
    /// Texts that end an answer; they stay part of it.
    pub stop_strings: StopStrings,
    /// Whose habits count where Glimpse has better ones than the reference.
    pub preset: Preset,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 20,
            min_new_tokens: 0,
            max_length: None,
            min_length: 0,
            num_beams: 1,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            seed: None,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::False,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            num_return_sequences: 1,
            stop_strings: StopStrings::default(),
            preset: Preset::default(),
        }
    }
}

/// Whose habits count where two would answer otherwise with the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// What a model was made for: an InstructBLIP with Vicuna ends with its own `</s>` as well.
    #[default]
    Glimpse,
    /// Exactly what transformers does: it ends with the tokens that `config.json` names.
    Transformers,
}

/// When beam search ends, once there are as many finished answers as beams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When no running beam is likely to become better, by its score so far.
    #[default]
    False,
    /// At once.
    True,
    /// When no running beam can become better, however long it grows.
    Never,
}

/// Why options cannot be used. Written out, settings have the reference's names;
/// [`OptionsError::sentence`] gives them others.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionsError {
    /// A number outside of its [`Bounds`], or one that is not whole.
    OutOfRange {
        name: &'static str,
        value: f64,
        min: f64,
        max: f64,
        /// Whether the value has no fraction where it may have none.
        is_whole: bool,
    },
    /// `min_new_tokens` and `max_new_tokens` contradict each other.
    MinAboveMax { min: usize, max: usize },
    /// This setting is for drawing tokens, and `do_sample` is not set.
    NeedsSampling(&'static str),
    /// This setting is for beam search, and there is one beam.
    NeedsBeams(&'static str),
    /// So many answers were asked for of greedy decoding, which has one.
    OneGreedyAnswer(usize),
    /// More answers than beams were asked for.
    FewerBeams { sequences: usize, beams: usize },
}

impl OptionsError {
    /// What is wrong and what to do, with settings called as whoever set them knows them.
    pub fn sentence(&self, called: impl Fn(&'static str) -> String) -> String {
        let [beams, sequences] = ["num_beams", "num_return_sequences"].map(&called);
        match self {
            Self::OutOfRange {
                name,
                value,
                min,
                max,
                is_whole,
            } => {
                let name = called(name);
                let value = if value.is_nan() {
                    "no number".to_owned()
                } else {
                    value.to_string()
                };
                let whole = if *is_whole { "" } else { ", without a fraction" };
                format!("{name} is {value}, and may be {min} to {max}{whole}. Choose a value in that range.")
            }
            Self::MinAboveMax { min, max } => {
                let [least, most] = ["min_new_tokens", "max_new_tokens"].map(&called);
                format!("{least} {min} is more than {most} {max}. Raise the one or lower the other.")
            }
            Self::NeedsSampling(name) => {
                let [name, sampling] = [name, "do_sample"].map(&called);
                format!(
                    "{name} is for drawing tokens, and the likeliest one is taken. Add {sampling}, or leave {name} out."
                )
            }
            Self::NeedsBeams(name) => {
                let name = called(name);
                format!("{name} is for beam search, and there is one beam. Add {beams} 2 or more, or leave {name} out.")
            }
            Self::OneGreedyAnswer(count) => {
                let sampling = called("do_sample");
                format!(
                    "{sequences} {count} needs different answers, and greedy decoding has only one. Add {sampling}, or {beams} {count}."
                )
            }
            Self::FewerBeams {
                sequences: asked,
                beams: searched,
            } => {
                format!("{sequences} {asked} is more than {beams} {searched}. Raise {beams}, or ask for fewer answers.")
            }
        }
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(str::to_owned))
    }
}

impl std::error::Error for OptionsError {}

impl GenerationOptions {
    /// The most rows of the model that an answer takes.
    pub fn rows(&self) -> usize {
        self.num_beams.max(self.num_return_sequences)
    }

    /// Whether every setting is in its range and none contradicts another, as the
    /// reference's `GenerationConfig.validate`: a setting counts where it is not the default.
    ///
    /// # Errors
    /// The first setting that does not fit, in a sentence.
    pub fn check(&self) -> Result<(), OptionsError> {
        for (bounds, value) in self.numbers() {
            bounds.check(value)?;
        }
        self.check_combinations()
    }

    /// The most ids of a sequence whose answer goes on from so many.
    ///
    /// # Errors
    /// They leave no room for an answer.
    pub fn most_ids(&self, before: usize) -> Result<usize, GenerationError> {
        match self.max_length {
            None => Ok(before.saturating_add(self.max_new_tokens)),
            Some(most) if most > before => Ok(most),
            Some(limit) => Err(GenerationError::NoRoom { tokens: before, limit }),
        }
    }

    /// The settings that are numbers between bounds, with their values.
    pub fn numbers(&self) -> [(Bounds, f64); 8] {
        [
            (bounds::NUM_BEAMS, self.num_beams as f64),
            (bounds::NUM_RETURN_SEQUENCES, self.num_return_sequences as f64),
            (bounds::TEMPERATURE, self.temperature),
            (bounds::TOP_K, self.top_k as f64),
            (bounds::TOP_P, self.top_p),
            (bounds::LENGTH_PENALTY, self.length_penalty),
            (bounds::REPETITION_PENALTY, self.repetition_penalty),
            (bounds::NO_REPEAT_NGRAM_SIZE, self.no_repeat_ngram_size as f64),
        ]
    }

    fn check_combinations(&self) -> Result<(), OptionsError> {
        let default = Self::default();
        if self.max_length.is_none() && self.min_new_tokens > self.max_new_tokens {
            return Err(OptionsError::MinAboveMax {
                min: self.min_new_tokens,
                max: self.max_new_tokens,
            });
        }
        let sampling = [
            ("temperature", self.temperature != default.temperature),
            ("top_k", self.top_k != default.top_k),
            ("top_p", self.top_p != default.top_p),
            ("seed", self.seed.is_some()),
        ];
        let beams = [
            ("length_penalty", self.length_penalty != default.length_penalty),
            ("early_stopping", self.early_stopping != default.early_stopping),
        ];
        if let Some((name, _)) = sampling.into_iter().find(|(_, set)| *set && !self.do_sample) {
            return Err(OptionsError::NeedsSampling(name));
        }
        if let Some((name, _)) = beams.into_iter().find(|(_, set)| *set && self.num_beams == 1) {
            return Err(OptionsError::NeedsBeams(name));
        }
        let (sequences, beams) = (self.num_return_sequences, self.num_beams);
        if sequences > 1 && beams == 1 && !self.do_sample {
            return Err(OptionsError::OneGreedyAnswer(sequences));
        }
        if beams > 1 && sequences > beams {
            return Err(OptionsError::FewerBeams { sequences, beams });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut GenerationOptions)) -> String {
        let mut options = GenerationOptions::default();
        change(&mut options);
        options.check().expect_err("it must be refused").to_string()
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        assert!(refused(|o| o.num_beams = 0).contains("num_beams is 0, and may be 1 to 10"));
        assert!(refused(|o| o.num_beams = 11).contains("1 to 10"));
        assert!(refused(|o| o.num_return_sequences = 0).contains("num_return_sequences"));
        assert!(refused(|o| o.temperature = 0.0).contains("0.01 to 100"));
        assert!(refused(|o| o.temperature = f64::NAN).contains("temperature is no number"));
        assert!(refused(|o| o.top_p = 1.5).contains("top_p is 1.5, and may be 0 to 1"));
        assert!(refused(|o| o.repetition_penalty = -1.0).contains("repetition_penalty"));
        assert!(refused(|o| o.length_penalty = f64::INFINITY).contains("-10 to 10"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        assert!(refused(|o| o.temperature = 0.5).contains("temperature is for drawing"));
        assert!(refused(|o| o.top_k = 3).contains("top_k"));
        assert!(refused(|o| o.seed = Some(1)).contains("seed"));
        assert!(refused(|o| o.length_penalty = 2.0).contains("length_penalty is for beam search"));
        assert!(refused(|o| o.early_stopping = EarlyStopping::Never).contains("early_stopping"));
        assert!(refused(|o| o.num_return_sequences = 2).contains("greedy"));
        let more_than_beams = refused(|o| (o.num_beams, o.num_return_sequences) = (2, 3));
        assert!(more_than_beams.contains("num_beams 2"), "{more_than_beams}");
        assert!(refused(|o| o.min_new_tokens = 21).contains("max_new_tokens 20"));
    }

    #[test]
    fn what_fits_together_passes() {
        let sampled = GenerationOptions {
            do_sample: true,
            temperature: 0.7,
            top_p: 0.9,
            seed: Some(3),
            num_return_sequences: 10,
            ..GenerationOptions::default()
        };
        assert_eq!(sampled.check(), Ok(()));
        let beams = GenerationOptions {
            num_beams: 10,
            length_penalty: -1.0,
            early_stopping: EarlyStopping::True,
            ..GenerationOptions::default()
        };
        assert_eq!(beams.check(), Ok(()));
    }
}
