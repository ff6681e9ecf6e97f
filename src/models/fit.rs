//! Whether a model fits where it is to run, and what would if it does not.

use super::known::known;
use super::memory_estimate::{MemoryEstimate, estimate};
use super::{LoadError, ModelConfig};
use crate::checkpoint::readable_bytes;
use crate::nn::Precision;

/// A model that does not fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "{checkpoint} needs {} in {format} ({} of weights, {} to work), and {limit}. {advice}",
    readable_bytes(needed.total()),
    readable_bytes(needed.weights),
    readable_bytes(needed.working)
)]
pub struct TooLarge {
    checkpoint: String,
    format: &'static str,
    needed: MemoryEstimate,
    limit: MemoryLimit,
    advice: String,
}

/// How much memory a model may take.
#[derive(Clone, Debug)]
pub struct MemoryLimit {
    pub bytes: u64,
    pub origin: LimitOrigin,
}

/// Why memory is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOrigin {
    /// No more of it is free on this machine.
    Machine,
    /// No more of it is free on its GPU.
    Gpu,
    /// The user has said so.
    Chosen,
}

impl std::fmt::Display for MemoryLimit {
    /// As in `this machine has 12.0 GB to give`.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let bytes = readable_bytes(self.bytes);
        match self.origin {
            LimitOrigin::Machine => write!(f, "this machine has {bytes} to give"),
            LimitOrigin::Gpu => write!(f, "the GPU has {bytes} to give"),
            LimitOrigin::Chosen => write!(f, "--max-memory allows {bytes}"),
        }
    }
}

impl MemoryLimit {
    /// A limit that the user has set.
    pub fn chosen(bytes: u64) -> Self {
        Self {
            bytes,
            origin: LimitOrigin::Chosen,
        }
    }

    /// Whether a model in this precision fits.
    pub fn fits(&self, config: &ModelConfig, with_head: bool, precision: Precision) -> bool {
        estimate(config, with_head, precision).total() <= self.bytes
    }

    /// Checks that a checkpoint fits.
    ///
    /// `offered` is what `--dtype` can mean instead, the best first.
    ///
    /// # Errors
    /// [`LoadError::TooLarge`], with the dtype or the model that would fit.
    pub fn check(
        &self,
        checkpoint: &str,
        (config, with_head): (&ModelConfig, bool),
        precision: Precision,
        offered: &[Precision],
    ) -> Result<(), LoadError> {
        let needed = estimate(config, with_head, precision);
        if needed.total() <= self.bytes {
            return Ok(());
        }
        Err(LoadError::TooLarge(Box::new(TooLarge {
            checkpoint: checkpoint.into(),
            format: precision.name(),
            needed,
            limit: self.clone(),
            advice: self.advice(config, with_head, offered),
        })))
    }

    fn advice(&self, config: &ModelConfig, with_head: bool, offered: &[Precision]) -> String {
        let fitting = |config: &ModelConfig, with_head: bool| {
            let fits = |precision: &&Precision| self.fits(config, with_head, **precision);
            let precision = *offered.iter().find(fits)?;
            Some((
                precision.name(),
                readable_bytes(estimate(config, with_head, precision).total()),
            ))
        };
        if let Some((format, needed)) = fitting(config, with_head) {
            return format!("Use --dtype {format}, which needs {needed}.");
        }
        // What does something else is no advice.
        let alike = known()
            .into_iter()
            .filter(|known| known.config.purpose() == config.purpose());
        let other = alike
            .into_iter()
            .find_map(|known| fitting(&known.config, known.config.expects_head()).map(|found| (known.id, found)));
        match other {
            Some((id, (format, needed))) => {
                format!("It fits in no --dtype; {id} does with --dtype {format}, which needs {needed}.")
            }
            None if self.origin == LimitOrigin::Chosen => "No published model fits either: raise --max-memory.".into(),
            None => "No published model fits either: free memory, or leave --model out for the demo model.".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::cpu::WeightFormat;
    use crate::nn::Kernels;

    fn refused(limit: u64, id: &str, offered: &[Precision]) -> String {
        let known = known().into_iter().find(|known| known.id.ends_with(id));
        let config = known.expect("it is known").config;
        let limit = MemoryLimit::chosen(limit);
        let error = limit.check("this", (&config, false), Precision::F32, offered);
        error.expect_err("it is too large").to_string()
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_format_or_the_model_that_does() {
        let f16 = Precision::new(WeightFormat::F16, Kernels::Candle, &Device::Cpu);
        let offered = [Precision::F32, f16];
        let error = refused(12_000_000_000, "opt-2.7b", &offered);
        assert!(
            error.contains("15.0 GB of weights") && error.contains("12.0 GB"),
            "{error}"
        );
        assert!(error.contains("Use --dtype f16, which needs 8.0 GB."), "{error}");
        let error = refused(12_000_000_000, "opt-6.7b", &offered);
        assert!(
            error.contains("Salesforce/blip2-opt-2.7b does with --dtype f16"),
            "{error}"
        );
        let error = refused(1_000_000_000, "opt-6.7b", &offered);
        assert!(
            error.contains("--max-memory allows 1.0 GB. No published model fits either: raise --max-memory."),
            "{error}"
        );
    }
}
