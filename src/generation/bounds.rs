//! What the settings that are numbers may be, in one place for the terminal, the server and the page.

use super::OptionsError;

/// A setting that is a number: its name in the reference, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub name: &'static str,
    /// The smallest value that is taken.
    pub min: f64,
    /// The largest value that is taken.
    pub max: f64,
    /// Only whole numbers mean something.
    pub is_whole: bool,
}

/// The most beams, and the most answers to one question.
pub const MAX_BEAMS: usize = 10;

/// The most tokens that any answer may have.
const MAX_TOKENS: f64 = 4096.0;

/// Each takes a row of a pass, and a KV cache for what it does not share; 1 is no beam search.
pub const NUM_BEAMS: Bounds = Bounds::whole("num_beams", 1.0, MAX_BEAMS as f64);
/// With beam search at most as many as beams, which [`GenerationOptions`](super::GenerationOptions)
/// checks.
pub const NUM_RETURN_SEQUENCES: Bounds = Bounds::whole("num_return_sequences", 1.0, MAX_BEAMS as f64);
/// A server has a narrower limit of its own (`--max-new-tokens`).
pub const MAX_NEW_TOKENS: Bounds = Bounds::whole("max_new_tokens", 1.0, MAX_TOKENS);
/// At most `max_new_tokens`, which [`GenerationOptions`](super::GenerationOptions) checks.
pub const MIN_NEW_TOKENS: Bounds = Bounds::whole("min_new_tokens", 0.0, MAX_TOKENS);
/// Not 0, which the reference refuses too: whoever wants the likeliest token does not draw.
pub const TEMPERATURE: Bounds = Bounds::real("temperature", 0.01, 100.0);
/// Beyond every vocabulary.
pub const TOP_K: Bounds = Bounds::whole("top_k", 0.0, 1e6);
/// A probability; 1 is all tokens, 0 the likeliest alone.
pub const TOP_P: Bounds = Bounds::real("top_p", 0.0, 1.0);
/// Where it travels as JSON, whose readers keep 53 bits.
pub const SEED: Bounds = Bounds::whole("seed", 0.0, ((1_u64 << 53) - 1) as f64);
/// An exponent; 0 leaves scores as they are.
pub const LENGTH_PENALTY: Bounds = Bounds::real("length_penalty", -10.0, 10.0);
/// A factor; 1 changes nothing, below 1 what was said is said again sooner.
pub const REPETITION_PENALTY: Bounds = Bounds::real("repetition_penalty", 0.01, 100.0);
/// In tokens; 0 is no such rule.
pub const NO_REPEAT_NGRAM_SIZE: Bounds = Bounds::whole("no_repeat_ngram_size", 0.0, MAX_TOKENS);

impl Bounds {
    /// Of a setting that counts something.
    pub const fn whole(name: &'static str, min: f64, max: f64) -> Self {
        Self {
            name,
            min,
            max,
            is_whole: true,
        }
    }

    const fn real(name: &'static str, min: f64, max: f64) -> Self {
        Self {
            is_whole: false,
            ..Self::whole(name, min, max)
        }
    }

    /// The same with a smaller greatest value.
    pub fn at_most(self, max: usize) -> Self {
        Self {
            max: self.max.min(max as f64),
            ..self
        }
    }

    /// Gives the value back if it is within the bounds; a NaN is in no range.
    ///
    /// # Errors
    /// [`OptionsError::OutOfRange`], with the allowed range.
    pub fn check(&self, value: f64) -> Result<f64, OptionsError> {
        let is_fraction = self.is_whole && value.fract() != 0.0;
        if (self.min..=self.max).contains(&value) && !is_fraction {
            return Ok(value);
        }
        Err(OptionsError::OutOfRange {
            name: self.name,
            value,
            min: self.min,
            max: self.max,
            is_whole: !(is_fraction && value.is_finite()),
        })
    }
}
