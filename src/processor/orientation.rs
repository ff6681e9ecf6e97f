//! Which way up a picture is: EXIF and XMP orientation, and the eight turns.
//!
//! Follows Pillow's `Image.getexif` and `ImageOps.exif_transpose`: the tag in
//! the first EXIF directory counts; where it has none, the first
//! `tiff:Orientation` of the XMP text does. Data that cannot be understood
//! leave the picture as it is.

use super::Picture;

/// The EXIF tag "Orientation".
const ORIENTATION_TAG: u16 = 0x0112;

/// How to turn a stored picture to see it upright; the EXIF numbers 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright,
    /// 2: mirrored left to right.
    FlipLeftRight,
    /// 3: turned by 180 degrees.
    Rotate180,
    /// 4: mirrored top to bottom.
    FlipTopBottom,
    /// 5: mirrored along the main diagonal.
    Transpose,
    /// 6: to be turned 90 degrees clockwise.
    Rotate90Clockwise,
    /// 7: mirrored along the other diagonal.
    Transverse,
    /// 8: to be turned 90 degrees anticlockwise.
    Rotate90Anticlockwise,
}

impl Orientation {
    /// The orientation that EXIF data (a TIFF structure, with or without the
    /// `Exif\0\0` prefix) and XMP text ask for.
    pub fn from_metadata(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let tag = exif
            .and_then(exif_orientation)
            .or_else(|| xmp.and_then(xmp_orientation));
        tag.map_or(Self::Upright, Self::from_number)
    }

    fn from_number(number: u32) -> Self {
        match number {
            2 => Self::FlipLeftRight,
            3 => Self::Rotate180,
            4 => Self::FlipTopBottom,
            5 => Self::Transpose,
            6 => Self::Rotate90Clockwise,
            7 => Self::Transverse,
            8 => Self::Rotate90Anticlockwise,
            _ => Self::Upright,
        }
    }

    pub(super) fn swaps_sides(self) -> bool {
        matches!(
            self,
            Self::Transpose | Self::Rotate90Clockwise | Self::Transverse | Self::Rotate90Anticlockwise
        )
    }

    /// The picture as it is meant to be seen.
    pub fn apply(self, picture: Picture) -> Picture {
        if self == Self::Upright {
            return picture;
        }
        let Picture { width, height, rgb } = picture;
        let (new_width, new_height) = if self.swaps_sides() {
            (height, width)
        } else {
            (width, height)
        };
        let mut turned = Vec::with_capacity(rgb.len());
        for y in 0..new_height {
            for x in 0..new_width {
                let (source_x, source_y) = self.source(x, y, width, height);
                let start = (source_y * width + source_x) * 3;
                turned.extend_from_slice(&rgb[start..start + 3]);
            }
        }
        Picture {
            width: new_width,
            height: new_height,
            rgb: turned,
        }
    }

    /// Where the pixel at (`x`, `y`) of the turned picture lies in the stored
    /// one, which is `width` by `height`.
    fn source(self, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::Upright => (x, y),
            Self::FlipLeftRight => (width - 1 - x, y),
            Self::Rotate180 => (width - 1 - x, height - 1 - y),
            Self::FlipTopBottom => (x, height - 1 - y),
            Self::Transpose => (y, x),
            Self::Rotate90Clockwise => (y, height - 1 - x),
            Self::Transverse => (width - 1 - y, height - 1 - x),
            Self::Rotate90Anticlockwise => (width - 1 - y, x),
        }
    }
}

/// Reads integers of a TIFF structure in its byte order.
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

    /// The value of a directory entry that holds a single whole number.
    fn number(&self, entry: usize) -> Option<u32> {
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        if self.u32(entry + 4)? != 1 {
            return None;
        }
        match self.u16(entry + 2)? {
            SHORT => self.u16(entry + 8).map(u32::from),
            LONG => self.u32(entry + 8),
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
    let tiff = Tiff::open(bytes)?;
    let directory = usize::try_from(tiff.u32(4)?).ok()?;
    let entries = usize::from(tiff.u16(directory)?);
    (0..entries)
        .filter_map(|index| directory.checked_add(2 + index * 12))
        .take_while(|&entry| entry < bytes.len())
        .filter(|&entry| tiff.u16(entry) == Some(ORIENTATION_TAG))
        // Of two entries with the tag, the later one counts, as in a dictionary.
        .filter_map(|entry| tiff.number(entry))
        .last()
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
