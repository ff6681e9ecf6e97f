//! BMP: palettes of 1, 4 and 8 bits, plain or run-length encoded, and colours
//! of 16, 24 and 32 bits, in the reading that Pillow gives them.
//!
//! Decoders of this format disagree in much that its description leaves open
//! (what a skipped pixel of a run-length encoded file is, whether the fourth
//! byte is an alpha, how five bits become eight), so that only a decoder of
//! our own can agree with the reference.

use super::alpha::over_white;
use super::decode::{DECODER, Declared, Decoded, check_size};
use super::{Picture, PictureError, PictureLimits};

const FORMAT: &str = "BMP";
const FILE_HEADER: usize = 14;

/// Decodes a BMP file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let header = Header::read(bytes)?;
    let (width, height) = check_size(FORMAT, header.width, header.height, limits)?;
    let pixels = bytes
        .get(header.pixels_at..)
        .ok_or(PictureError::Truncated { format: FORMAT })?;
    let mut rgb = match &header.coding {
        Coding::Indexed { bits, palette } => indexed(pixels, *bits, palette, width, height)?,
        Coding::RunLength { bits, palette } => {
            let indices = RunLength {
                data: pixels,
                read: 0,
                width,
                height,
                odd_start: header.pixels_at % 2 == 1,
            };
            colours_of(&indices.expand(*bits)?, palette)
        }
        Coding::Direct(layout) => direct(pixels, layout, width, height)?,
    };
    if header.bottom_up {
        flip_rows(&mut rgb, width);
    }
    Ok(Decoded::upright(Picture { width, height, rgb }))
}

/// What the head declares; nothing is allocated.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    /// Indices and colours, each in a vector that grows while it is filled.
    const GROWING: u64 = 2 + 3 * 3;
    let header = Header::read(bytes)?;
    Ok(Declared::new(header.width, header.height, GROWING, DECODER))
}

fn unsupported(reason: String) -> PictureError {
    PictureError::Unsupported { format: FORMAT, reason }
}

fn truncated() -> PictureError {
    PictureError::Truncated { format: FORMAT }
}

/// What the two headers and the palette say.
struct Header {
    width: u64,
    height: u64,
    bottom_up: bool,
    pixels_at: usize,
    coding: Coding,
}

/// The colours of all 256 indices.
type Palette = [[u8; 3]; 256];

enum Coding {
    Indexed { bits: usize, palette: Palette },
    RunLength { bits: usize, palette: Palette },
    Direct(Layout),
}

/// Where the channels of a 16-, 24- or 32-bit pixel are.
struct Layout {
    bytes: usize,
    channels: Channels,
}

enum Channels {
    /// Whole bytes: the place of red, green, blue, and of alpha if there is one.
    Bytes { rgb: [usize; 3], alpha: Option<usize> },
    /// Parts of a 16-bit word: shift and largest value of red, green, blue.
    Bits([(u32, u32); 3]),
}

