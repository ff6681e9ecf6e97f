//! The picture that goes back to browsers: decoded and encoded again, so that nothing of
//! the uploaded file (its place, its camera, a payload) is passed on.

use crate::processor::Picture;
use crate::processor::Resample;
use crate::processor::resize::resize;

/// Longer side of a preview in pixels.
const LONGEST_SIDE: usize = 1280;

/// libjpeg's scale: 90 shows no blocks.
const QUALITY: f32 = 90.0;

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
#[error("The picture could not be prepared for the page: {0}. Try another one.")]
pub struct PreviewError(String);

/// A JPEG of at most [`LONGEST_SIDE`] pixels a side.
pub fn encode(picture: &Picture) -> Result<Vec<u8>, PreviewError> {
    let longest = picture.width.max(picture.height);
    if longest <= LONGEST_SIDE {
        return jpeg(picture);
    }
    let scaled = |side: usize| (side * LONGEST_SIDE / longest).max(1);
    jpeg(&resize(
        picture,
        scaled(picture.width),
        scaled(picture.height),
        Resample::Bicubic,
    ))
}

fn jpeg(picture: &Picture) -> Result<Vec<u8>, PreviewError> {
    // libjpeg's errors come as panics through this crate, as its documentation says.
    std::panic::catch_unwind(|| {
        let mut encoder = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_RGB);
        encoder.set_size(picture.width, picture.height);
        encoder.set_quality(QUALITY);
        encoder.set_fastest_defaults();
        let mut started = encoder.start_compress(Vec::new())?;
        started.write_scanlines(&picture.rgb)?;
        started.finish()
    })
    .map_err(|_| PreviewError("the encoder failed".into()))?
    .map_err(|error| PreviewError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::PictureLimits;

    #[test]
    fn a_wide_picture_is_scaled_to_the_longest_side() {
        let picture = Picture {
            width: 5000,
            height: 3,
            rgb: vec![200; 5000 * 3 * 3],
        };
        let bytes = encode(&picture).expect("it can be encoded");
        let preview = Picture::decode(&bytes, &PictureLimits::default()).expect("it is a JPEG");
        assert_eq!((preview.width, preview.height), (1280, 1));
    }
}
