//! What networks share: layers as one reads them in `torch.nn`, on candle's tensors.
//!
//! - [`linear`], [`joint_linear`], [`norm`], [`activation`], [`attention`] and [`rotary`]: the layers.
//! - [`vit`]: the vision tower of the family; [`bert`]: the layers of the Q-Former and of BLIP's texts.
//! - [`kv_pool`]: keys and values of all sequences, in blocks; [`kv_blocks`]: whose they are;
//!   [`sequences`]: a decoder's, and what is read into them.
//! - [`matching`]: what networks that compare pictures with texts give and take.
//!   [`embedding`]: as vectors, for search; [`nearest`]: which are nearest to a text's.
//! - [`cross_attention`]: what a decoder looks at beside its own text.
//! - [`attention_record`]: what an answer looked at, for whoever wants to see it.
//! - [`weights`]: where layers get their tensors from, below a prefix.
//! - [`packed_weights`]: packed matrices, kept in a file for the next start.
//! - [`precision`]: in which dtype and weight format, on which device a network computes.
//! - [`kernels`]: the one switch between our CPU kernels ([`cpu`](crate::cpu)) and candle's
//!   operations; `cpu_ops` are ours as candle sees them, [`cuda_rules`] are what candle's accept on a
//!   GPU.

pub mod activation;
pub mod attention;
pub mod attention_record;
pub mod bert;
mod cpu_ops;
pub mod cross_attention;
pub mod cuda_rules;
pub mod embedding;
pub mod joint_linear;
pub mod kernels;
pub mod kv_blocks;
pub mod kv_pool;
pub mod linear;
pub mod matching;
pub mod nearest;
pub mod norm;
pub mod packed_weights;
pub mod precision;
pub mod rotary;
pub mod sequences;
pub mod vit;
pub mod weights;

pub use crate::cpu::Rows;
pub use activation::Activation;
pub use attention::{Attention, Mask};
pub use attention_record::{Attending, AttentionRecord};
pub use cross_attention::{LookedAt, LookedAtElsewhere, LookingRows};
pub use joint_linear::JointLinear;
pub use kernels::Kernels;
pub use kv_blocks::{KvBlocks, KvSequence, KvUsage, OutOfBlocks};
pub use kv_pool::{KvPool, KvShape, Paging, Segment};
pub use linear::{Linear, WeightMatrix};
pub use norm::{LayerNorm, RmsNorm};
pub use packed_weights::PackedWeights;
pub use precision::{Placement, Precision};
pub use rotary::{RotaryEmbedding, Rotation};
pub use sequences::{DecoderSequence, KvCache, PromptPart};
pub use vit::VisionConfig;
pub use weights::Weights;
