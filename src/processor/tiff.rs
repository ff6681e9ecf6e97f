//! TIFF, with the decoder of the `image` crate: greys, colours and CMYK of 8 and
//! 16 bits, black and white; uncompressed, PackBits, LZW, deflate, fax; the
//! first page, and the orientation.
//!
//! The decoder takes limits only after it has read the first directory, and none
//! for a JPEG inside a TIFF, so [`check_directory`] looks at the directory before it does.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::tiff::TiffDecoder;

use super::alpha::Alpha;
use super::decode::{DECODER, Declared, Decoded, RGB, TURNING};
use super::orientation::{self, Directory};
use super::{PictureError, PictureLimits, image_crate};

pub(super) const FORMAT: &str = "TIFF";

/// Most values of one entry of the directory: the places of rows or tiles are the most numerous.
const MAX_VALUES: u32 = 1 << 18;

/// Bytes that the decoder holds of a value of the directory.
const VALUE: u64 = 96;

/// Most samples of a pixel: four inks, and a few more that are not shown.
const MAX_SAMPLES: u32 = 8;

/// Longest side of a tile, in pixels.
const MAX_TILE: u32 = 8192;

/// Decodes the first page of a TIFF file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let alpha = match Directory::first(bytes).and_then(|directory| directory.number(tags::EXTRA)) {
        Some(tags::PREMULTIPLIED) => Alpha::Premultiplied,
        _ => Alpha::Straight,
    };
    Ok(Decoded {
        picture: image_crate::read(FORMAT, open(bytes)?, alpha, limits)?,
        orientation: orientation::of_metadata(Some(bytes), None),
    })
}

/// What the first directory declares.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    let values = check_directory(bytes)?;
    let decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let output = u64::from(decoder.color_type().bytes_per_pixel());
    let stored = u64::from(decoder.original_color_type().bits_per_pixel().div_ceil(8));
    // The decoder's own copy and the output; then the output and the RGB pixels.
    let per_pixel = (stored.max(output) + output).max(output + RGB).max(TURNING);
    // A row of a tile, at most: of 8 bytes a sample.
    let row = 8 * u64::from(MAX_SAMPLES) * u64::from(width.max(MAX_TILE));
    let more = DECODER + VALUE * values + 2 * row;
    Ok(Declared::new(width.into(), height.into(), per_pixel, more))
}

fn open(bytes: &[u8]) -> Result<TiffDecoder<Cursor<&[u8]>>, PictureError> {
    check_directory(bytes)?;
    TiffDecoder::new(Cursor::new(bytes)).map_err(|cause| image_crate::error(FORMAT, cause))
}

/// Refuses a first directory that would make the decoder allocate more than
/// the picture's size explains; gives how many values it will hold.
fn check_directory(bytes: &[u8]) -> Result<u64, PictureError> {
    let mut values = 0;
    let unsupported = |reason: String| Err(PictureError::Unsupported { format: FORMAT, reason });
    let directory = Directory::first(bytes).ok_or(PictureError::Truncated { format: FORMAT })?;
    for entry in directory.entries() {
        let (tag, count, number) = (entry.tag(), entry.count(), entry.number());
        match (tag, number) {
            (tags::COMPRESSION, Some(tags::OLD_JPEG | tags::JPEG)) => {
                return unsupported("a JPEG inside a TIFF".to_owned());
            }
            (tags::PHOTOMETRIC, Some(tags::PALETTE)) => return unsupported("a palette".to_owned()),
            (tags::SAMPLES, Some(samples)) if samples > MAX_SAMPLES => {
                return unsupported(format!("{samples} samples a pixel"));
            }
            (tags::TILE_WIDTH | tags::TILE_HEIGHT, Some(side)) if side > MAX_TILE => {
                return unsupported(format!("tiles with a side of {side} pixels"));
            }
            (tag, _) if tags::READ.contains(&tag) && count > MAX_VALUES => {
                return unsupported(format!("an entry of {count} values"));
            }
            (tag, _) if tags::READ.contains(&tag) => values += u64::from(count),
            _ => {}
        }
    }
    Ok(values)
}

/// Numbers of the format's description.
mod tags {
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const OLD_JPEG: u32 = 6;
    pub(super) const JPEG: u32 = 7;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const PALETTE: u32 = 3;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const EXTRA: u16 = 338;
    pub(super) const PREMULTIPLIED: u32 = 1;
    /// The tags that the decoder reads.
    pub(super) const READ: &[u16] = &[
        254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 322, 323, 324, 325, 338,
        339, 347, 529, 530,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these entries: tag, type (3: SHORT, 4: LONG), count, value.
    fn file(entries: &[(u16, u16, u32, u32)]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for &(tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    fn refused(entry: (u16, u16, u32, u32)) -> String {
        let bytes = file(&[(256, 3, 1, 8), (257, 3, 1, 8), entry]);
        declared(&bytes).map(|_| ()).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_the_decoder_would_allocate_for_is_refused_before_it_does() {
        assert!(refused((259, 3, 1, 7)).contains("a JPEG inside a TIFF"));
        assert!(refused((262, 3, 1, 3)).contains("a palette"));
        assert!(refused((277, 3, 1, 65_535)).contains("65535 samples a pixel"));
        assert!(refused((322, 4, 1, u32::MAX)).contains("tiles with a side of 4294967295"));
        assert!(refused((273, 1, 8 << 20, 8)).contains("an entry of 8388608 values"));
    }
}
