//! Which files are pictures by their names, those of formats too that are not read, so that they are told of.

use std::path::Path;

/// How the names of pictures end.
const ENDINGS: [&str; 13] = [
    "jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jxl",
];

/// How those of formats that are not read end.
const NOT_READ: [&str; 4] = ["avif", "heic", "heif", "jxl"];

/// How those of cameras' raw files end, which mostly lie beside a JPEG of the same shot.
const RAW: [&str; 13] = [
    "3fr", "arw", "cr2", "cr3", "dng", "iiq", "nef", "nrw", "orf", "pef", "raf", "rw2", "srw",
];

/// Whether a file or a folder is passed over when a folder is looked through: it is hidden, or holds the small
/// copies of pictures that Synology's systems put beside them.
pub fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name == "@eaDir"
}

/// Whether a picture's name ends as those of formats do that are read.
pub fn is_of_a_format_that_is_read(path: &Path) -> bool {
    !ends_as(path, &NOT_READ)
}

/// Whether a file's name ends as those of cameras' raw files do, none of which is read.
pub fn is_named_as_raw(path: &Path) -> bool {
    ends_as(path, &RAW)
}

/// Whether the names of pictures end so.
pub fn is_picture_ending(ending: &str) -> bool {
    is_among(ending, &ENDINGS)
}

/// Whether a file's name ends as a picture's does.
pub fn is_named_as_picture(path: &Path) -> bool {
    ends_as(path, &ENDINGS)
}

fn ends_as(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| is_among(ending, endings))
}

fn is_among(ending: &str, endings: &[&str]) -> bool {
    endings.iter().any(|known| ending.eq_ignore_ascii_case(known))
}
