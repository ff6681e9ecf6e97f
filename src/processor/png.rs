//! PNG: all colour types and bit depths, interlaced or not, the first image of
//! an animation.
//!
//! The decoder hands over the samples as they are stored; the reduction to
//! 8-bit RGB is Pillow's, with its peculiarities: of 16-bit colours the high
//! byte counts, a transparent colour is compared after the reduction, and a
//! grey of 2 or 4 bits is compared with it after widening.

use std::io::Cursor;

use image::metadata::Orientation;
use png::{BitDepth, ColorType, DecodeOptions, DecodingError, Info, Limits, Reader, Transformations};

use super::alpha::over_white;
use super::decode::{DECODER, Declared, Decoded, RGB, TURNING, check_size};
use super::image_crate::scale_grey16;
use super::{Picture, PictureError, PictureLimits, orientation};

pub(super) const FORMAT: &str = "PNG";

/// Most bytes of metadata and of one row.
const DECODER_BYTES: usize = 64 << 20;

/// Decodes a PNG file.
///
/// Up to the pixels the chunks' checksums count. From there on Pillow compares
/// none of them, only that of the pixels themselves, and so does a second try.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let reader = read_head(open(bytes), limits)?;
    match read(reader, bytes) {
        Err(PictureError::Damaged { .. }) => {
            let mut options = DecodeOptions::default();
            options.set_ignore_crc(true);
            options.set_ignore_adler32(false);
            let decoder = set_up(png::Decoder::new_with_options(Cursor::new(bytes), options));
            read(read_head(decoder, limits)?, bytes)
        }
        outcome => outcome,
    }
}

/// Reads up to the pixels.
fn read_head<'a>(
    mut decoder: png::Decoder<Cursor<&'a [u8]>>,
    limits: &PictureLimits,
) -> Result<Reader<Cursor<&'a [u8]>>, PictureError> {
    let header = decoder.read_header_info().map_err(error)?;
    check_size(FORMAT, header.width.into(), header.height.into(), limits)?;
    decoder.read_info().map_err(error)
}

/// Reads the pixels, and what follows them.
fn read(mut reader: Reader<Cursor<&[u8]>>, bytes: &[u8]) -> Result<Decoded, PictureError> {
    let samples = Samples::of(reader.info());
    // Both fit: the size has been checked.
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let rgb = read_pixels(&mut reader, &samples, width, height)?;
    // Of an animation the still picture, or the first frame, is all that counts.
    if reader.info().animation_control.is_none() {
        finish(&mut reader, bytes)?;
    }
    Ok(Decoded {
        picture: Picture { width, height, rgb },
        orientation: orientation(reader.info()),
    })
}

/// What the head declares, and whether anything may ask for a turn.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    /// Texts are inflated to at most 2 MiB each, one at a time, and copied.
    const TEXT: u64 = 8 << 20;
    let mut decoder = open(bytes);
    let header = decoder.read_header_info().map_err(error)?;
    let (width, height) = (u64::from(header.width), u64::from(header.height));
    let kinds = || chunks(bytes).map(|(kind, _)| kind);
    let has_text = kinds().any(|kind| matches!(&kind, b"tEXt" | b"zTXt" | b"iTXt"));
    let per_pixel = if has_text || kinds().any(|kind| kind == *b"eXIf") {
        TURNING
    } else {
        RGB
    };
    let text = if has_text { TEXT } else { 0 };
    // A few rows of at most 8 bytes a pixel, and copies of metadata.
    let more = DECODER + 64 * width + 2 * bytes.len() as u64 + text;
    Ok(Declared::new(width, height, per_pixel, more))
}

fn open(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    set_up(png::Decoder::new(Cursor::new(bytes)))
}

fn set_up(mut decoder: png::Decoder<Cursor<&[u8]>>) -> png::Decoder<Cursor<&[u8]>> {
    decoder.set_limits(Limits { bytes: DECODER_BYTES });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

/// Kind and data of each chunk; of the last one the data may be cut short: `None`.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], Option<&[u8]>)> {
    const SIGNATURE: usize = 8;
    const CHECKSUM: usize = 4;
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<8>()?;
        let [l0, l1, l2, l3, kind @ ..] = *head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let data = after.get(..length);
        rest = after.get(length.saturating_add(CHECKSUM)..).unwrap_or_default();
        Some((kind, data))
    })
}

