//! Number formats of weights, and how a block of them is laid out.
//!
//! `q8_0` and `q4_0` are GGML's: blocks of 32 weights of one output share an f16 scale.
//! `q4_k` is GGML's too, but its blocks' 6-bit scales and minima are kept multiplied out,
//! as f16: 5 bits a weight instead of 4.5.

use std::str::FromStr;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};

use super::matrix::{BLOCK, PANEL};
use super::simd;

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

    /// GGML's name for the quantised ones.
    pub fn ggml(self) -> Option<GgmlDType> {
        match self {
            Self::Q8_0 => Some(GgmlDType::Q8_0),
            Self::Q4_0 => Some(GgmlDType::Q4_0),
            Self::Q4K => Some(GgmlDType::Q4K),
            _ => None,
        }
    }

    /// Bytes of a block of 32 outputs by 32 inputs, scales included.
    pub fn block_bytes(self) -> usize {
        self.weight_bytes()
            + if self.ggml().is_some() { 2 * PANEL } else { 0 }
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

    /// Writes the rows of up to 32 outputs into a panel of zeros.
    pub(super) fn pack_panel(self, rows: &[f32], inputs: usize, panel: &mut [u8]) {
        let q4_k: Vec<Vec<Quants>> = match self {
            Self::Q4K => rows.chunks(inputs).map(quantise_q4_k).collect(),
            _ => Vec::new(),
        };
        for (index, block) in panel.chunks_mut(self.block_bytes()).enumerate() {
            let tile = tile(rows, inputs, index * BLOCK);
            match self {
                Self::F32 => put_floats(block, &tile, |weight| weight.to_le_bytes()),
                Self::F16 => put_floats(block, &tile, |weight| f16::from_f32(weight).to_le_bytes()),
                Self::Bf16 => put_pairs(block, &tile),
                Self::Q8_0 => self.put_quants(block, &each_lane(&tile, quantise_q8_0)),
                Self::Q4_0 => self.put_quants(block, &each_lane(&tile, quantise_q4_0)),
                Self::Q4K => {
                    let zeros = [Quants::ZERO; PANEL];
                    let quants = std::array::from_fn(|lane| q4_k.get(lane).map_or(zeros[lane], |row| row[index]));
                    self.put_quants(block, &quants);
                }
            }
        }
    }

    fn put_quants(self, block: &mut [u8], quants: &[Quants; PANEL]) {
        let (weights, factors) = block.split_at_mut(self.weight_bytes());
        if self == Self::Q8_0 {
            for (i, weights) in weights.chunks_exact_mut(PANEL).enumerate() {
                for (weight, quants) in weights.iter_mut().zip(quants) {
                    *weight = quants.values[i].cast_unsigned();
                }
            }
        } else {
            for (i, weights) in weights.chunks_exact_mut(PANEL).enumerate() {
                for (weight, quants) in weights.iter_mut().zip(quants) {
                    let [low, high] = [quants.values[2 * i], quants.values[2 * i + 1]].map(i8::cast_unsigned);
                    *weight = low | high << 4;
                }
            }
        }
        for (lane, quants) in quants.iter().enumerate() {
            put(factors, lane, quants.scale.to_le_bytes());
            if self == Self::Q4K {
                put(factors, PANEL + lane, quants.minimum.to_le_bytes());
            }
        }
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

fn put<const N: usize>(bytes: &mut [u8], index: usize, value: [u8; N]) {
    bytes[index * N..(index + 1) * N].copy_from_slice(&value);
}

fn get<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[index * N + i])
}

/// The 32 weights from `input` on of 32 outputs, zeros where there are none.
fn tile(rows: &[f32], inputs: usize, input: usize) -> [[f32; BLOCK]; PANEL] {
    let mut tile = [[0.0; BLOCK]; PANEL];
    for (tile, row) in tile.iter_mut().zip(rows.chunks(inputs)) {
        let weights = &row[input..inputs.min(input + BLOCK)];
        tile[..weights.len()].copy_from_slice(weights);
    }
    tile
}

fn put_floats<const N: usize>(block: &mut [u8], tile: &[[f32; BLOCK]; PANEL], bytes: impl Fn(f32) -> [u8; N]) {
    for (i, row) in block.as_chunks_mut::<N>().0.chunks_exact_mut(PANEL).enumerate() {
        for (place, weights) in row.iter_mut().zip(tile) {
            *place = bytes(weights[i]);
        }
    }
}

fn put_pairs(block: &mut [u8], tile: &[[f32; BLOCK]; PANEL]) {
    for (i, row) in block.as_chunks_mut::<4>().0.chunks_exact_mut(PANEL).enumerate() {
        for (place, weights) in row.iter_mut().zip(tile) {
            *place = simd::pair(weights[2 * i], weights[2 * i + 1]).to_le_bytes();
        }
    }
}

