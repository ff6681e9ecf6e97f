//! The vision tower: a ViT that turns pixel values into one embedding a patch, the family's own
//! ([`nn::vit`](crate::nn::vit)).
//!
//! Source: `Blip2VisionModel` (ViT-g/14 of EVA-CLIP in the published models).

pub use crate::nn::vit::{PictureEncoding, VisionConfig, VisionModel};
