//! Kernels for the CPU: what the layers of [`nn`](crate::nn) compute with where there is no GPU.
//!
//! Inputs, sums and outputs are f32 in slices; weights are packed once, when they are loaded,
//! in any of the formats of [`WeightFormat`]. Nothing here knows a tensor, a model or a file.
//!
//! - [`isa`]: the instruction sets of this processor, and how a kernel is compiled for each;
//!   [`lanes`]: what kernels need of one, sixteen numbers at a time.
//! - [`mod@format`]: the number formats, and how a block of weights is laid out.
//! - [`matrix`]: a packed matrix; `pack` and `quantise`: how weights come into it.
//! - [`product`]: a matrix product on all cores; `product_kernel`: its inner loops, and `pair_kernel` the one
//!   where pairs of bf16 are multiplied at once (AMD's AVX-512).
//!   `tile_product` is the one where `tile_unit` has a unit that multiplies tiles (Intel's AMX).
//! - [`attention`]: softmax attention of one head; [`paged_attention`]: over keys and values in blocks.
//! - [`norm`] and [`activation`]: layer norm and the RMS norm, ReLU and the GELUs.
//! - [`rotary`]: positions as angles.

pub mod activation;
pub mod attention;
pub mod format;
pub mod isa;
pub mod lanes;
pub mod matrix;
pub mod norm;
mod pack;
pub mod paged_attention;
mod pair_kernel;
pub mod product;
mod product_kernel;
mod quantise;
pub mod rotary;
mod tile_product;
mod tile_unit;

#[cfg(target_endian = "big")]
compile_error!("packed weights are read as little-endian numbers: build Glimpse for a little-endian machine");

pub use format::WeightFormat;
pub use isa::Isa;
pub use matrix::{MatrixSource, PackedMatrix};
pub use product::Rows;
