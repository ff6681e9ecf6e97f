//! Whether the model can still answer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::EngineError;
use crate::generation::GenerationError;

/// Failures in a row of a model that is not on the CPU, after which its device counts as failed.
const FAILURES_IN_A_ROW: usize = 3;

/// Whether questions have a chance of being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// Why not. It does not mend itself: the process has to start again.
    Failed(String),
}

/// What the model's failures say of its device.
///
/// After most errors a CUDA context answers every call with the same one, until the process
/// ends. One that ran out of memory goes on.
#[derive(Debug)]
pub struct DeviceHealth {
    is_cpu: bool,
    in_a_row: AtomicUsize,
    failure: OnceLock<String>,
}

impl DeviceHealth {
    pub fn new(is_cpu: bool) -> Self {
        Self {
            is_cpu,
            in_a_row: AtomicUsize::new(0),
            failure: OnceLock::new(),
        }
    }

    /// Why the device has failed, if it has.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// An answer was given.
    pub fn succeeded(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// No answer could be given.
    pub fn failed(&self, error: &EngineError) {
        let is_broken = match error {
            EngineError::Generation(GenerationError::Model(error)) => is_broken_context(error),
            EngineError::Panicked => false,
            // The question is at fault, not the device.
            _ => return,
        };
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.is_cpu && (is_broken || in_a_row >= FAILURES_IN_A_ROW) {
            // Were it said already, the first reason is the better one.
            let _ = self.failure.set(error.to_string());
        }
    }
}

/// Whether it is an error of the device that a context does not recover from.
fn is_broken_context(error: &candle_core::Error) -> bool {
    use candle_core::Error;
    match error {
        Error::Cuda(cause) => !is_out_of_memory(&cause.to_string()) && !is_out_of_memory(&format!("{cause:?}")),
        Error::Context { inner, .. } | Error::WithPath { inner, .. } | Error::WithBacktrace { inner, .. } => {
            is_broken_context(inner)
        }
        _ => false,
    }
}

fn is_out_of_memory(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["out_of_memory", "out of memory", "alloc_failed"]
        .iter()
        .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuda(text: &str) -> EngineError {
        candle_core::Error::Cuda(text.into()).into()
    }

    fn after(is_cpu: bool, errors: &[EngineError]) -> DeviceHealth {
        let health = DeviceHealth::new(is_cpu);
        errors.iter().for_each(|error| health.failed(error));
        health
    }

    #[test]
    fn a_broken_cuda_context_is_a_failure_at_once_and_stays_one() {
        let illegal = "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")";
        let health = after(false, &[cuda(illegal)]);
        health.succeeded();
        assert!(
            health
                .failure()
                .is_some_and(|reason| reason.contains("ILLEGAL_ADDRESS"))
        );
        let inner = Box::new(candle_core::Error::Cuda(illegal.into()));
        let context = Box::new("in layer 3");
        let wrapped = candle_core::Error::Context { inner, context };
        assert!(after(false, &[wrapped.into()]).failure().is_some());
    }

    #[test]
    fn running_out_of_memory_once_is_none() {
        let full = || cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
        let health = after(false, &[full(), full()]);
        health.succeeded();
        health.failed(&full());
        assert_eq!(health.failure(), None);
        assert!(after(false, &[full(), full(), full()]).failure().is_some());
    }

    #[test]
    fn a_question_that_cannot_be_answered_says_nothing_of_the_device() {
        let too_long = || GenerationError::PromptTooLong { tokens: 9, limit: 8 }.into();
        let health = after(false, &[too_long(), too_long(), too_long(), EngineError::Deadline]);
        assert_eq!(health.failure(), None);
    }

    #[test]
    fn the_cpu_does_not_fail() {
        let panics = [(); 9].map(|()| EngineError::Panicked);
        assert_eq!(after(true, &panics).failure(), None);
        assert!(after(false, &panics).failure().is_some());
    }
}
