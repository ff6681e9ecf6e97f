//! Settings: checked, and turned into the engine's options.
//!
//! What a number may be is said in [`bounds`], made narrower by this server's limits.

use super::Service;
use crate::chat::{EarlyStopping, Settings};
use crate::generation::bounds::{self, Bounds};
use crate::generation::{self, GenerationOptions, OptionsError};

/// Of a conversation, sent along with a question.
const CONTEXT_TURNS: Bounds = Bounds::whole("context_turns", 0.0, u16::MAX as f64);

/// How many beams "Beam search" has: those of BLIP-2's own demo.
const USUAL_BEAMS: usize = 5;

/// What a number may be, and what it is where nothing is said.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLimit {
    /// As [`Settings`] and the reference call it.
    pub name: &'static str,
    pub min: f64,
    pub max: f64,
    pub is_whole: bool,
    /// None where it is another one each time.
    pub default: Option<f64>,
}

impl From<EarlyStopping> for generation::EarlyStopping {
    fn from(when: EarlyStopping) -> Self {
        match when {
            EarlyStopping::AtOnce(false) => Self::False,
            EarlyStopping::AtOnce(true) => Self::True,
            EarlyStopping::Never(_) => Self::Never,
        }
    }
}

impl Service {
    /// The model's options.
    ///
    /// # Errors
    /// The first setting that is out of its range, or contradicts another.
    pub(super) fn options(&self, settings: &Settings) -> Result<GenerationOptions, OptionsError> {
        let defaults = GenerationOptions::default();
        let real = |bounds, value: Option<f64>, default| value.map_or(Ok(default), |value| self.check(bounds, value));
        // Within the bounds of a whole number nothing is cut off.
        let whole = |bounds, value, default| real(bounds, value, default as f64).map(|value| value as usize);
        let min_new_tokens = whole(bounds::MIN_NEW_TOKENS, settings.min_new_tokens, 0)?;
        let usual = self.usual_new_tokens().max(min_new_tokens);
        let options = GenerationOptions {
            max_new_tokens: whole(bounds::MAX_NEW_TOKENS, settings.max_new_tokens, usual)?,
            min_new_tokens,
            max_length: None,
            min_length: 0,
            num_beams: whole(bounds::NUM_BEAMS, settings.num_beams, defaults.num_beams)?,
            do_sample: settings.do_sample.unwrap_or(defaults.do_sample),
            temperature: real(bounds::TEMPERATURE, settings.temperature, defaults.temperature)?,
            top_k: whole(bounds::TOP_K, settings.top_k, defaults.top_k)?,
            top_p: real(bounds::TOP_P, settings.top_p, defaults.top_p)?,
            seed: settings
                .seed
                .map(|seed| bounds::SEED.check(seed))
                .transpose()?
                .map(|seed| seed as u64),
            length_penalty: real(bounds::LENGTH_PENALTY, settings.length_penalty, defaults.length_penalty)?,
            early_stopping: settings.early_stopping.map_or(defaults.early_stopping, Into::into),
            repetition_penalty: real(
                bounds::REPETITION_PENALTY,
                settings.repetition_penalty,
                defaults.repetition_penalty,
            )?,
            no_repeat_ngram_size: whole(
                bounds::NO_REPEAT_NGRAM_SIZE,
                settings.no_repeat_ngram_size,
                defaults.no_repeat_ngram_size,
            )?,
            num_return_sequences: whole(
                bounds::NUM_RETURN_SEQUENCES,
                settings.num_return_sequences,
                defaults.num_return_sequences,
            )?,
            stop_strings: defaults.stop_strings,
            preset: defaults.preset,
        };
        options.check()?;
        Ok(options)
    }

    /// Whether settings are within this server's limits.
    pub fn allows(&self, settings: &Settings) -> bool {
        self.options(settings).is_ok()
    }

    /// How many earlier turns a visitor wants to be sent along, if he says so.
    ///
    /// # Errors
    /// More than a conversation has.
    pub(super) fn context_turns(&self, settings: &Settings) -> Result<Option<usize>, OptionsError> {
        let turns = settings.context_turns.map(|turns| self.check(CONTEXT_TURNS, turns));
        Ok(turns.transpose()?.map(|turns| turns as usize))
    }

    /// The settings that are numbers, within this server's limits.
    pub fn number_limits(&self) -> Vec<NumberLimit> {
        let own = [
            (bounds::MAX_NEW_TOKENS, Some(self.usual_new_tokens() as f64)),
            (bounds::MIN_NEW_TOKENS, Some(0.0)),
            (bounds::SEED, None),
            (CONTEXT_TURNS, None),
        ];
        let models = GenerationOptions::default().numbers();
        let models = models.map(|(bounds, default)| match bounds {
            // A search, which is what the field is for, needs two.
            bounds::NUM_BEAMS => (Bounds { min: 2.0, ..bounds }, Some(self.usual_beams())),
            bounds => (bounds, Some(default)),
        });
        let field = |(bounds, default): (Bounds, Option<f64>)| {
            let Bounds {
                name,
                min,
                max,
                is_whole,
            } = self.narrowed(bounds);
            NumberLimit {
                name,
                min,
                max,
                is_whole,
                default,
            }
        };
        own.into_iter().chain(models).map(field).collect()
    }

    /// How many beams a search has where nobody says.
    pub fn usual_beams(&self) -> f64 {
        USUAL_BEAMS.min(self.limits.beams) as f64
    }

    /// How many tokens an answer may have where nobody says.
    pub(super) fn usual_new_tokens(&self) -> usize {
        self.limits.default_new_tokens.min(self.limits.max_new_tokens)
    }

    /// What a number may be on this server.
    fn narrowed(&self, bounds: Bounds) -> Bounds {
        match self.own_limit(bounds.name) {
            Some((most, _)) => bounds.at_most(most),
            None => bounds,
        }
    }

    /// What this server makes narrower, and by which flag.
    fn own_limit(&self, name: &str) -> Option<(usize, &'static str)> {
        match name {
            "max_new_tokens" | "min_new_tokens" => Some((self.limits.max_new_tokens, "--max-new-tokens")),
            "num_beams" | "num_return_sequences" => Some((self.limits.beams, "--max-beams")),
            "context_turns" => Some((self.limits.store.turns, "--max-turns")),
            _ => None,
        }
    }

    /// The flag of the limit that a setting broke.
    pub(super) fn flag_of(&self, error: &OptionsError) -> Option<&'static str> {
        match error {
            OptionsError::OutOfRange { name, .. } => self.own_limit(name).map(|(_, flag)| flag),
            _ => None,
        }
    }

    fn check(&self, bounds: Bounds, value: f64) -> Result<f64, OptionsError> {
        self.narrowed(bounds).check(value)
    }
}
