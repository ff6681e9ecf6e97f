//! The picture that goes back to browsers: decoded and encoded again, so that nothing of
//! the uploaded file (its place, its camera, a payload) is passed on.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Rgb, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::Picture;

/// Longer side of a preview in pixels.
pub const LONGEST_SIDE: usize = 1280;

/// At 90 there are no blocks to be seen.
const QUALITY: u8 = 90;

/// Why a picture could not be encoded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("The picture could not be prepared for the page: {0}. Try another one.")]
pub struct EncodeError(String);

impl EncodeError {
    pub(super) fn new(cause: &dyn std::error::Error) -> Self {
        Self(cause.to_string())
    }
}

/// A JPEG of at most [`LONGEST_SIDE`] pixels a side.
///
/// # Errors
///
/// An [`EncodeError`] if the picture has no pixels, or not three bytes of each.
pub fn encode(picture: &Picture) -> Result<Vec<u8>, EncodeError> {
    encode_within(picture, LONGEST_SIDE)
}

/// A JPEG of at most so many pixels a side.
///
/// # Errors
///
/// As for [`encode`].
pub fn encode_within(picture: &Picture, longest: usize) -> Result<Vec<u8>, EncodeError> {
    let unfit = || EncodeError("its sides and its bytes do not fit together".to_owned());
    let side = |side: usize| u32::try_from(side).map_err(|_| unfit());
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    let whole: Borrowed = ImageBuffer::from_raw(width, height, &picture.rgb[..]).ok_or_else(unfit)?;
    match scaled_sides(picture.width, picture.height, longest) {
        None => jpeg(whole.as_raw(), width, height),
        Some((width, height)) => jpeg(&scaled(&whole, width, height), width, height),
    }
}

/// Most bytes that [`encode`] takes of a picture of this size, besides the picture.
pub fn encoding_bytes(width: usize, height: usize) -> u64 {
    /// A colour of four numbers of 32 bits, in which the smooth filter works.
    const FLOATING: u64 = 16;
    let Some((small_width, small_height)) = scaled_sides(width, height, LONGEST_SIDE) else {
        return file_bytes(width as u64 * height as u64);
    };
    let small = u64::from(small_width) * u64::from(small_height);
    // It works on the columns first.
    let between = if is_averaged(width.max(height), LONGEST_SIDE) {
        0
    } else {
        // And the weights of each target pixel.
        FLOATING * width as u64 * u64::from(small_height) + (1 << 20)
    };
    3 * small + between.max(file_bytes(small))
}

/// Most bytes of the file, in a vector that grows.
fn file_bytes(pixels: u64) -> u64 {
    4 * pixels + (1 << 20)
}

/// A picture in memory that is somebody else's.
type Borrowed<'a> = ImageBuffer<Rgb<u8>, &'a [u8]>;

/// The sides of the preview of a picture with these.
pub fn sides(width: u32, height: u32) -> (u32, u32) {
    scaled_sides(width as usize, height as usize, LONGEST_SIDE).unwrap_or((width, height))
}

/// The sides of a picture that is too large, with `longest` as the longer one.
fn scaled_sides(width: usize, height: usize, longest: usize) -> Option<(u32, u32)> {
    let longer = width.max(height);
    // At most `longest`, which is small.
    let scaled = |side: usize| (side * longest / longer).max(1) as u32;
    (longer > longest).then(|| (scaled(width), scaled(height)))
}

/// By plain averages where two pixels and more become one, which takes no memory; smoothly below.
fn scaled(whole: &Borrowed, width: u32, height: u32) -> RgbImage {
    if is_averaged(whole.width().max(whole.height()) as usize, width.max(height) as usize) {
        imageops::thumbnail(whole, width, height)
    } else {
        imageops::resize(whole, width, height, FilterType::CatmullRom)
    }
}

/// Whether a picture with this longer side becomes half as large, or smaller.
fn is_averaged(longer: usize, longest: usize) -> bool {
    longer >= 2 * longest
}

fn jpeg(rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>, EncodeError> {
    let side = |side: u32| u16::try_from(side).map_err(|cause| EncodeError::new(&cause));
    let (width, height) = (side(width)?, side(height)?);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    // Colours as sharp as what is light and dark.
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    let encoded = encoder.encode(rgb, width, height, ColorType::Rgb);
    encoded.map_err(|cause| EncodeError::new(&cause))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::PictureLimits;

    fn preview(picture: &Picture) -> Picture {
        let bytes = encode(picture).expect("it can be encoded");
        Picture::decode(&bytes, &PictureLimits::default()).expect("it is a JPEG")
    }

    /// Grey, darker to the right.
    fn ramp(width: usize, height: usize) -> Picture {
        let row: Vec<u8> = (0..width).flat_map(|x| [(255 - x * 255 / width) as u8; 3]).collect();
        let rgb = row.repeat(height);
        Picture { width, height, rgb }
    }

    #[test]
    fn a_preview_has_the_longest_side_and_shows_the_same() {
        for (width, height, sides) in [
            (5000, 3, (1280, 1)),
            (3, 5000, (1, 1280)),
            (4000, 3000, (1280, 960)),
            (2000, 1000, (1280, 640)),
            (1280, 7, (1280, 7)),
        ] {
            let preview = preview(&ramp(width, height));
            assert_eq!((preview.width, preview.height), sides);
            let at = |x: usize| i32::from(preview.rgb[x * 3]);
            for x in (0..preview.width).step_by(97) {
                let expected = 255 - (x * 255 / preview.width) as i32;
                assert!(
                    width < 10 || (at(x) - expected).abs() <= 6,
                    "{width} x {height}, at {x}: {}",
                    at(x)
                );
            }
        }
    }

    #[test]
    fn bytes_that_do_not_fit_the_sides_are_an_error() {
        let mut picture = ramp(20, 20);
        picture.rgb.pop();
        assert!(encode(&picture).is_err());
    }
}
