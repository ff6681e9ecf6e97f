//! The engine's words in the page's words.

use crate::api;
use crate::engine;
use crate::generation;

impl From<generation::FinishReason> for api::FinishReason {
    fn from(reason: generation::FinishReason) -> Self {
        match reason {
            generation::FinishReason::Stop => Self::Stop,
            generation::FinishReason::Length => Self::Length,
        }
    }
}

impl From<engine::Timings> for api::Timings {
    fn from(timings: engine::Timings) -> Self {
        Self {
            load: 0.0,
            image: timings.image,
            prefill: timings.prefill,
            decode: timings.decode,
            total: timings.total,
        }
    }
}
