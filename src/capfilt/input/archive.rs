//! Webdataset's shards: tar archives in which the files of a sample stand together and share their name up
//! to the first dot. As img2dataset writes them: `000000012.jpg`, `.txt` and `.json`.
//!
//! Nothing is unpacked: names are names, and a size is believed as far as there are bytes.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value};

use super::{PictureSource, Sample, Take};
use crate::capfilt::CapfiltError;
use crate::capfilt::row::Row;
use crate::processor::file_names::is_picture_ending;

/// Bytes of a text, or of what describes a sample.
const MOST_TEXT: u64 = 4 << 20;

/// Bytes of a name.
const MOST_NAME: u64 = 1 << 16;

/// Reads a shard. Where it is damaged, what stood before is read, and a last sample tells of it.
pub fn read(path: &Path, max_bytes: usize, take: &mut Take) -> Result<(), CapfiltError> {
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 18, file));
    // Raw: what describes names and sizes is read here, within limits.
    let entries = archive.entries_with_seek().map_err(unreadable)?.raw(true);
    let mut group: Option<Group> = None;
    let mut long_name: Option<Vec<u8>> = None;
    let mut damage = None;
    for entry in entries {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                damage = Some(error.to_string());
                break;
            }
        };
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            long_name = Some(read_part(&mut entry, MOST_NAME));
            continue;
        }
        if kind.is_pax_local_extensions() {
            long_name = name_in(&read_part(&mut entry, MOST_NAME)).or(long_name);
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let (size, begins) = (entry.size(), entry.raw_file_position());
        if !kind.is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let Some((key, ending)) = split(&name) else { continue };
        if group.as_ref().is_some_and(|group| group.key != key)
            && let Some(group) = group.take()
            && take(group.sample(), begins).is_break()
        {
            return Ok(());
        }
        let group = group.get_or_insert_with(|| Group::new(key));
        let is_cut = begins.saturating_add(size) > length;
        group.add(&ending, &mut entry, size, if is_cut { None } else { Some(max_bytes) });
        if is_cut {
            damage = Some("it ends within a file".to_owned());
            break;
        }
    }
    if let Some(group) = group
        && take(group.sample(), length) == ControlFlow::Break(())
    {
        return Ok(());
    }
    if let Some(reason) = damage {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        tracing::warn!(
            "{} is damaged, and what stands behind the damage is not read: {reason}",
            path.display()
        );
        let reason = format!("the archive is damaged, and nothing behind this place is read: {reason}");
        let _ = take(Sample::broken(format!("{name}.damaged"), reason), length);
    }
    Ok(())
}

fn read_part(entry: &mut impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read is no name.
    let _ = entry.take(most).read_to_end(&mut bytes);
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// The name that a pax header gives the file behind it.
fn name_in(header: &[u8]) -> Option<Vec<u8>> {
    let fields = tar::PaxExtensions::new(header).filter_map(Result::ok);
    let mut names = fields.filter(|field| field.key_bytes() == b"path");
    names.next().map(|field| field.value_bytes().to_vec())
}

/// A file's name up to the first dot behind its last slash, and what follows; hidden files, and those
/// without a dot, belong to no sample.
fn split(name: &str) -> Option<(String, String)> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    (dot > base).then(|| (name[..dot].to_owned(), name[dot + 1..].to_ascii_lowercase()))
}

/// The files of a sample.
struct Group {
    key: String,
    picture: Option<PictureSource>,
    text: Option<String>,
    fields: Map<String, Value>,
}

impl Group {
    fn new(key: String) -> Self {
        let leads_out = key.starts_with('/') || key.split(['/', '\\']).any(|part| part == "..");
        let picture = leads_out.then(|| PictureSource::None("its name leads out of the archive".into()));
        Self {
            key,
            picture,
            text: None,
            fields: Map::new(),
        }
    }

    /// `most` is for pictures, `None` where the archive ends within the file.
    fn add(&mut self, ending: &str, entry: &mut impl Read, size: u64, most: Option<usize>) {
        let last = ending.rsplit('.').next().unwrap_or_default();
        match last {
            _ if is_picture_ending(last) && self.picture.is_none() => {
                self.picture = Some(picture(entry, size, most));
            }
            "txt" | "text" | "caption" if size <= MOST_TEXT => {
                let text = String::from_utf8_lossy(&read_part(entry, MOST_TEXT)).into_owned();
                self.text.get_or_insert(text);
            }
            "json" if size <= MOST_TEXT => {
                self.fields = serde_json::from_slice(&read_part(entry, MOST_TEXT)).unwrap_or_default();
            }
            _ => {}
        }
    }

    fn sample(mut self) -> Sample {
        let told = self.fields.remove("caption");
        let told = told.and_then(|caption| caption.as_str().map(str::to_owned));
        if self.fields.get("key").and_then(Value::as_str) == Some(&self.key) {
            self.fields.remove("key");
        }
        let mut fields = Map::new();
        for (name, value) in self.fields {
            Row::take_field(&mut fields, name, value);
        }
        let none = || PictureSource::None("it has no picture in the archive".into());
        Sample {
            key: self.key,
            text: self.text.or(told).unwrap_or_default(),
            picture: self.picture.unwrap_or_else(none),
            fields,
        }
    }
}

fn picture(entry: &mut impl Read, size: u64, most: Option<usize>) -> PictureSource {
    let Some(most) = most else {
        return PictureSource::None("the archive ends within its picture".into());
    };
    if size > most as u64 {
        return PictureSource::None(format!(
            "its file has {size} bytes, and {most} are allowed (--max-upload-bytes)"
        ));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    match entry.read_to_end(&mut bytes) {
        Ok(read) if read as u64 == size => PictureSource::Bytes(bytes),
        Ok(_) => PictureSource::None("the archive ends within its picture".into()),
        Err(error) => PictureSource::None(format!("it cannot be read: {error}")),
    }
}