/// Reads little-endian integers at given places.
fn u16_at(bytes: &[u8], at: usize) -> Result<u16, PictureError> {
    let pair = bytes
        .get(at..at + 2)
        .and_then(|pair| pair.try_into().ok())
        .ok_or_else(truncated)?;
    Ok(u16::from_le_bytes(pair))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, PictureError> {
    let four = bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .ok_or_else(truncated)?;
    Ok(u32::from_le_bytes(four))
}

/// The fields of the second header that all its versions have in some form.
struct Fields {
    header_size: usize,
    width: u64,
    height: u64,
    bottom_up: bool,
    bits: usize,
    compression: u32,
    colours: usize,
    /// Bytes of a palette entry.
    entry: usize,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, PictureError> {
        let header_size = u32_at(bytes, FILE_HEADER)? as usize;
        match header_size {
            12 => Self::read_os2(bytes),
            40 | 52 | 56 | 64 | 108 | 124 => Self::read_windows(bytes, header_size),
            size => Err(unsupported(format!("a header of {size} bytes"))),
        }
    }

    fn read_os2(bytes: &[u8]) -> Result<Self, PictureError> {
        let bits = usize::from(u16_at(bytes, FILE_HEADER + 10)?);
        Ok(Self {
            header_size: 12,
            width: u16_at(bytes, FILE_HEADER + 4)?.into(),
            height: u16_at(bytes, FILE_HEADER + 6)?.into(),
            bottom_up: true,
            bits,
            compression: RAW,
            colours: 1 << bits.min(16),
            entry: 3,
        })
    }

    fn read_windows(bytes: &[u8], header_size: usize) -> Result<Self, PictureError> {
        let height = u32_at(bytes, FILE_HEADER + 8)?;
        // A negative height means that the rows go from top to bottom.
        let top_down = height >= 0xff00_0000;
        let bits = usize::from(u16_at(bytes, FILE_HEADER + 14)?);
        let colours = u32_at(bytes, FILE_HEADER + 32)? as usize;
        Ok(Self {
            header_size,
            width: u32_at(bytes, FILE_HEADER + 4)?.into(),
            height: if top_down {
                height.wrapping_neg().into()
            } else {
                height.into()
            },
            bottom_up: !top_down,
            bits,
            compression: u32_at(bytes, FILE_HEADER + 16)?,
            colours: if colours == 0 { 1 << bits.min(16) } else { colours },
            entry: 4,
        })
    }
}

const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, PictureError> {
        let fields = Fields::read(bytes)?;
        let palette_at = FILE_HEADER + fields.header_size;
        let (coding, coding_end) = match (fields.bits, fields.compression) {
            (1 | 4 | 8, RAW) => {
                let (palette, end) = read_palette(bytes, palette_at, &fields)?;
                (
                    Coding::Indexed {
                        bits: fields.bits,
                        palette,
                    },
                    end,
                )
            }
            (1 | 4 | 8, RLE8 | RLE4) => {
                let (palette, end) = read_palette(bytes, palette_at, &fields)?;
                (
                    Coding::RunLength {
                        bits: if fields.compression == RLE4 { 4 } else { 8 },
                        palette,
                    },
                    end,
                )
            }
            (16 | 24 | 32, RAW) => (Coding::Direct(plain_layout(fields.bits)), palette_at),
            (16 | 24 | 32, BITFIELDS) => {
                let end = if fields.header_size == 40 {
                    palette_at + 12
                } else {
                    palette_at
                };
                (Coding::Direct(masked_layout(bytes, &fields)?), end)
            }
            (bits, compression) => return Err(unsupported(format!("{bits} bits, compression {compression}"))),
        };
        let mut pixels_at = u32_at(bytes, 10)? as usize;
        // Some writers forget to count the palette.
        if pixels_at == palette_at && fields.bits <= 8 {
            pixels_at = pixels_at.saturating_add(fields.entry * fields.colours);
        }
        if pixels_at == 0 {
            pixels_at = coding_end;
        }
        let Fields {
            width,
            height,
            bottom_up,
            ..
        } = fields;
        Ok(Self {
            width,
            height,
            bottom_up,
            pixels_at,
            coding,
        })
    }
}

/// The colours of the indices, and where the palette ends in the file; its
/// entries are blue, green, red. Indices beyond its end are black, except that
/// a palette of greys in order goes on, as in Pillow.
fn read_palette(bytes: &[u8], at: usize, fields: &Fields) -> Result<(Palette, usize), PictureError> {
    if fields.colours > 1 << 16 {
        return Err(unsupported(format!("a palette of {} colours", fields.colours)));
    }
    let end = (at + fields.entry * fields.colours).min(bytes.len());
    let entries = bytes.get(at..end).ok_or_else(truncated)?.chunks_exact(fields.entry);
    let known: Vec<[u8; 3]> = entries.map(|entry| [entry[2], entry[1], entry[0]]).collect();
    let greys = known.iter().zip(0..=255u8).all(|(colour, index)| *colour == [index; 3]);
    let beyond = |index: usize| if greys { [index as u8; 3] } else { [0; 3] }; // of 256 indices
    Ok((
        std::array::from_fn(|index| known.get(index).copied().unwrap_or_else(|| beyond(index))),
        end,
    ))
}

