//! The room of the CPU kernels by itself, with its own tests.

#[path = "../../src/cpu/mod.rs"]
pub mod cpu;
