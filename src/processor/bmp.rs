//! BMP, with the decoder of the `image` crate.
//!
//! It differs from Pillow where the format's description leaves room: five and
//! six bits become eight by rounding (Pillow truncates, one level at most), and
//! what a run-length encoded file skips is black (Pillow: colour 0).

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;

use super::alpha::Alpha;
use super::decode::{DECODER, Declared, Decoded, RGB};
use super::{PictureError, PictureLimits, image_crate};

pub(super) const FORMAT: &str = "BMP";

/// Decodes a BMP file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    image_crate::read(FORMAT, open(bytes)?, Alpha::Straight, limits).map(Decoded::upright)
}

/// What the head declares; a palette of 256 colours is all that is allocated.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    let decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    // Pixels with an alpha become RGB where they are, and may be moved when they have.
    let per_pixel = match u64::from(decoder.color_type().bytes_per_pixel()) {
        RGB => RGB,
        stored => stored + RGB,
    };
    Ok(Declared::new(width.into(), height.into(), per_pixel, DECODER))
}

fn open(bytes: &[u8]) -> Result<BmpDecoder<Cursor<&[u8]>>, PictureError> {
    BmpDecoder::new(Cursor::new(bytes)).map_err(|cause| image_crate::error(FORMAT, cause))
}
