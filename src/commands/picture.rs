//! Reading the picture that an argument names.

use std::ffi::OsStr;
use std::io::Read;

use clap::Args;

use super::number_args::{bytes, whole};
use crate::processor::{Picture, PictureError, PictureLimits};
use crate::remote::{FetchLimits, Fetcher, Reach, RemoteError, address, is_address};

/// How large a picture may be, under the names that `serve` has for it.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub struct PictureLimitArgs {
    /// Bytes of a picture's file, as in 50MB
    #[arg(long, env = "GLIMPSE_MAX_UPLOAD_BYTES", default_value_t = PictureLimits::default().max_bytes,
          value_name = "SIZE", allow_negative_numbers = true, value_parser = bytes::<usize>(1..=1 << 40))]
    max_upload_bytes: usize,

    /// Pixels of a picture, width times height
    #[arg(long, env = "GLIMPSE_MAX_PIXELS", default_value_t = PictureLimits::default().max_pixels,
          value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=1 << 40))]
    max_pixels: u64,
}

impl PictureLimitArgs {
    pub fn limits(&self) -> PictureLimits {
        PictureLimits {
            max_bytes: self.max_upload_bytes,
            max_pixels: self.max_pixels,
            ..PictureLimits::default()
        }
    }
}

/// Why a picture argument gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureArgumentError {
    #[error("{picture} cannot be read: {reason}. Name a picture file, an http(s) address, or - for standard input.")]
    Unreadable { picture: String, reason: String },
    #[error("{address}: {error}")]
    Address { address: String, error: RemoteError },
    #[error(
        "{picture}: The file has {bytes} bytes, and at most {max_bytes} are accepted. Choose a smaller file, or allow it with --max-upload-bytes."
    )]
    TooManyBytes {
        picture: String,
        bytes: u64,
        max_bytes: usize,
    },
    #[error("{picture}: {error}{}", way_out(error))]
    Picture { picture: String, error: PictureError },
}

/// What helps somebody who sets the limits himself.
fn way_out(error: &PictureError) -> &'static str {
    match error {
        PictureError::TooManyBytes { .. } => " Or allow it with --max-upload-bytes.",
        PictureError::TooManyPixels { .. } => " Or allow it with --max-pixels.",
        _ => "",
    }
}

/// Reads a path, an http(s) address, or `-` for standard input, and decodes what it holds.
pub fn open(argument: &OsStr, limits: &PictureLimits) -> Result<Picture, PictureArgumentError> {
    let name = match argument.to_string_lossy() {
        name if name == "-" => "standard input".into(),
        // Whatever becomes of it, a password is not repeated.
        name if name.contains("://") => address::shown(&name),
        name => name.into_owned(),
    };
    let file = std::fs::metadata(argument)
        .ok()
        .filter(|file| file.is_file() && argument != "-");
    if let Some(file) = file.filter(|file| file.len() > limits.max_bytes as u64) {
        return Err(PictureArgumentError::TooManyBytes {
            picture: name,
            bytes: file.len(),
            max_bytes: limits.max_bytes,
        });
    }
    let bytes = match argument.to_str().filter(|text| is_address(text)) {
        Some(address) => fetch(address, limits.max_bytes).map_err(|error| PictureArgumentError::Address {
            address: name.clone(),
            error,
        })?,
        None => read(argument, limits.max_bytes).map_err(|error| PictureArgumentError::Unreadable {
            picture: name.clone(),
            reason: error.to_string(),
        })?,
    };
    Picture::decode(&bytes, limits).map_err(|error| PictureArgumentError::Picture { picture: name, error })
}

/// Whoever asks in a terminal is at his own machine, and may reach what it can.
fn fetch(address: &str, max_bytes: usize) -> Result<Vec<u8>, RemoteError> {
    Fetcher::new(Reach::Anywhere, FetchLimits::new(max_bytes)).fetch(address)
}

/// Reads one byte more than is allowed at most: enough for the decoder to refuse it.
fn read(argument: &OsStr, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = max_bytes as u64 + 1;
    if argument == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(argument)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
