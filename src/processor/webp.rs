//! WebP: lossy, lossless, with alpha, the first frame of an animation.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::alpha::push_rgba_over_white;
use super::decode::{Decoded, check_size};
use super::{Picture, PictureError, PictureLimits, orientation::Orientation};

const FORMAT: &str = "WebP";

/// Decodes a WebP file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    check_declared_length(bytes)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = check_size(FORMAT, width.into(), height.into(), limits)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    decoder.read_image(&mut pixels).map_err(error)?;
    let exif = decoder.exif_metadata().unwrap_or_default();
    let xmp = decoder.xmp_metadata().unwrap_or_default();
    let orientation = Orientation::from_metadata(exif.as_deref(), xmp.as_deref());
    let rgb = if channels == 4 { over_white(&pixels) } else { pixels };
    Ok(Decoded {
        picture: Picture { width, height, rgb },
        orientation,
    })
}

fn over_white(rgba: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    push_rgba_over_white(rgba, &mut rgb);
    rgb
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
