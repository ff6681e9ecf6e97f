//! Running a decoder of the `image` crate: its limits, its kinds of pixels, its errors.

use std::error::Error;

use image::{ColorType, ImageDecoder, ImageError, Limits};

use super::alpha::Alpha;
use super::decode::check_size;
use super::{Picture, PictureError, PictureLimits};

/// The pixels that a decoder gives, as 8-bit RGB over white.
///
/// Of 16-bit colours the high byte counts, as in Pillow; 16-bit greys are scaled.
pub(super) fn read(
    format: &'static str,
    mut decoder: impl ImageDecoder,
    alpha: Alpha,
    limits: &PictureLimits,
) -> Result<Picture, PictureError> {
    let (width, height) = decoder.dimensions();
    let (width, height) = check_size(format, width.into(), height.into(), limits)?;
    let kind = decoder.color_type();
    let bytes = usize::try_from(decoder.total_bytes())
        .ok()
        .filter(|_| is_read(kind))
        .ok_or_else(|| {
            let reason = format!("pixels of the kind {kind:?}");
            PictureError::Unsupported { format, reason }
        })?;
    let mut bounds = Limits::no_limits();
    // What the decoder holds besides the output: the same once more, of four samples a pixel
    // where it gives three, and rows and tables.
    bounds.max_alloc = Some(3 * bytes as u64 + (4 << 20));
    let failed = |cause| error(format, cause);
    decoder.set_limits(bounds).map_err(failed)?;
    let mut pixels = vec![0; bytes];
    decoder.read_image(&mut pixels).map_err(failed)?;
    let rgb = to_rgb(pixels, kind, alpha);
    Ok(Picture { width, height, rgb })
}

fn is_read(kind: ColorType) -> bool {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    matches!(kind, L8 | La8 | Rgb8 | Rgba8 | L16 | La16 | Rgb16 | Rgba16)
}

/// Pixels of a kind that [`is_read`], samples of 16 bits in this machine's order.
fn to_rgb(pixels: Vec<u8>, kind: ColorType, alpha: Alpha) -> Vec<u8> {
    let high = |sample: &[u8]| sample_of(sample).to_be_bytes()[0];
    match kind {
        ColorType::Rgb8 => pixels,
        ColorType::L8 => pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        ColorType::La8 => grey(&pixels, 2, |pixel| alpha.over_white(pixel[0], pixel[1])),
        ColorType::L16 => grey(&pixels, 2, |pixel| scale_grey16(sample_of(pixel))),
        ColorType::La16 => grey(&pixels, 4, |pixel| {
            alpha.over_white(scale_grey16(sample_of(&pixel[..2])), high(&pixel[2..]))
        }),
        ColorType::Rgba8 => colour(pixels, 4, |pixel| {
            [0, 1, 2].map(|channel| alpha.over_white(pixel[channel], pixel[3]))
        }),
        ColorType::Rgba16 => colour(pixels, 8, |pixel| {
            [0, 2, 4].map(|at| alpha.over_white(high(&pixel[at..at + 2]), high(&pixel[6..])))
        }),
        // Rgb16: the others are not read.
        _ => colour(pixels, 6, |pixel| [0, 2, 4].map(|at| high(&pixel[at..at + 2]))),
    }
}

fn sample_of(pair: &[u8]) -> u16 {
    u16::from_ne_bytes([pair[0], pair[1]])
}

/// 16 bits to 8, rounded to nearest; 257 = 65535 / 255.
pub(super) fn scale_grey16(value: u16) -> u8 {
    // At most (65535 + 128) / 257 = 255.
    ((u32::from(value) + 128) / 257) as u8
}

/// Pixels of so many bytes as greys.
fn grey(pixels: &[u8], bytes: usize, of: impl Fn(&[u8]) -> u8) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels.len() / bytes * 3);
    rgb.extend(pixels.chunks_exact(bytes).flat_map(|pixel| [of(pixel); 3]));
    rgb
}

/// Pixels of so many bytes, at least three, as colours, in the memory that they are in.
pub(super) fn colour(mut pixels: Vec<u8>, bytes: usize, of: impl Fn(&[u8]) -> [u8; 3]) -> Vec<u8> {
    let count = pixels.len() / bytes;
    for index in 0..count {
        let rgb = of(&pixels[index * bytes..][..bytes]);
        pixels[index * 3..][..3].copy_from_slice(&rgb);
    }
    pixels.truncate(count * 3);
    pixels.shrink_to_fit();
    pixels
}

/// What went wrong in a decoder, for the person who chose the file.
pub(super) fn error(format: &'static str, error: ImageError) -> PictureError {
    match error {
        ImageError::IoError(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format }
        }
        ImageError::Unsupported(cause) => PictureError::Unsupported {
            format,
            reason: cause.to_string(),
        },
        ImageError::Limits(_) => PictureError::Unsupported {
            format,
            reason: "it needs too much memory".to_owned(),
        },
        // The crate's own sentence begins with the format's name, which ours has already.
        cause => PictureError::Damaged {
            format,
            reason: cause.source().map_or_else(|| cause.to_string(), ToString::to_string),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb_over_white() {
        let deep = samples(&[0x1234, 0x5678, 0x9abc, 0xffff]);
        let cases = [
            (ColorType::L8, vec![7], [7; 3]),
            (ColorType::La8, vec![7, 0], [255; 3]),
            (ColorType::Rgb8, vec![1, 2, 3], [1, 2, 3]),
            (ColorType::Rgba8, vec![1, 2, 3, 255], [1, 2, 3]),
            (ColorType::Rgba8, vec![1, 2, 3, 0], [255; 3]),
            (ColorType::L16, samples(&[0x8000]), [128; 3]),
            (ColorType::La16, samples(&[0x8000, 0xffff]), [128; 3]),
            (ColorType::Rgb16, deep[..6].to_vec(), [0x12, 0x56, 0x9a]),
            (ColorType::Rgba16, deep, [0x12, 0x56, 0x9a]),
        ];
        for (kind, pixel, rgb) in cases {
            assert!(is_read(kind), "{kind:?}");
            let converted = to_rgb(pixel.repeat(2), kind, Alpha::Straight);
            assert_eq!(converted, rgb.repeat(2), "{kind:?}");
        }
        let half = to_rgb(vec![100, 0, 28, 128], ColorType::Rgba8, Alpha::Premultiplied);
        assert_eq!(half, [227, 127, 155]);
        assert!(!is_read(ColorType::Rgb32F));
    }
}
