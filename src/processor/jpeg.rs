//! JPEG, with mozjpeg's build of libjpeg-turbo.
//!
//! Pillow uses libjpeg-turbo with its defaults (the slow integer DCT, fancy
//! upsampling); the pure Rust decoders differ from it in up to a quarter of
//! the bytes, so the C library is worth its dependency.
//!
//! libjpeg reports errors by unwinding through its own frames: everything that
//! calls it runs inside [`catch_unwind`]. It also treats the end of the data as
//! a mere warning and paints the rest grey. [`WholeFile`] makes it an error, at
//! the point where Pillow gives up as well.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use mozjpeg::{ColorSpace, CompInfo, Decompress, Marker};

use super::decode::{DECODER, Declared, Decoded, RGB, TURNING, check_size};
use super::{Picture, PictureError, PictureLimits, orientation};

pub(super) const FORMAT: &str = "JPEG";

/// Decodes a JPEG file: baseline or progressive, grey, colour, CMYK or YCCK.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    catching(bytes, |reader| decode_unwinding(reader, bytes, limits))
}

/// What the head declares, and whether the coefficients of the whole picture will be held.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    catching(bytes, |reader| {
        let jpeg = open(reader)?;
        let (width, height) = (jpeg.width() as u64, jpeg.height() as u64);
        let mut picture = Declared::new(width, height, RGB, 0).decoding_bytes;
        if is_buffered(bytes, jpeg.components().len()) {
            picture = picture.saturating_add(coefficient_bytes(&jpeg, width, height));
        }
        if orientation::swaps_sides(orientation(&jpeg)) {
            picture = picture.max(Declared::new(width, height, TURNING, 0).decoding_bytes);
        }
        // Rows of blocks before and after upsampling, and copies of metadata.
        let more = DECODER + 512 * width + bytes.len() as u64;
        Ok(Declared {
            width,
            height,
            decoding_bytes: picture.saturating_add(more),
        })
    })
}

/// Whether libjpeg holds all coefficients before it gives out a row: of a progressive
/// picture, and of one whose first scan has not all components.
fn is_buffered(bytes: &[u8], components: usize) -> bool {
    const BASELINE: u8 = 0xc0;
    const EXTENDED: u8 = 0xc1;
    let frame = segments(bytes).find(|(code, _)| matches!(code, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf));
    let scan = segments(bytes).find(|(code, _)| *code == START_OF_SCAN);
    let sequential = matches!(frame, Some((BASELINE | EXTENDED, _)));
    let interleaved = scan.is_some_and(|(_, data)| data.first().is_some_and(|&count| usize::from(count) == components));
    !(sequential && interleaved)
}

/// Two bytes a coefficient, in whole blocks of 8 x 8 and whole groups of blocks.
fn coefficient_bytes<R>(jpeg: &Decompress<R>, width: u64, height: u64) -> u64 {
    // libjpeg gives 1 to 4; before it has checked them they may be anything.
    let factors = |component: &CompInfo| {
        (
            u64::try_from(component.h_samp_factor).unwrap_or(1).max(1),
            u64::try_from(component.v_samp_factor).unwrap_or(1).max(1),
        )
    };
    let factors: Vec<(u64, u64)> = jpeg.components().iter().map(factors).collect();
    let across = factors.iter().map(|(across, _)| *across).max().unwrap_or(1);
    let down = factors.iter().map(|(_, down)| *down).max().unwrap_or(1);
    let groups = width.div_ceil(8 * across) * height.div_ceil(8 * down);
    let blocks: u64 = factors.iter().map(|(across, down)| across * down).sum();
    groups.saturating_mul(blocks).saturating_mul(64 * 2)
}

