//! Which way up a picture is: EXIF and XMP orientation.
//!
//! Follows Pillow's `Image.getexif` and `ImageOps.exif_transpose`: the tag in
//! the first EXIF directory counts; where it has none, the first
//! `tiff:Orientation` of the XMP text does. Data that cannot be understood
//! leave the picture as it is. (`image` reads the tag too, but neither as a LONG,
//! nor behind a prefix, nor from XMP.)

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::Picture;

/// The EXIF tag "Orientation".
const ORIENTATION_TAG: u16 = 0x0112;

/// The orientation that EXIF data (a TIFF structure, with or without the
/// `Exif\0\0` prefix) and XMP text ask for.
pub fn of_metadata(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let tag = exif
        .and_then(exif_orientation)
        .or_else(|| xmp.and_then(xmp_orientation));
    tag.and_then(|tag| u8::try_from(tag).ok())
        .and_then(Orientation::from_exif)
        .unwrap_or(Orientation::NoTransforms)
}

/// Whether width and height change places.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
}

/// The picture as it is meant to be seen.
pub fn upright(picture: Picture, orientation: Orientation) -> Picture {
    let Picture { width, height, rgb } = picture;
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    // No decoder gives a side of more than 32 bits, or bytes that do not fit the sides.
    let (width, height) = sides.expect("sides fit into 32 bits");
    let stored = RgbImage::from_raw(width, height, rgb).expect("three bytes a pixel");
    let mut picture = DynamicImage::ImageRgb8(stored);
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rgb = picture.into_rgb8().into_raw();
    Picture { width, height, rgb }
}

/// Reads integers of a TIFF structure in its byte order.
#[derive(Clone, Copy)]
struct Tiff<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl<'a> Tiff<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let little_endian = match bytes.get(..4)? {
            [b'I', b'I', 42, 0] => true,
            [b'M', b'M', 0, 42] => false,
            _ => return None,
        };
        Some(Self { bytes, little_endian })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let pair: [u8; 2] = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little_endian {
            u16::from_le_bytes(pair)
        } else {
            u16::from_be_bytes(pair)
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four: [u8; 4] = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little_endian {
            u32::from_le_bytes(four)
        } else {
            u32::from_be_bytes(four)
        })
    }
}

/// The first directory of a TIFF structure.
pub(super) struct Directory<'a> {
    tiff: Tiff<'a>,
    /// Where its first entry is.
    start: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    /// `None` if the bytes are no TIFF structure, or end before the directory.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let tiff = Tiff::open(bytes)?;
        let directory = usize::try_from(tiff.u32(4)?).ok()?;
        let entries = tiff.u16(directory)?.into();
        let start = directory.checked_add(2)?;
        Some(Self { tiff, start, entries })
    }

    /// The entries that are whole.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        const ENTRY: usize = 12;
        let entries = self.tiff.bytes.get(self.start..).unwrap_or_default();
        let entries = entries.chunks_exact(ENTRY).take(self.entries);
        entries.map(|bytes| Entry(Tiff { bytes, ..self.tiff }))
    }

    /// The value of a tag, if it is a single whole number. Of two entries with the tag the
    /// later one counts, as in a dictionary.
    pub(super) fn number(&self, tag: u16) -> Option<u32> {
        let entries = self.entries().filter(|entry| entry.tag() == tag);
        entries.filter_map(|entry| entry.number()).last()
    }
}

/// An entry of a directory: twelve bytes.
pub(super) struct Entry<'a>(Tiff<'a>);

impl Entry<'_> {
    pub(super) fn tag(&self) -> u16 {
        self.0.u16(0).unwrap_or_default()
    }

    /// How many values it has.
    pub(super) fn count(&self) -> u32 {
        self.0.u32(4).unwrap_or_default()
    }

    /// The value, if it is a single whole number.
    pub(super) fn number(&self) -> Option<u32> {
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        if self.count() != 1 {
            return None;
        }
        match self.0.u16(2)? {
            SHORT => self.0.u16(8).map(u32::from),
            LONG => self.0.u32(8),
            _ => None,
        }
    }
}

fn exif_orientation(exif: &[u8]) -> Option<u32> {
    let mut bytes = exif;
    // Some writers put the prefix twice; Pillow takes off up to two.
    for _ in 0..2 {
        bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
    }
    Directory::first(bytes)?.number(ORIENTATION_TAG)
}

/// The digit after the first `tiff:Orientation="` or `tiff:Orientation>`.
fn xmp_orientation(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut rest = xmp;
    while let Some(found) = rest.windows(NAME.len()).position(|window| window == NAME) {
        rest = &rest[found + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"));
        if let Some(digit) = value
            .and_then(|value| value.first())
            .filter(|byte| byte.is_ascii_digit())
        {
            return Some(u32::from(digit - b'0'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Pictures of up to 9 x 9 pixels.
    fn pictures() -> impl Strategy<Value = Picture> {
        (1usize..10, 1usize..10).prop_flat_map(|(width, height)| {
            vec(any::<u8>(), width * height * 3).prop_map(move |rgb| Picture { width, height, rgb })
        })
    }

    fn numbered(number: u8) -> Orientation {
        Orientation::from_exif(number).expect("it is one of the eight")
    }

    /// Where EXIF's number says that the stored picture's pixel (`x`, `y`) is to be seen.
    fn seen_at(number: u8, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
        let (right, down) = (width - 1 - x, height - 1 - y);
        match number {
            2 => (right, y),
            3 => (right, down),
            4 => (x, down),
            5 => (y, x),
            6 => (down, x),
            7 => (down, right),
            8 => (y, right),
            _ => (x, y),
        }
    }

    proptest! {
        #[test]
        fn every_pixel_comes_to_where_the_number_says(picture in pictures(), number in 1u8..=8) {
            let turned = upright(picture.clone(), numbered(number));
            let sides = if swaps_sides(numbered(number)) {
                (picture.height, picture.width)
            } else {
                (picture.width, picture.height)
            };
            prop_assert_eq!((turned.width, turned.height), sides);
            for y in 0..picture.height {
                for x in 0..picture.width {
                    let (to_x, to_y) = seen_at(number, x, y, picture.width, picture.height);
                    let from = &picture.rgb[(y * picture.width + x) * 3..][..3];
                    prop_assert_eq!(from, &turned.rgb[(to_y * turned.width + to_x) * 3..][..3]);
                }
            }
        }

        #[test]
        fn turning_back_gives_the_picture(picture in pictures(), number in 1u8..=8) {
            // Quarter turns are each other's way back, all others their own.
            let back = match number {
                6 => 8,
                8 => 6,
                other => other,
            };
            let turned = upright(upright(picture.clone(), numbered(number)), numbered(back));
            prop_assert_eq!(turned, picture);
        }
    }
}