/// A block of 32 quantised weights of one output: `value * scale - minimum`.
#[derive(Clone, Copy)]
struct Quants {
    values: [i8; BLOCK],
    scale: f16,
    minimum: f16,
}

impl Quants {
    const ZERO: Self = Self {
        values: [0; BLOCK],
        scale: f16::ZERO,
        minimum: f16::ZERO,
    };

    /// Rounding makes numbers of everything: a block with a weight that is none, or infinite,
    /// must not pass for a sound one.
    fn or_not_finite(self, weights: &[f32]) -> Self {
        if weights.iter().all(|weight| weight.is_finite()) {
            return self;
        }
        Self {
            scale: f16::NAN,
            ..self
        }
    }
}

fn each_lane(tile: &[[f32; BLOCK]; PANEL], quantise: fn(&[f32; BLOCK]) -> Quants) -> [Quants; PANEL] {
    let mut quants = [Quants::ZERO; PANEL];
    for (quants, weights) in quants.iter_mut().zip(tile) {
        *quants = quantise(weights);
    }
    quants
}

/// GGML's `quantize_row_q8_0`.
fn quantise_q8_0(weights: &[f32; BLOCK]) -> Quants {
    let scale = weights.iter().fold(0f32, |greatest, x| greatest.max(x.abs())) / 127.0;
    // To the nearest, ties away from zero: `round` would be a call for each weight.
    quantise(weights, scale, |x| (x + 0.5f32.copysign(x)) as i32)
}

/// GGML's `quantize_row_q4_0`: the weight of the greatest magnitude becomes -8.
fn quantise_q4_0(weights: &[f32; BLOCK]) -> Quants {
    let larger = |greatest: f32, x: &f32| if x.abs() > greatest.abs() { *x } else { greatest };
    let scale = weights.iter().fold(0f32, larger) / -8.0;
    quantise(weights, scale, |x| ((x + 8.5) as i32).min(15))
}

/// A block by its scale; `round` takes a weight that is divided by it.
#[inline(always)]
fn quantise(weights: &[f32; BLOCK], scale: f32, round: impl Fn(f32) -> i32) -> Quants {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut values = [0; BLOCK];
    for (value, &x) in values.iter_mut().zip(weights) {
        *value = round(x * inverse) as i8;
    }
    Quants {
        values,
        scale: f16::from_f32(scale),
        minimum: f16::ZERO,
    }
    .or_not_finite(weights)
}

/// GGML's `quantize_row_q4_K`, by candle, whose search for scales and minima is not
/// worth writing twice.
fn quantise_q4_k(row: &[f32]) -> Vec<Quants> {
    /// Weights of a super-block, and its bytes: two f16, twelve bytes of scales, quants.
    const SUPER: usize = 256;
    let mut padded = row.to_vec();
    padded.resize(row.len().next_multiple_of(SUPER), 0.0);
    let bytes = Tensor::from_vec(padded, row.len().next_multiple_of(SUPER), &Device::Cpu)
        .and_then(|row| QTensor::quantize(&row, GgmlDType::Q4K))
        .and_then(|row| Ok(row.data()?.into_owned()))
        // The length is a multiple of the super-block and the device is the CPU.
        .expect("whole super-blocks can be quantised");
    bytes
        .chunks_exact(4 + 12 + SUPER / 2)
        .flat_map(q4_k_blocks)
        .zip(row.chunks(BLOCK))
        .map(|(quants, weights)| quants.or_not_finite(weights))
        .collect()
}

/// The eight blocks of a super-block.
fn q4_k_blocks(bytes: &[u8]) -> Vec<Quants> {
    let (d, minimum) = (f16::from_le_bytes(get(bytes, 0)), f16::from_le_bytes(get(bytes, 1)));
    let (scales, quants) = bytes[4..].split_at(12);
    let block = |index: usize| {
        // Six bits each; those of the last four blocks are spread over the first bytes' top bits.
        let (scale, offset) = if index < 4 {
            (scales[index] & 63, scales[index + 4] & 63)
        } else {
            (
                scales[index + 4] & 15 | scales[index - 4] >> 6 << 4,
                scales[index + 4] >> 4 | scales[index] >> 6 << 4,
            )
        };
        // Two blocks share 32 bytes: the even one has the low halves.
        let quant = |i: usize| (quants[index / 2 * BLOCK + i] >> (index % 2 * 4) & 15).cast_signed();
        Quants {
            values: std::array::from_fn(quant),
            scale: f16::from_f32(d.to_f32() * f32::from(scale)),
            minimum: f16::from_f32(minimum.to_f32() * f32::from(offset)),
        }
    };
    (0..8).map(block).collect()
}
