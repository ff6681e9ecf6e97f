//! What can be wrong with a picture, or with the description of how to process one.

use thiserror::Error;

/// Why bytes could not be turned into a [`Picture`](super::Picture).
///
/// Each message is a sentence for the person who chose the file: what was
/// wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PictureError {
    /// Nothing was sent.
    #[error("The file is empty. Choose a picture file.")]
    Empty,
    /// None of the formats that are read, and not one that is recognised.
    #[error("This is not a picture that can be read here. Choose a JPEG, PNG, WebP, GIF, BMP or TIFF file.")]
    NotAPicture,
    /// Recognised, but not one of the formats that are read.
    #[error(
        "This is {name}, which cannot be read here. Save it as JPEG or PNG and choose that file.{}",
        advice(name)
    )]
    OtherFormat {
        /// What the file seems to be, with its article: "a HEIC picture".
        name: &'static str,
    },
    /// The file ends before the picture does.
    #[error("The {format} file ends too early: part of the picture is missing. Download or copy it again.")]
    Truncated {
        /// The format's name.
        format: &'static str,
    },
    /// The file breaks its format's rules.
    #[error("The {format} file is damaged ({reason}). Download it again, or save it anew as JPEG or PNG.")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A correct file, of a variety that is not read.
    #[error("This variety of {format} cannot be read here ({reason}). Save the picture as an ordinary JPEG or PNG.")]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// Which variety it is.
        reason: String,
    },
    /// The file is larger than [`PictureLimits::max_bytes`](super::PictureLimits::max_bytes).
    #[error("The file has {bytes} bytes, and at most {max_bytes} are accepted. Choose a smaller file.")]
    TooManyBytes {
        /// The file's size.
        bytes: usize,
        /// The limit that it passes.
        max_bytes: usize,
    },
    /// The picture has more pixels than [`PictureLimits::max_pixels`](super::PictureLimits::max_pixels).
    #[error(
        "The picture is {width} x {height} = {pixels} pixels, and at most {max_pixels} are accepted. Make it smaller."
    )]
    TooManyPixels {
        /// Declared width in pixels.
        width: u64,
        /// Declared height in pixels.
        height: u64,
        /// Their product.
        pixels: u64,
        /// The limit that it passes.
        max_pixels: u64,
    },
    /// A side is longer than [`PictureLimits::max_side`](super::PictureLimits::max_side).
    #[error("The picture is {width} x {height} pixels, and a side may have at most {max_side}. Make it smaller.")]
    TooLong {
        /// Declared width in pixels.
        width: u64,
        /// Declared height in pixels.
        height: u64,
        /// The limit that it passes.
        max_side: u64,
    },
}

/// What a HEIC file is called.
pub const HEIC: &str = "a HEIC picture";

/// What an SVG drawing is called.
pub const SVG: &str = "an SVG drawing";

/// More for what people put in without having chosen its format.
fn advice(name: &str) -> &'static str {
    match name {
        HEIC => {
            " An iPhone takes JPEG photos with Settings > Camera > Formats > Most Compatible, and a screenshot of \
             the photo will do."
        }
        SVG => " A screenshot of it will do.",
        _ => "",
    }
}

/// Why a checkpoint's description of its picture processing cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProcessorError {
    /// The file holds something other than a JSON object.
    #[error("The picture processor's configuration is not a JSON object.")]
    NotAnObject,
    /// A key has a value that cannot be used.
    #[error("The picture processor's configuration says \"{key}\": {value}, and has to say {expected} there.")]
    Value {
        /// The key in the file.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
}
