//! A folder of pictures with their texts in files beside them: `a.jpg`, `a.txt` or `a.caption`, and
//! `a.json` as img2dataset writes it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{PictureSource, ReadOptions, Sample, Take, fields_beside};
use crate::capfilt::CapfiltError;
use crate::capfilt::row::Row;
use crate::processor::file_names::{is_named_as_picture, is_passed_over};

/// Bytes of a text's file that are read.
const MOST_TEXT: u64 = 1 << 20;

/// Folders within folders, at most.
const DEPTH: usize = 64;

/// How many pictures there are.
pub fn count(root: &Path) -> u64 {
    let mut count = 0;
    let _ = walk(root, 0, &mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

/// Reads all pictures below a folder, in the order of their names.
pub fn read(root: &Path, options: &ReadOptions, take: &mut Take) -> Result<(), CapfiltError> {
    let mut place = 0;
    let _ = walk(root, 0, &mut |path| {
        place += 1;
        take(sample(root, path, options), place)
    })?;
    Ok(())
}

/// A folder's names are held, and those above it: never all.
fn walk(
    folder: &Path,
    depth: usize,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, CapfiltError> {
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(folder, error);
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        let is_passed_over = is_passed_over(&entry.file_name().to_string_lossy());
        if !is_passed_over && (is_folder || is_named_as_picture(&entry.path())) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    for path in paths {
        let flow = if !path.is_dir() {
            each(&path)
        } else if depth < DEPTH {
            walk(&path, depth + 1, each)?
        } else {
            ControlFlow::Continue(())
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn sample(root: &Path, path: &Path, options: &ReadOptions) -> Sample {
    let below = path.strip_prefix(root).unwrap_or(path);
    let name = |path: &Path| path.to_string_lossy().replace('\\', "/");
    let mut fields = Map::new();
    let mut described = described(path, options);
    let told = described
        .remove("caption")
        .and_then(|caption| caption.as_str().map(str::to_owned));
    for (field, value) in described {
        Row::take_field(&mut fields, field, value);
    }
    fields.insert("image".into(), name(below).into());
    let beside = |ending: &str| read_text(&path.with_extension(ending));
    let text = beside("txt").or_else(|| beside("caption")).or(told);
    Sample {
        key: name(&below.with_extension("")),
        text: text.unwrap_or_default(),
        picture: PictureSource::File(path.to_path_buf()),
        fields,
    }
}

fn described(path: &Path, options: &ReadOptions) -> Map<String, Value> {
    let path = path.with_extension("json");
    let Some(text) = read_text(&path) else {
        return Map::new();
    };
    fields_beside(text.as_bytes(), || path.display().to_string(), options.is_again)
}

/// A text without the line's end that editors put there.
fn read_text(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MOST_TEXT)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(
        text.trim_start_matches('\u{feff}')
            .trim_end_matches(['\n', '\r'])
            .to_owned(),
    )
}
