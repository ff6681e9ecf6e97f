//! Reading the picture that an argument names.

use std::io::Read;

use crate::blip2::processor::{Picture, PictureError, PictureLimits};

/// Why a picture argument gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureArgumentError {
    #[error("{picture} cannot be read: {reason}. Name a picture file, or - for standard input.")]
    Unreadable { picture: String, reason: String },
    #[error("{0} is an address, which Glimpse does not fetch yet. Download the picture and name the file.")]
    Address(String),
    #[error("{picture}: {error}")]
    Picture { picture: String, error: PictureError },
}

/// Reads a path, or `-` for standard input, and decodes what it holds.
pub fn open(argument: &str, limits: &PictureLimits) -> Result<Picture, PictureArgumentError> {
    if argument.starts_with("http://") || argument.starts_with("https://") {
        return Err(PictureArgumentError::Address(argument.into()));
    }
    let bytes = read(argument, limits.max_bytes).map_err(|error| PictureArgumentError::Unreadable {
        picture: argument.into(),
        reason: error.to_string(),
    })?;
    let name = if argument == "-" { "standard input" } else { argument };
    Picture::decode(&bytes, limits).map_err(|error| PictureArgumentError::Picture {
        picture: name.into(),
        error,
    })
}

/// Reads one byte more than is allowed at most: enough for the decoder to refuse it.
fn read(argument: &str, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = max_bytes as u64 + 1;
    if argument == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(argument)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