fn error(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format: FORMAT }
        }
        DecodingError::LimitsExceeded => PictureError::Unsupported {
            format: FORMAT,
            reason: "it needs too much memory".to_owned(),
        },
        error => PictureError::Damaged {
            format: FORMAT,
            reason: error.to_string(),
        },
    }
}

/// Reads what follows the pixels: the orientation may stand there.
fn finish(reader: &mut Reader<Cursor<&[u8]>>, bytes: &[u8]) -> Result<(), PictureError> {
    match reader.finish() {
        // Pixels and checksums are complete; an end without the end mark is no loss.
        Err(DecodingError::IoError(_)) if !is_cut_inside_chunk(bytes) => Ok(()),
        outcome => outcome.map_err(error),
    }
}

/// Whether the file ends inside a chunk of metadata.
fn is_cut_inside_chunk(bytes: &[u8]) -> bool {
    for (kind, data) in chunks(bytes) {
        match (&kind, data) {
            (b"IEND", _) => return false,
            // What is missing there has been missed by the decoder before.
            (b"IDAT", None) => return false,
            (_, None) => return true,
            (_, Some(_)) => {}
        }
    }
    false
}

/// Left and top edge, and steps to the right and down, of the seven passes of
/// an interlaced picture.
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// Reads exactly the rows that there are: what follows them may be missing.
fn read_pixels(
    reader: &mut Reader<Cursor<&[u8]>>,
    samples: &Samples,
    width: usize,
    height: usize,
) -> Result<Vec<u8>, PictureError> {
    let interlaced = reader.info().interlaced;
    let mut next_row = |width: usize, rgb: &mut Vec<u8>| match reader.next_interlaced_row() {
        Ok(Some(row)) => {
            samples.push_rgb(row.data(), width, rgb);
            Ok(())
        }
        Ok(None) => Err(PictureError::Truncated { format: FORMAT }),
        Err(cause) => Err(error(cause)),
    };
    if !interlaced {
        let mut rgb = Vec::with_capacity(width * height * 3);
        (0..height).try_for_each(|_| next_row(width, &mut rgb))?;
        return Ok(rgb);
    }
    let mut rgb = vec![0; width * height * 3];
    let mut part = Vec::new();
    for [left, top, right, down] in PASSES.into_iter().filter(|[left, ..]| *left < width) {
        for y in (top..height).step_by(down) {
            part.clear();
            next_row((width - left).div_ceil(right), &mut part)?;
            let row = rgb[y * width * 3..].as_chunks_mut::<3>().0;
            for (x, pixel) in (left..width).step_by(right).zip(part.as_chunks::<3>().0) {
                row[x] = *pixel;
            }
        }
    }
    Ok(rgb)
}

/// How the samples of a file become RGB.
enum Samples {
    /// 1 to 8 bits: the colour of each value, over white. Palettes and greys.
    Table { bits: usize, colours: Vec<[u8; 3]> },
    /// 16-bit grey, and the value that is transparent.
    Grey16 { transparent: Option<u16> },
    /// Grey and alpha, of so many bytes each.
    GreyAlpha { bytes: usize },
    /// RGB of so many bytes each, and the colour that is transparent.
    Rgb { bytes: usize, transparent: Option<[u8; 3]> },
    /// RGBA of so many bytes each.
    Rgba { bytes: usize },
}

impl Samples {
    fn of(info: &Info) -> Self {
        let bytes = if info.bit_depth == BitDepth::Sixteen { 2 } else { 1 };
        let bits = info.bit_depth as usize;
        match info.color_type {
            ColorType::Grayscale if bytes == 2 => Self::Grey16 {
                transparent: transparent_grey16(info),
            },
            ColorType::Grayscale => Self::Table {
                bits,
                colours: grey_colours(info, bits),
            },
            ColorType::Indexed => Self::Table {
                bits,
                colours: palette_colours(info, bits),
            },
            ColorType::GrayscaleAlpha => Self::GreyAlpha { bytes },
            ColorType::Rgb => Self::Rgb {
                bytes,
                transparent: transparent_rgb(info, bytes),
            },
            ColorType::Rgba => Self::Rgba { bytes },
        }
    }