/// Runs what calls libjpeg: its errors unwind out of it, and come back as a [`PictureError`].
fn catching<T>(bytes: &[u8], work: impl FnOnce(WholeFile) -> Result<T, PictureError>) -> Result<T, PictureError> {
    let ended = Cell::new(false);
    let reader = WholeFile {
        bytes,
        given: false,
        ended: &ended,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| work(reader)));
    let outcome = outcome.unwrap_or_else(|message| {
        let reason = message
            .downcast_ref::<String>()
            .map_or("it cannot be decoded", String::as_str);
        let reason = reason.trim_start_matches("libjpeg fatal error: ").to_owned();
        Err(PictureError::Damaged { format: FORMAT, reason })
    });
    match outcome {
        Err(PictureError::Damaged { .. }) if ended.get() => Err(PictureError::Truncated { format: FORMAT }),
        outcome => outcome,
    }
}

/// Most scans of a file, whatever its size. Progressive files have 10 to 14; each makes the
/// decoder go over the whole picture, even one that holds nothing.
const MAX_SCANS: u64 = 100;

/// Scans that a picture of any size may have.
const ORDINARY_SCANS: u64 = 14;

/// Scans times pixels, of a file with more than the ordinary number of scans: a second or two
/// of work.
const MAX_SCANNED_PIXELS: u64 = 2_000_000_000;

/// Refuses files that are made to keep the decoder busy; of `pixels` there is at least one.
fn check_scans(scans: usize, pixels: usize) -> Result<(), PictureError> {
    let most = (MAX_SCANNED_PIXELS / pixels as u64).clamp(ORDINARY_SCANS, MAX_SCANS);
    if scans as u64 > most {
        let reason = format!("{scans} scans, and at most {most} are read of {pixels} pixels");
        return Err(PictureError::Unsupported { format: FORMAT, reason });
    }
    Ok(())
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// The scans of the picture.
fn count_scans(bytes: &[u8]) -> usize {
    segments(bytes).filter(|(code, _)| *code == START_OF_SCAN).count()
}

/// Code and data of the segments before the end of the picture; what phones
/// append to it, a film or a second picture, does not count.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let at = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && begins_segment(pair[1]))?;
        let (code, after) = (rest[at + 1], rest.get(at + 2..).unwrap_or_default());
        let length = after
            .get(..2)
            .map_or(0, |pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
        let data = after.get(2..length.min(after.len())).unwrap_or_default();
        rest = after.get(length..).unwrap_or_default();
        (code != END_OF_IMAGE).then_some((code, data))
    })
}

/// Whether 0xff and this byte are a marker that a length follows (or the end):
/// neither a byte of coded data, nor a restart, nor filling.
fn begins_segment(code: u8) -> bool {
    !matches!(code, 0x00 | 0x01 | 0xd0..=0xd8 | 0xff)
}

fn damaged(error: io::Error) -> PictureError {
    PictureError::Damaged {
        format: FORMAT,
        reason: error.to_string(),
    }
}

/// Reads up to the first scan.
fn open(reader: WholeFile) -> Result<Decompress<WholeFile>, PictureError> {
    Decompress::builder()
        .with_markers(&[Marker::APP(1)])
        .from_reader(reader)
        .map_err(damaged)
}

/// Does the work; libjpeg's errors unwind out of it.
fn decode_unwinding(reader: WholeFile, bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let jpeg = open(reader)?;
    let (width, height) = check_size(FORMAT, jpeg.width() as u64, jpeg.height() as u64, limits)?;
    check_scans(count_scans(bytes), width * height)?;
    let orientation = orientation(&jpeg);
    let components = jpeg.components().len();
    let colour_space = match components {
        1 => ColorSpace::JCS_GRAYSCALE,
        3 => ColorSpace::JCS_RGB,
        4 => ColorSpace::JCS_CMYK,
        _ => {
            let reason = format!("{components} colour components");
            return Err(PictureError::Unsupported { format: FORMAT, reason });
        }
    };
    let mut started = jpeg.to_colorspace(colour_space).map_err(damaged)?;
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut row = vec![0u8; width * components];
    for _ in 0..height {
        started.read_scanlines_into(&mut row).map_err(damaged)?;
        push_rgb(&row, components, &mut rgb);
    }
    // Not `finish`: what follows the last row does not matter, to Pillow neither.
    Ok(Decoded {
        picture: Picture { width, height, rgb },
        orientation,
    })
}

