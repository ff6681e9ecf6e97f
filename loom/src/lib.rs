//! The queue before the model, compiled with loom's locks.

#[path = "../../src/engine/queue.rs"]
pub mod queue;
