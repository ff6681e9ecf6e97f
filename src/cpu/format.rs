//! Number formats of weights, and how a block of them is laid out.
//!
//! `q8_0` and `q4_0` are GGML's: blocks of 32 weights of one output share an f16 scale.
//! `q4_k` is GGML's too, but its blocks' 6-bit scales and minima are kept multiplied out,
//! as f16: 5 bits a weight instead of 4.5.

use std::str::FromStr;

use half::{bf16, f16};

use super::matrix::{BLOCK, PANEL};

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4K,
}

impl WeightFormat {
    /// The most memory first: advice and lists go through them in this order.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4K];

    /// The name that `--dtype` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4K => "q4_k",
        }
    }

    /// Whether weights are whole numbers with a scale for each block.
    pub fn is_quantised(self) -> bool {
        matches!(self, Self::Q8_0 | Self::Q4_0 | Self::Q4K)
    }

    /// Whether something is added to a block's weights behind their scale.
    pub(super) fn has_offsets(self) -> bool {
        matches!(self, Self::Q4_0 | Self::Q4K)
    }

    /// Bytes of a block of 32 outputs by 32 inputs, scales included.
    pub fn block_bytes(self) -> usize {
        self.weight_bytes()
            + if self.is_quantised() { 2 * PANEL } else { 0 }
            + if self == Self::Q4K { 2 * PANEL } else { 0 }
    }

    /// Bytes of a block's weights alone; the scales follow them, then q4_k's minima.
    pub fn weight_bytes(self) -> usize {
        let bits = match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Q8_0 => 8,
            Self::Q4_0 | Self::Q4K => 4,
        };
        PANEL * BLOCK * bits / 8
    }

    /// The 32 weights of one output of a block, as the products see them.
    pub(super) fn unpack_lane(self, block: &[u8], lane: usize) -> [f32; BLOCK] {
        let (weights, factors) = block.split_at(self.weight_bytes());
        let factor = |index: usize| f16::from_le_bytes(get(factors, index)).to_f32();
        std::array::from_fn(|i| match self {
            Self::F32 => f32::from_le_bytes(get(weights, i * PANEL + lane)),
            Self::F16 => f16::from_le_bytes(get(weights, i * PANEL + lane)).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(get(weights, (i / 2 * PANEL + lane) * 2 + i % 2)).to_f32(),
            Self::Q8_0 => f32::from(weights[i * PANEL + lane].cast_signed()) * factor(lane),
            Self::Q4_0 | Self::Q4K => {
                let quant = f32::from(weights[i / 2 * PANEL + lane] >> (i % 2 * 4) & 15);
                let minimum = if self == Self::Q4K {
                    factor(PANEL + lane)
                } else {
                    8.0 * factor(lane)
                };
                quant * factor(lane) - minimum
            }
        })
    }
}

impl FromStr for WeightFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.to_ascii_lowercase();
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(())
    }
}

fn get<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[index * N + i])
}