fn push_rgb(row: &[u8], components: usize, rgb: &mut Vec<u8>) {
    match components {
        1 => rgb.extend(row.iter().flat_map(|&grey| [grey; 3])),
        3 => rgb.extend_from_slice(row),
        _ => rgb.extend(
            row.chunks_exact(4)
                .flat_map(|ink| cmyk_to_rgb([ink[0], ink[1], ink[2], ink[3]])),
        ),
    }
}

/// Stored CMYK to RGB, as Pillow does: it takes every CMYK JPEG to be inverted,
/// as Adobe writes them, and then mixes the inks without a colour profile.
fn cmyk_to_rgb(stored: [u8; 4]) -> [u8; 3] {
    let [cyan, magenta, yellow, black] = stored.map(|value| 255 - u32::from(value));
    let paper = 255 - black;
    [cyan, magenta, yellow].map(|ink| {
        let product = ink * paper + 128;
        // ink * paper / 255, rounded: at most `paper`, so the difference fits.
        (paper - ((product + (product >> 8)) >> 8)) as u8
    })
}

fn orientation<R>(jpeg: &Decompress<R>) -> Orientation {
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut exif: Option<Vec<u8>> = None;
    let mut xmp: Option<&[u8]> = None;
    for marker in jpeg.markers() {
        if let Some(part) = marker.data.strip_prefix(EXIF) {
            // EXIF data of more than 64 kB go on in the next marker.
            exif.get_or_insert_default().extend_from_slice(part);
        } else if let Some(text) = marker.data.strip_prefix(XMP) {
            xmp = Some(text);
        }
    }
    orientation::of_metadata(exif.as_deref(), xmp)
}

/// Hands out all bytes once; asking for more is an error, and is noted.
struct WholeFile<'a> {
    bytes: &'a [u8],
    given: bool,
    ended: &'a Cell<bool>,
}

impl BufRead for WholeFile<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given && self.bytes.is_empty() {
            self.ended.set(true);
            // Of the kind "unexpected end", mozjpeg would go on regardless.
            return Err(io::Error::other("the file ends too early"));
        }
        self.given = true;
        Ok(self.bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.bytes = self.bytes.get(amount..).unwrap_or_default();
    }
}

impl Read for WholeFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = Read::read(&mut &*self.bytes, buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A progressive file without tables or data: its frame, and so many empty scans.
    fn empty_scans(width: u16, height: u16, scans: usize) -> Vec<u8> {
        let ([w0, w1], [h0, h1]) = (width.to_be_bytes(), height.to_be_bytes());
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xc2, 0, 11, 8, h0, h1, w0, w1, 1, 1, 0x11, 0];
        for _ in 0..scans {
            bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0]);
        }
        bytes.extend([0xff, 0xd9]);
        bytes
    }

    fn refused(width: u16, height: u16, scans: usize) -> String {
        let decoded = decode(&empty_scans(width, height, scans), &PictureLimits::default());
        decoded.map(|_| ()).expect_err("it has no data").to_string()
    }

    #[test]
    fn many_scans_of_many_pixels_are_refused_before_they_are_read() {
        let sentence = refused(10_000, 10_000, 99);
        assert!(
            sentence.contains("99 scans, and at most 20 are read of 100000000 pixels"),
            "{sentence}"
        );
        // What is wrong with this one is something else.
        let sentence = refused(100, 100, 99);
        assert!(!sentence.contains("scans"), "{sentence}");
    }

    #[test]
    fn an_ordinary_progressive_file_may_have_any_size() {
        assert_eq!(check_scans(14, 108_000_000), Ok(()));
        assert_eq!(check_scans(14, 1 << 40), Ok(()));
        assert!(check_scans(15, 1 << 40).is_err());
        assert_eq!(check_scans(100, 1), Ok(()));
    }
}
