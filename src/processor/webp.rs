//! WebP: lossy, lossless, with alpha, the first frame of an animation.
//!
//! By `image-webp`, without `image` around it: that cannot be given a limit of
//! memory, and allocates what a chunk declares, up to 4 GB.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::decode::{DECODER, Declared, Decoded, TURNING, check_size};
use super::{Picture, PictureError, PictureLimits, alpha, decoder, orientation};

pub(super) const FORMAT: &str = "WebP";

/// Decodes a WebP file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let mut decoder = open(bytes)?;
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

/// What the head declares.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    let mut decoder = open(bytes)?;
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
    let more = DECODER + margin + 2 * bytes.len() as u64;
    Ok(Declared::new(width.into(), height.into(), per_pixel, more))
}

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, PictureError> {
    check_declared_length(bytes)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    // Chunks of metadata are inside the file, whatever length they declare.
    decoder.set_memory_limit(bytes.len());
    let (width, height) = decoder.dimensions();
    for (frame_width, frame_height) in lossy_frames(bytes) {
        if frame_width > width || frame_height > height {
            let reason = format!("a frame of {frame_width} x {frame_height} in a picture of {width} x {height} pixels");
            return Err(PictureError::Damaged { format: FORMAT, reason });
        }
    }
    Ok(decoder)
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
    decoder::colour(rgba, 4, |pixel| {
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
