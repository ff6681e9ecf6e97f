//! WebP: lossy, lossless, with alpha, the first frame of an animation.
//!
//! By `image-webp`, without `image` around it: that cannot be given a limit of
//! memory, and allocates what a chunk declares, up to 4 GB.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::decode::{DECODER, Declared, Decoded, TURNING, check_size};
use super::webp_tables::table_bytes;
use super::{Picture, PictureError, PictureLimits, alpha, image_crate, orientation};

pub(super) const FORMAT: &str = "WebP";

/// Reads a file that is in memory.
type Decoder<'a> = WebPDecoder<Cursor<&'a [u8]>>;

/// Decodes a WebP file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let (mut decoder, _) = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = check_size(FORMAT, width.into(), height.into(), limits)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    decoder.read_image(&mut pixels).map_err(error)?;
    let exif = decoder.exif_metadata().unwrap_or_default();
    let xmp = decoder.xmp_metadata().unwrap_or_default();
    let orientation = orientation::of_metadata(exif.as_deref(), xmp.as_deref());
    let rgb = if channels == 4 { over_white(pixels) } else { pixels };
    Ok(Decoded {
        picture: Picture { width, height, rgb },
        orientation,
    })
}

/// What the head declares, and what the code tables take, which it does not say.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    let (mut decoder, tables) = open(bytes)?;
    let (width, height) = decoder.dimensions();
    // What the decoder holds at most a pixel: the output; planes of colour (1.5), of alpha
    // (two, from a picture of four), and the transforms of a lossless picture (about one).
    let per_pixel = match (decoder.is_animated(), decoder.has_alpha(), decoder.is_lossy()) {
        // A frame and the canvas besides.
        (true, ..) => 22,
        (_, true, true) => 13,
        (_, _, false) => 9,
        _ => TURNING,
    };
    // Planes are of whole blocks of 16 pixels.
    let margin = 32 * 2 * (u64::from(width) + u64::from(height));
    let more = DECODER + margin + 2 * bytes.len() as u64 + tables;
    Ok(Declared::new(width.into(), height.into(), per_pixel, more))
}

/// Most bytes of code tables, of all lossless parts together. The encoders in use stay below a
/// third of it.
const MAX_TABLE_BYTES: u64 = 128 << 20;

/// Reads the head, and gives the bytes of the code tables too.
fn open(bytes: &[u8]) -> Result<(Decoder<'_>, u64), PictureError> {
    check_declared_length(bytes)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    // Chunks of metadata are inside the file, whatever length they declare.
    decoder.set_memory_limit(bytes.len());
    let (width, height) = decoder.dimensions();
    for (frame_width, frame_height) in lossy_frames(bytes) {
        if frame_width > width || frame_height > height {
            return Err(damaged(format!(
                "a frame of {frame_width} x {frame_height} in a picture of {width} x {height} pixels"
            )));
        }
    }
    let mut tables = 0;
    for Lossless { data, width, height } in lossless_parts(bytes, width, height) {
        let left = MAX_TABLE_BYTES - tables;
        let of_part = table_bytes(data, width, height, left);
        tables += of_part.ok_or_else(|| damaged("the tables of its codes are broken, or too large".to_owned()))?;
    }
    Ok((decoder, tables))
}

fn damaged(reason: String) -> PictureError {
    PictureError::Damaged { format: FORMAT, reason }
}

/// A stream of lossless data, behind its own header if it has one.
struct Lossless<'a> {
    data: &'a [u8],
    width: u32,
    height: u32,
}

/// The lossless streams that the decoder may read: pictures and planes of alpha, of the file
/// itself and of its first frame.
fn lossless_parts(bytes: &[u8], width: u32, height: u32) -> Vec<Lossless<'_>> {
    const RIFF_HEADER: usize = 12;
    let mut parts = Vec::new();
    let mut frames = 0;
    for (kind, data) in chunks(bytes.get(RIFF_HEADER..).unwrap_or_default()) {
        match (&kind, data) {
            (b"ANMF", [_, _, _, _, _, _, w0, w1, w2, h0, h1, h2, _, _, _, _, inner @ ..]) if frames == 0 => {
                frames += 1;
                let side = |low: &u8, middle: &u8, high: &u8| u32::from_le_bytes([*low, *middle, *high, 0]) + 1;
                let (width, height) = (side(w0, w1, w2), side(h0, h1, h2));
                parts.extend(
                    chunks(inner)
                        .take(2)
                        .filter_map(|(kind, data)| lossless_part(kind, data, width, height)),
                );
            }
            _ => parts.extend(lossless_part(kind, data, width, height)),
        }
    }
    parts
}

fn lossless_part(kind: [u8; 4], data: &[u8], width: u32, height: u32) -> Option<Lossless<'_>> {
    match (&kind, data) {
        (b"VP8L", [0x2f, b0, b1, b2, b3, data @ ..]) => {
            let header = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            let (width, height) = ((header & 0x3fff) + 1, (header >> 14 & 0x3fff) + 1);
            Some(Lossless { data, width, height })
        }
        // A compressed plane of alpha.
        (b"ALPH", [flags, data @ ..]) if flags & 3 == 1 => Some(Lossless { data, width, height }),
        _ => None,
    }
}

/// Kind and data of the chunks, the last one's as far as they are there.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&[k0, k1, k2, k3, l0, l1, l2, l3], after) = rest.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        rest = after.get(length.saturating_add(length & 1)..).unwrap_or_default();
        Some(([k0, k1, k2, k3], &after[..length.min(after.len())]))
    })
}

/// The sizes of all lossy frames: the decoder compares them with the picture's only after
/// it has decoded them. A frame is found by the eleven bytes that it has to begin with,
/// wherever they are.
fn lossy_frames(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    bytes.windows(18).filter_map(|window| match window {
        [
            b'V',
            b'P',
            b'8',
            b' ',
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            0x9d,
            0x01,
            0x2a,
            w0,
            w1,
            h0,
            h1,
        ] => {
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(*w0, *w1), side(*h0, *h1)))
        }
        _ => None,
    })
}

fn over_white(rgba: Vec<u8>) -> Vec<u8> {
    image_crate::colour(rgba, 4, |pixel| {
        [0, 1, 2].map(|channel| alpha::over_white(pixel[channel], pixel[3]))
    })
}

/// The RIFF header says how long the file is: a shorter one was cut off.
fn check_declared_length(bytes: &[u8]) -> Result<(), PictureError> {
    const HEADER: usize = 8;
    let declared = bytes
        .get(4..HEADER)
        .and_then(|length| length.try_into().ok())
        .map(u32::from_le_bytes);
    match declared {
        Some(length) if (bytes.len() - HEADER) as u64 >= u64::from(length) => Ok(()),
        _ => Err(PictureError::Truncated { format: FORMAT }),
    }
}

fn error(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format: FORMAT }
        }
        DecodingError::UnsupportedFeature(reason) => PictureError::Unsupported { format: FORMAT, reason },
        error => PictureError::Damaged {
            format: FORMAT,
            reason: error.to_string(),
        },
    }
}
