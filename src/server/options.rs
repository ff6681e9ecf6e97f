//! A visitor's settings: checked, and turned into the model's options.
//!
//! What a number may be is said in [`bounds`], made narrower by this server's limits.

use serde_json::{Map, Value};

use super::settings::{EarlyStopping, Settings};
use super::state::Shared;
use crate::api::{self, ApiError, AskRequest, ErrorKind, NumberSetting};
use crate::generation::bounds::{self, Bounds};
use crate::generation::{self, GenerationOptions, OptionsError};

/// Of a conversation, sent along with a question.
const CONTEXT_TURNS: Bounds = Bounds::whole("context_turns", 0.0, u16::MAX as f64);

/// How many beams "Beam search" on the page has: those of BLIP-2's own demo.
const PAGE_BEAMS: usize = 5;

/// Stop strings that an answer is searched for, and the bytes of each: the search is short.
const MAX_STOP_STRINGS: usize = 16;
const MAX_STOP_STRING_BYTES: usize = 200;

impl From<EarlyStopping> for generation::EarlyStopping {
    fn from(when: EarlyStopping) -> Self {
        match when {
            EarlyStopping::AtOnce(false) => Self::False,
            EarlyStopping::AtOnce(true) => Self::True,
            EarlyStopping::Never(_) => Self::Never,
        }
    }
}

/// What was set for a question, and who set it.
pub struct Chosen {
    pub settings: Settings,
    on_page: bool,
}

impl Chosen {
    /// The sentence that says what is wrong, in the words of whoever set it.
    pub fn refuse(&self, error: &OptionsError) -> ApiError {
        bad_request(error.sentence(|name| {
            let called = if self.on_page { api::label(name) } else { name };
            called.to_owned()
        }))
    }
}

fn bad_request(sentence: String) -> ApiError {
    ApiError::new(ErrorKind::BadRequest, sentence)
}

impl Shared {
    /// What was set for a question.
    ///
    /// # Errors
    /// A script's setting that there is not, or of another type.
    pub fn chosen(&self, request: &AskRequest) -> Result<Chosen, ApiError> {
        let on_page = request.settings.is_empty();
        let settings = if on_page {
            Settings::from_fields(&request.fields, request.question.is_some(), self.usual_beams())
        } else {
            understood(&request.settings)?
        };
        Ok(Chosen { settings, on_page })
    }

    /// The model's options.
    ///
    /// # Errors
    /// The first setting that is out of its range, or contradicts another.
    pub fn options(&self, settings: &Settings) -> Result<GenerationOptions, OptionsError> {
        let defaults = GenerationOptions::default();
        let real = |bounds, value: Option<f64>, default| value.map_or(Ok(default), |value| self.check(bounds, value));
        // Within the bounds of a whole number nothing is cut off.
        let whole = |bounds, value, default| real(bounds, value, default as f64).map(|value| value as usize);
        let min_new_tokens = whole(bounds::MIN_NEW_TOKENS, settings.min_new_tokens, 0)?;
        let usual = self.usual_new_tokens().max(min_new_tokens);
        let options = GenerationOptions {
            max_new_tokens: whole(bounds::MAX_NEW_TOKENS, settings.max_new_tokens, usual)?,
            min_new_tokens,
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
        };
        options.check()?;
        Ok(options)
    }

    /// How many earlier turns a visitor wants to be sent along, if he says so.
    ///
    /// # Errors
    /// More than a conversation has.
    pub fn context_turns(&self, settings: &Settings) -> Result<Option<usize>, OptionsError> {
        let turns = settings.context_turns.map(|turns| self.check(CONTEXT_TURNS, turns));
        Ok(turns.transpose()?.map(|turns| turns as usize))
    }

    /// Texts that end an answer.
    ///
    /// # Errors
    /// There are too many, one is too long, or empty.
    pub fn stop_strings(&self, settings: &Settings) -> Result<Vec<String>, ApiError> {
        let strings = settings.stop_strings.as_deref().unwrap_or_default();
        let fits = |string: &String| (1..=MAX_STOP_STRING_BYTES).contains(&string.len());
        if strings.len() > MAX_STOP_STRINGS || !strings.iter().all(fits) {
            return Err(bad_request(format!(
                "Stop strings are at most {MAX_STOP_STRINGS}, of 1 to {MAX_STOP_STRING_BYTES} bytes each. Give fewer or shorter ones."
            )));
        }
        Ok(strings.to_vec())
    }

    /// The settings that are numbers, as the page's fields take them.
    pub fn page_numbers(&self) -> Vec<NumberSetting> {
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
            } = self.narrowed(bounds).0;
            NumberSetting {
                name,
                min,
                max,
                is_whole,
                default,
            }
        };
        own.into_iter().chain(models).map(field).collect()
    }

    /// How many beams the page's search has where nobody says.
    fn usual_beams(&self) -> f64 {
        PAGE_BEAMS.min(self.limits.beams) as f64
    }

    /// How many tokens an answer may have where nobody says.
    fn usual_new_tokens(&self) -> usize {
        self.limits.default_new_tokens.min(self.limits.max_new_tokens)
    }

    /// What a number may be on this server, and the flag that says so.
    fn narrowed(&self, bounds: Bounds) -> (Bounds, &'static str) {
        let (most, flag) = match bounds.name {
            "max_new_tokens" | "min_new_tokens" => (self.limits.max_new_tokens, "--max-new-tokens"),
            "num_beams" | "num_return_sequences" => (self.limits.beams, "--max-beams"),
            "context_turns" => (self.store.limits().turns, "--max-turns"),
            _ => return (bounds, ""),
        };
        (bounds.at_most(most), flag)
    }

    fn check(&self, bounds: Bounds, value: f64) -> Result<f64, OptionsError> {
        let (narrowed, flag) = self.narrowed(bounds);
        narrowed.check(value).map_err(|mut error| {
            if let OptionsError::OutOfRange { allowed, .. } = &mut error
                && narrowed.max < bounds.max
            {
                allowed.push_str(&format!(" ({flag})"));
            }
            error
        })
    }
}

/// A script's settings. Each may be missing, so that what is wrong is wrong by itself.
fn understood(settings: &Map<String, Value>) -> Result<Settings, ApiError> {
    let whole = serde_json::from_value(settings.clone().into());
    whole.map_err(|error: serde_json::Error| {
        let alone = |(name, value): (&String, &Value)| {
            let one = Map::from_iter([(name.clone(), value.clone())]);
            let error = serde_json::from_value::<Settings>(one.into()).err()?;
            Some(format!(
                "The setting {name:?} was not understood: {error}. Mend it, or leave it out."
            ))
        };
        let sentence = settings.iter().find_map(alone);
        bad_request(sentence.unwrap_or_else(|| format!("The settings were not understood: {error}. Mend them.")))
    })
}