    /// Appends one row of `width` pixels to `rgb`.
    fn push_rgb(&self, row: &[u8], width: usize, rgb: &mut Vec<u8>) {
        match self {
            Self::Table { bits, colours } => {
                rgb.extend((0..width).flat_map(|x| colours[usize::from(packed_sample(row, x, *bits))]));
            }
            Self::Grey16 { transparent } => {
                let values = row.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                let grey = |value| {
                    if Some(value) == *transparent {
                        255
                    } else {
                        scale_grey16(value)
                    }
                };
                rgb.extend(values.flat_map(|value| [grey(value); 3]));
            }
            Self::GreyAlpha { bytes } => {
                let pixels = row.chunks_exact(2 * bytes);
                rgb.extend(pixels.flat_map(|pixel| [over_white(pixel[0], pixel[*bytes]); 3]));
            }
            Self::Rgb { bytes, transparent } => {
                let pixels = row
                    .chunks_exact(3 * bytes)
                    .map(|pixel| [pixel[0], pixel[*bytes], pixel[2 * bytes]]);
                rgb.extend(pixels.flat_map(|pixel| if Some(pixel) == *transparent { [255; 3] } else { pixel }));
            }
            Self::Rgba { bytes } => {
                for pixel in row.chunks_exact(4 * bytes) {
                    rgb.extend((0..3).map(|channel| over_white(pixel[channel * bytes], pixel[3 * bytes])));
                }
            }
        }
    }
}

/// The sample of pixel `x` in a row of samples of 1, 2, 4 or 8 bits.
fn packed_sample(row: &[u8], x: usize, bits: usize) -> u8 {
    if bits == 8 {
        return row[x];
    }
    let first_bit = x * bits;
    let shift = 8 - bits - first_bit % 8;
    (row[first_bit / 8] >> shift) & ((1 << bits) - 1)
}

/// The colours of grey samples of 1 to 8 bits.
fn grey_colours(info: &Info, bits: usize) -> Vec<[u8; 3]> {
    let largest = (1usize << bits) - 1;
    // Of a single bit the widened value is the transparent one, else the value as stored.
    let transparent = info
        .trns
        .as_deref()
        .and_then(|value| value.last())
        .map(|&value| match bits {
            1 if value != 0 => 255,
            _ => value,
        });
    (0..=largest)
        .map(|value| (value * 255 / largest) as u8) // at most 255
        .map(|grey| if Some(grey) == transparent { [255; 3] } else { [grey; 3] })
        .collect()
}

/// The colours of all indices that `bits` can express; those beyond the end of
/// the palette are black, as in Pillow.
fn palette_colours(info: &Info, bits: usize) -> Vec<[u8; 3]> {
    let palette = info.palette.as_deref().unwrap_or_default();
    let alphas = info.trns.as_deref().unwrap_or_default();
    (0..1usize << bits)
        .map(|index| {
            let colour = palette.as_chunks::<3>().0.get(index).copied().unwrap_or_default();
            let alpha = alphas.get(index).copied().unwrap_or(255);
            colour.map(|channel| over_white(channel, alpha))
        })
        .collect()
}

fn transparent_grey16(info: &Info) -> Option<u16> {
    let value: [u8; 2] = info.trns.as_deref()?.try_into().ok()?;
    Some(u16::from_be_bytes(value))
}

/// The transparent colour in 8 bits: always the low byte, as in Pillow.
fn transparent_rgb(info: &Info, bytes: usize) -> Option<[u8; 3]> {
    let values = info.trns.as_deref()?;
    let low_byte = |channel: usize| values.get(channel * bytes + bytes - 1).copied();
    Some([low_byte(0)?, low_byte(1)?, low_byte(2)?])
}

fn orientation(info: &Info) -> Orientation {
    const XMP: &str = "XML:com.adobe.xmp";
    let xmp = info.utf8_text.iter().rev().find(|chunk| chunk.keyword == XMP);
    let xmp = xmp.and_then(|chunk| chunk.get_text().ok());
    let profile = if info.exif_metadata.is_none() {
        raw_profile(info)
    } else {
        None
    };
    let exif = info.exif_metadata.as_deref().or(profile.as_deref());
    orientation::of_metadata(exif, xmp.as_deref().map(str::as_bytes))
}

/// EXIF data in the way ImageMagick stores them: a text of hexadecimal digits
/// after three lines of heading.
fn raw_profile(info: &Info) -> Option<Vec<u8>> {
    const KEYWORD: &str = "Raw profile type exif";
    let plain = info
        .uncompressed_latin1_text
        .iter()
        .find(|chunk| chunk.keyword == KEYWORD);
    let text = match plain {
        Some(chunk) => chunk.text.clone(),
        None => info
            .compressed_latin1_text
            .iter()
            .find(|chunk| chunk.keyword == KEYWORD)?
            .get_text()
            .ok()?,
    };
    let digits: Vec<u8> = text
        .splitn(4, '\n')
        .nth(3)?
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
