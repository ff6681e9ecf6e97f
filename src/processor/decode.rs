//! From the bytes of a file to 8-bit RGB.
//!
//! [`Picture::decode`] gives, byte for byte, what this gives in Python with
//! Pillow 13 and transformers 5:
//!
//! ```python
//! convert_to_rgb(ImageOps.exif_transpose(Image.open(file)), return_numpy=True)
//! ```
//!
//! that is: the first frame of an animation, upright, pixels with an alpha
//! channel or a transparent colour composited over white, everything else by
//! Pillow's `convert("RGB")`. Colour profiles and gamma are not applied, there
//! as here.
//!
//! One difference is deliberate. Pillow turns a 16-bit grey into 8 bits by
//! clipping, so that everything above 255 of 65,535 is white and the picture is
//! lost. Here it is scaled: v · 255 / 65535, rounded to nearest.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::ImageFormat;
use image::metadata::Orientation;
use sha2::{Digest, Sha256};

use super::error::{HEIC, SVG};
use super::{PictureError, bmp, gif, jpeg, orientation, png, tiff, webp};

/// A decoded picture: 8-bit RGB, row by row from the top left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height * width * 3` bytes: red, green, blue of each pixel.
    pub rgb: Vec<u8>,
}

/// How large a picture may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLimits {
    /// Most bytes of the file.
    pub max_bytes: usize,
    /// Most pixels, width times height as the file declares them.
    pub max_pixels: u64,
    /// Most pixels of a side: a thin line takes as much work as a large picture.
    pub max_side: u64,
}

impl Default for PictureLimits {
    /// 32 MiB, 120 megapixels (phones take photos of 108), and the longest side that a JPEG may have.
    fn default() -> Self {
        Self {
            max_bytes: 32 << 20,
            max_pixels: 120_000_000,
            max_side: 65_535,
        }
    }
}

/// What a file's head declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declared {
    /// Width and height in pixels, as the picture is stored.
    pub(super) width: u64,
    pub(super) height: u64,
    /// Most bytes that decoding holds at a time, the decoded picture included
    /// and the file itself not.
    pub(super) decoding_bytes: u64,
}

impl Declared {
    /// Of a picture whose decoder holds so many bytes a pixel at most, the
    /// decoded picture included, and so many more whatever its size.
    pub(super) fn new(width: u64, height: u64, bytes_per_pixel: u64, more: u64) -> Self {
        let pixels = width.saturating_mul(height);
        Self {
            width,
            height,
            decoding_bytes: pixels.saturating_mul(bytes_per_pixel).saturating_add(more),
        }
    }
}

/// Bytes of a decoded pixel.
pub(super) const RGB: u64 = 3;

/// Bytes a pixel of turning a picture: the stored one and the turned one.
pub(super) const TURNING: u64 = 2 * RGB;

/// What a decoder holds besides pixels and the file's own bytes: tables, windows, rows.
pub(super) const DECODER: u64 = 2 << 20;

/// What a format's decoder returns: the pixels as they are stored, over white,
/// and which way up they are.
pub(super) struct Decoded {
    pub(super) picture: Picture,
    pub(super) orientation: Orientation,
}

impl Decoded {
    /// A picture of a format that knows no orientation.
    pub(super) fn upright(picture: Picture) -> Self {
        Self {
            picture,
            orientation: Orientation::NoTransforms,
        }
    }
}

impl Picture {
    /// Decodes a JPEG, PNG, WebP, GIF, BMP or TIFF file.
    ///
    /// # Errors
    ///
    /// A [`PictureError`] if the bytes are none of these formats, are damaged
    /// or cut short, or pass a limit. The declared size is checked before
    /// memory is allocated for it.
    pub fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Self, PictureError> {
        if bytes.len() > limits.max_bytes {
            return Err(PictureError::TooManyBytes {
                bytes: bytes.len(),
                max_bytes: limits.max_bytes,
            });
        }
        let format = format_of(bytes)?;
        guarded(format, || {
            let decoded = match format {
                ImageFormat::Jpeg => jpeg::decode(bytes, limits),
                ImageFormat::Png => png::decode(bytes, limits),
                ImageFormat::Gif => gif::decode(bytes, limits),
                ImageFormat::WebP => webp::decode(bytes, limits),
                ImageFormat::Bmp => bmp::decode(bytes, limits),
                ImageFormat::Tiff => tiff::decode(bytes, limits),
                _ => Err(PictureError::NotAPicture),
            }?;
            Ok(orientation::upright(decoded.picture, decoded.orientation))
        })
    }

    /// Width and height in pixels that the file declares, as the picture is
    /// stored: one that is to be turned may have its sides the other way round.
    /// Only the head of the file is read; nothing of the picture's size is allocated.
    ///
    /// # Errors
    ///
    /// A [`PictureError`] if the bytes are none of the formats that are read,
    /// or their head is damaged or cut short.
    pub fn declared_size(bytes: &[u8]) -> Result<(u64, u64), PictureError> {
        declared(bytes).map(|declared| (declared.width, declared.height))
    }

