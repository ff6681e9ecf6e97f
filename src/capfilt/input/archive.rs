//! Webdataset's shards: tar archives in which the files of a sample stand together and share their name up
//! to the first dot. As img2dataset writes them: `000000012.jpg`, `.txt` and `.json`.
//!
//! No file is written from them: names are names, and a size is believed as far as there are bytes. An
//! archive that is packed with gzip (`.tar.gz`, `.tgz`) is read from its beginning wherever a run goes on.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value};

use super::bounded::{self, is_packed};
use super::{PictureSource, ReadOptions, Sample, Take, fields_beside, unpacked_name};
use crate::capfilt::CapfiltError;
use crate::capfilt::row::Row;
use crate::processor::file_names::is_picture_ending;

/// Bytes of a text, or of what describes a sample.
const MOST_TEXT: u64 = 4 << 20;

/// Bytes of a name.
const MOST_NAME: u64 = 1 << 16;

/// Reads a shard, packed with gzip or not. Where it is damaged, what stood before is read, and a last
/// sample tells of it.
pub fn read(path: &Path, options: &ReadOptions, take: &mut Take) -> Result<(), CapfiltError> {
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(path, error);
    if is_packed(path) {
        let (content, position) = bounded::content(path)?;
        let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER, content));
        let shard = Shard {
            path,
            options,
            length: None,
        };
        let entries = archive.entries().map_err(unreadable)?;
        shard.read(entries, &mut |_| position.get(), take);
        return Ok(());
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER, file));
    let shard = Shard {
        path,
        options,
        length: Some(length),
    };
    let entries = archive.entries_with_seek().map_err(unreadable)?;
    shard.read(entries, &mut |at| at, take);
    Ok(())
}

const BUFFER: usize = 1 << 18;

struct Shard<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    /// Of the archive; not known where it is packed.
    length: Option<u64>,
}

impl Shard<'_> {
    /// `extent` says how far the file was read, by where an entry begins.
    fn read<R: Read>(&self, entries: tar::Entries<R>, extent: &mut dyn FnMut(u64) -> u64, take: &mut Take) {
        let mut group: Option<Group> = None;
        let mut long_name: Option<Vec<u8>> = None;
        let mut damage = None;
        // Raw: what describes names and sizes is read here, within limits.
        for entry in entries.raw(true) {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    damage = Some(error.to_string());
                    break;
                }
            };
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() {
                long_name = read_part(&mut entry, MOST_NAME);
                continue;
            }
            if kind.is_pax_local_extensions() {
                let header = read_part(&mut entry, MOST_NAME).unwrap_or_default();
                long_name = name_in(&header).or(long_name);
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
                && take(group.sample(), extent(begins)).is_break()
            {
                return;
            }
            let group = group.get_or_insert_with(|| Group::new(key, self.options.is_again));
            let is_cut = self.length.is_some_and(|length| begins.saturating_add(size) > length);
            group.add(
                &ending,
                &mut entry,
                size,
                if is_cut { None } else { Some(self.options.max_bytes) },
            );
            if is_cut {
                damage = Some("it ends within a file".to_owned());
                break;
            }
        }
        let end = extent(self.length.unwrap_or_default());
        if let Some(group) = group
            && take(group.sample(), end) == ControlFlow::Break(())
        {
            return;
        }
        if let Some(reason) = damage {
            self.tell(&reason, end, take);
        }
    }

    fn tell(&self, damage: &str, end: u64, take: &mut Take) {
        let name = unpacked_name(self.path);
        tracing::warn!(
            "{} is damaged, and what stands behind the damage is not read: {damage}",
            self.path.display()
        );
        let reason = format!("the archive is damaged, and nothing behind this place is read: {damage}");
        let _ = take(Sample::broken(format!("{name}.damaged"), reason), end);
    }
}

/// The bytes of an entry without the zeros behind them; none where they cannot all be read.
fn read_part<R: Read>(entry: &mut tar::Entry<R>, most: u64) -> Option<Vec<u8>> {
    let size = entry.size().min(most);
    let mut bytes = Vec::new();
    let read = entry.take(most).read_to_end(&mut bytes).ok()?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    (read as u64 == size).then_some(bytes)
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
    /// Whether what is wrong with it was told.
    is_again: bool,
}

impl Group {
    fn new(key: String, is_again: bool) -> Self {
        let leads_out = key.starts_with('/') || key.split(['/', '\\']).any(|part| part == "..");
        let picture = leads_out.then(|| PictureSource::None("its name leads out of the archive".into()));
        Self {
            key,
            picture,
            text: None,
            fields: Map::new(),
            is_again,
        }
    }

    /// `most` is for pictures, `None` where the archive ends within the file.
    fn add<R: Read>(&mut self, ending: &str, entry: &mut tar::Entry<R>, size: u64, most: Option<usize>) {
        let last = ending.rsplit('.').next().unwrap_or_default();
        match last {
            _ if is_picture_ending(last) && self.picture.is_none() => {
                self.picture = Some(picture(entry, size, most));
            }
            "txt" | "text" | "caption" if size <= MOST_TEXT => {
                let text = self.whole_part(entry);
                self.text.get_or_insert(String::from_utf8_lossy(&text).into_owned());
            }
            "json" if size <= MOST_TEXT => {
                let text = self.whole_part(entry);
                let name = || format!("{}.{ending} of a shard", self.key);
                self.fields = fields_beside(&text, name, self.is_again);
            }
            _ => {}
        }
    }

    /// A text that is not all there is none, and its picture without it says another thing.
    fn whole_part<R: Read>(&mut self, entry: &mut tar::Entry<R>) -> Vec<u8> {
        read_part(entry, MOST_TEXT).unwrap_or_else(|| {
            self.picture = Some(PictureSource::None("the archive ends within its text".into()));
            Vec::new()
        })
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