fn plain_layout(bits: usize) -> Layout {
    let channels = match bits {
        16 => Channels::Bits([(10, 31), (5, 31), (0, 31)]),
        // The fourth byte of 32 bits is not an alpha unless masks say so.
        _ => Channels::Bytes {
            rgb: [2, 1, 0],
            alpha: None,
        },
    };
    Layout {
        bytes: bits / 8,
        channels,
    }
}

/// The layouts that Pillow knows, by their masks.
fn masked_layout(bytes: &[u8], fields: &Fields) -> Result<Layout, PictureError> {
    let mask = |index: usize| u32_at(bytes, FILE_HEADER + 40 + 4 * index);
    let rgb = [mask(0)?, mask(1)?, mask(2)?];
    let alpha = if fields.header_size >= 56 { mask(3)? } else { 0 };
    let byte_layout = |rgb, alpha| Channels::Bytes { rgb, alpha };
    let channels = match (fields.bits, rgb, alpha) {
        (16, [0xf800, 0x7e0, 0x1f], _) => Channels::Bits([(11, 31), (5, 63), (0, 31)]),
        (16, [0x7c00, 0x3e0, 0x1f], _) => Channels::Bits([(10, 31), (5, 31), (0, 31)]),
        (24, [0xff_0000, 0xff00, 0xff], _) => byte_layout([2, 1, 0], None),
        (32, [0xff_0000, 0xff00, 0xff], 0) => byte_layout([2, 1, 0], None),
        (32, [0xff00_0000, 0xff_0000, 0xff00], 0) => byte_layout([3, 2, 1], None),
        (32, [0xff00_0000, 0xff00, 0xff], 0) => byte_layout([3, 1, 0], None),
        (32, [0xff00_0000, 0xff_0000, 0xff00], 0xff) => byte_layout([3, 2, 1], Some(0)),
        (32, [0xff, 0xff00, 0xff_0000], 0xff00_0000) => byte_layout([0, 1, 2], Some(3)),
        (32, [0xff_0000, 0xff00, 0xff] | [0, 0, 0], 0xff00_0000 | 0) => byte_layout([2, 1, 0], Some(3)),
        (32, [0xff00_0000, 0xff00, 0xff], 0xff_0000) => byte_layout([3, 1, 0], Some(2)),
        (bits, [red, green, blue], alpha) => {
            let reason = format!("{bits} bits with the masks {red:#x}, {green:#x}, {blue:#x}, {alpha:#x}");
            return Err(unsupported(reason));
        }
    };
    Ok(Layout {
        bytes: fields.bits / 8,
        channels,
    })
}

/// Rows of `bits_per_pixel`, each padded to a multiple of four bytes.
fn rows(pixels: &[u8], bits_per_pixel: usize, width: usize, height: usize) -> Result<Vec<&[u8]>, PictureError> {
    let used = (width * bits_per_pixel).div_ceil(8);
    let stride = used.next_multiple_of(4);
    // The padding of the last row may be missing.
    (0..height)
        .map(|row| pixels.get(row * stride..row * stride + used).ok_or_else(truncated))
        .collect()
}

fn indexed(
    pixels: &[u8],
    bits: usize,
    palette: &Palette,
    width: usize,
    height: usize,
) -> Result<Vec<u8>, PictureError> {
    let mask = (1u16 << bits) - 1;
    let mut rgb = Vec::new();
    for row in rows(pixels, bits, width, height)? {
        let index = |x: usize| {
            let shift = 8 - bits - (x * bits) % 8;
            // At most 255: the row holds bytes.
            (u16::from(row[x * bits / 8] >> shift) & mask) as u8
        };
        rgb.extend((0..width).flat_map(|x| palette[usize::from(index(x))]));
    }
    Ok(rgb)
}

fn colours_of(indices: &[u8], palette: &Palette) -> Vec<u8> {
    indices.iter().flat_map(|&index| palette[usize::from(index)]).collect()
}

fn direct(pixels: &[u8], layout: &Layout, width: usize, height: usize) -> Result<Vec<u8>, PictureError> {
    let mut rgb = Vec::new();
    for row in rows(pixels, layout.bytes * 8, width, height)? {
        rgb.extend(
            row.chunks_exact(layout.bytes)
                .flat_map(|pixel| layout.channels.rgb(pixel)),
        );
    }
    Ok(rgb)
}