    /// Most bytes of memory that [`decode`](Self::decode) of this file holds at a
    /// time: the decoder's own, the decoded picture and its turned copy; not the
    /// file's bytes themselves. Nothing of the picture's size is allocated.
    ///
    /// # Errors
    ///
    /// As [`declared_size`](Self::declared_size).
    pub fn decoding_bytes(bytes: &[u8]) -> Result<u64, PictureError> {
        declared(bytes).map(|declared| declared.decoding_bytes)
    }

    /// SHA-256 over width and height, as little-endian numbers of 64 bits, and
    /// the RGB bytes: equal for pictures that look the same, whatever file they
    /// came in.
    pub fn pixel_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.width as u64).to_le_bytes());
        hash.update((self.height as u64).to_le_bytes());
        hash.update(&self.rgb);
        hash.finalize().into()
    }
}

fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    let format = format_of(bytes)?;
    guarded(format, || match format {
        ImageFormat::Jpeg => jpeg::declared(bytes),
        ImageFormat::Png => png::declared(bytes),
        ImageFormat::Gif => gif::declared(bytes),
        ImageFormat::WebP => webp::declared(bytes),
        ImageFormat::Bmp => bmp::declared(bytes),
        ImageFormat::Tiff => tiff::declared(bytes),
        _ => Err(PictureError::NotAPicture),
    })
}

/// Recognises a file by its first bytes, as one of the formats that are read.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, PictureError> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format @ (Jpeg | Png | Gif | WebP | Bmp | Tiff)) => Ok(format),
        _ => Err(other_format(bytes)),
    }
}

/// Runs a decoder on a stranger's bytes. One that panics has met a file that
/// its author did not foresee: a damaged one.
fn guarded<T>(format: ImageFormat, work: impl FnOnce() -> Result<T, PictureError>) -> Result<T, PictureError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(PictureError::Damaged {
            format: name(format),
            reason: "its decoder gave up".to_owned(),
        })
    })
}

/// The name of a format that is read.
fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => jpeg::FORMAT,
        ImageFormat::Png => png::FORMAT,
        ImageFormat::Gif => gif::FORMAT,
        ImageFormat::WebP => webp::FORMAT,
        ImageFormat::Bmp => bmp::FORMAT,
        _ => tiff::FORMAT,
    }
}

/// Names the formats that people are likely to try.
fn other_format(bytes: &[u8]) -> PictureError {
    let name = match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => film_or_still(brands),
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => "a BigTIFF picture",
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => "a JPEG XL picture",
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => "a JPEG 2000 picture",
        [0, 0, 1, 0, ..] => "an icon",
        _ if bytes.starts_with(b"FUJIFILM") => "a camera's raw file",
        [b'8', b'B', b'P', b'S', ..] => "a Photoshop document",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        _ if is_svg(bytes) => SVG,
        _ => return PictureError::NotAPicture,
    };
    PictureError::OtherFormat { name }
}

/// By the names of the kinds that a file in boxes says it is compatible with.
fn film_or_still(brands: &[u8]) -> &'static str {
    const STILLS: [&[u8]; 7] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"];
    // The first is the main one; a version comes second, and a few more names.
    let names = || brands.chunks_exact(4).take(12);
    if names().any(|name| name == b"avif" || name == b"avis") {
        "an AVIF picture"
    } else if names().any(|name| name == b"crx ") {
        "a camera's raw file"
    } else if names().any(|name| STILLS.contains(&name)) {
        HEIC
    } else {
        "a video"
    }
}

/// Whether the text begins as an SVG drawing does, behind a declaration and comments.
fn is_svg(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(1024)];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    text.starts_with(b"<") && text.windows(4).any(|name| name == b"<svg")
}

/// Checks a declared size against the limit, before anything is allocated.
///
/// Returns width and height as indices.
pub(super) fn check_size(
    format: &'static str,
    width: u64,
    height: u64,
    limits: &PictureLimits,
) -> Result<(usize, usize), PictureError> {
    let pixels = width.saturating_mul(height);
    if pixels == 0 {
        let reason = format!("it declares a size of {width} x {height} pixels");
        return Err(PictureError::Damaged { format, reason });
    }
    let too_many = PictureError::TooManyPixels {
        width,
        height,
        pixels,
        max_pixels: limits.max_pixels,
    };
    if pixels > limits.max_pixels {
        return Err(too_many);
    }
    if width.max(height) > limits.max_side {
        let max_side = limits.max_side;
        return Err(PictureError::TooLong {
            width,
            height,
            max_side,
        });
    }
    match (usize::try_from(width), usize::try_from(height)) {
        // Room for four bytes a pixel must be addressable too.
        (Ok(width), Ok(height)) if usize::try_from(pixels).is_ok_and(|pixels| pixels.checked_mul(4).is_some()) => {
            Ok((width, height))
        }
        _ => Err(too_many),
    }
}
