//! BLIP-2 on candle.
pub mod processor;