impl Channels {
    fn rgb(&self, pixel: &[u8]) -> [u8; 3] {
        match self {
            Self::Bytes { rgb, alpha: None } => rgb.map(|at| pixel[at]),
            Self::Bytes {
                rgb,
                alpha: Some(alpha),
            } => rgb.map(|at| over_white(pixel[at], pixel[*alpha])),
            Self::Bits(parts) => {
                let word = u32::from(u16::from_le_bytes([pixel[0], pixel[1]]));
                // Widened to 8 bits by truncating, as Pillow does.
                parts.map(|(shift, largest)| (((word >> shift) & largest) * 255 / largest) as u8)
            }
        }
    }
}

fn flip_rows(rgb: &mut [u8], width: usize) {
    let row = width * 3;
    let height = rgb.len() / row;
    let (top, bottom) = rgb.split_at_mut(height / 2 * row);
    for (upper, lower) in top.chunks_exact_mut(row).zip(bottom.rchunks_exact_mut(row)) {
        upper.swap_with_slice(lower);
    }
}

/// Expands run-length encoded indices, stepping where Pillow's decoder steps.
struct RunLength<'a> {
    data: &'a [u8],
    read: usize,
    width: usize,
    height: usize,
    /// Whether the data begin at an odd place of the file: absolute runs end at
    /// even places of the file.
    odd_start: bool,
}

impl RunLength<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.data.get(self.read).copied();
        self.read += usize::from(byte.is_some());
        byte
    }

    /// All `width * height` indices, in stored order.
    fn expand(mut self, bits: usize) -> Result<Vec<u8>, PictureError> {
        let total = self.width * self.height;
        let mut indices = Vec::new();
        let mut x = 0;
        while indices.len() < total {
            let (Some(count), Some(value)) = (self.next(), self.next()) else {
                break;
            };
            let ended = match (count, value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(self.width), 0);
                    x = 0;
                    false
                }
                (0, 1) => true,
                (0, 2) => self.skip(&mut indices, &mut x),
                (0, length) => self.absolute(&mut indices, &mut x, length, bits),
                (count, value) => {
                    let count = usize::from(count).min(self.width.saturating_sub(x));
                    push_run(&mut indices, value, count, bits);
                    x += count;
                    false
                }
            };
            if ended {
                break;
            }
        }
        if indices.len() < total {
            return Err(truncated());
        }
        indices.truncate(total);
        Ok(indices)
    }

    /// Skips to the right and up; what is skipped has index 0.
    fn skip(&mut self, indices: &mut Vec<u8>, x: &mut usize) -> bool {
        let (Some(right), Some(up)) = (self.next(), self.next()) else {
            return true;
        };
        let skipped = usize::from(right) + usize::from(up) * self.width;
        indices.resize((indices.len() + skipped).min(self.width * self.height), 0);
        *x = indices.len() % self.width;
        false
    }

    /// A run of indices as they are.
    fn absolute(&mut self, indices: &mut Vec<u8>, x: &mut usize, length: u8, bits: usize) -> bool {
        let total = self.width * self.height;
        let count = usize::from(length).min(total - indices.len());
        let wanted = if bits == 4 { count.div_ceil(2) } else { count };
        let end = (self.read + wanted).min(self.data.len());
        let bytes = &self.data[self.read..end];
        self.read = end;
        if bits == 4 {
            indices.extend(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(count));
        } else {
            indices.extend_from_slice(bytes);
        }
        if bytes.len() < wanted || indices.len() == total {
            return true;
        }
        *x += usize::from(length);
        if (self.read % 2 == 1) != self.odd_start {
            self.read += 1;
        }
        false
    }
}

/// `count` pixels of one index, or of two that alternate.
fn push_run(indices: &mut Vec<u8>, value: u8, count: usize, bits: usize) {
    if bits == 4 {
        let pair = [value >> 4, value & 15];
        indices.extend((0..count).map(|index| pair[index % 2]));
    } else {
        indices.extend(std::iter::repeat_n(value, count));
    }
}
