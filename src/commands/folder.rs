//! The pictures of a folder, and files that are written whole or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::log::tell;
use crate::checkpoint::whole_file;
use crate::processor::file_names::{is_named_as_picture, is_named_as_raw, is_passed_over};

/// A picture that could not be used, by its path, and why.
pub struct Failure {
    pub picture: String,
    pub reason: String,
}

/// A folder that was looked through.
pub struct Folder {
    pub path: PathBuf,
    /// Its pictures' paths within it, in order, with `/` between folders on every system.
    pub pictures: Vec<String>,
    /// What could not be looked into.
    pub failures: Vec<Failure>,
    /// Cameras' raw files, which are left out.
    raw_files: usize,
    /// Files that were being written, by a process that may be gone.
    leftovers: Vec<PathBuf>,
}

impl Folder {
    /// Finds the pictures by their names, in folders within it too. Hidden files and folders are left
    /// out, those named `@eaDir`, and links to folders, which may lead round; raw files too, of which one line
    /// tells.
    ///
    /// # Errors
    /// It cannot be read, or has no pictures.
    pub fn look_through(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let cannot = |reason: &dyn std::fmt::Display| {
            format!("{shown} cannot be looked through: {reason}. Name a folder with pictures.")
        };
        if path.is_file() {
            return Err(cannot(&"it is a file"));
        }
        let mut folder = Self {
            path: path.to_owned(),
            pictures: Vec::new(),
            failures: Vec::new(),
            raw_files: 0,
            leftovers: Vec::new(),
        };
        folder.look_into("").map_err(|error| cannot(&error))?;
        folder.pictures.sort_unstable();
        let raw = folder.about_raw_files();
        if folder.pictures.is_empty() && folder.failures.is_empty() {
            let advice = raw.unwrap_or_else(|| "Name a folder with pictures.".into());
            return Err(format!(
                "{shown} has no pictures (.jpg, .png, .webp, .gif, .bmp, .tiff). {advice}"
            ));
        }
        if let Some(raw) = raw {
            tell(raw);
        }
        Ok(folder)
    }

    fn about_raw_files(&self) -> Option<String> {
        let files = match self.raw_files {
            0 => return None,
            1 => "1 raw file of a camera is".into(),
            many => format!("{many} raw files of a camera are"),
        };
        Some(format!(
            "{files} left out: only developed pictures are read. Export them as JPEG."
        ))
    }

    fn look_into(&mut self, within: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.path.join(within))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let Ok(name) = entry.file_name().into_string() else {
                let lossy = entry.file_name().to_string_lossy().into_owned();
                if !kind.is_dir() && is_named_as_picture(Path::new(&lossy)) {
                    self.fail(&join(within, &lossy), "its name is not UTF-8 text; give it another");
                }
                continue;
            };
            let place = join(within, &name);
            if kind.is_file() && is_leftover(&name) {
                self.leftovers.push(self.whole(&place));
            }
            if is_passed_over(&name) {
                continue;
            }
            if kind.is_symlink() && !self.whole(&place).is_file() {
                self.leave_out_link(&place);
                continue;
            }
            if kind.is_dir() {
                if let Err(error) = self.look_into(&place) {
                    self.fail(&place, &error.to_string());
                }
            } else if is_named_as_picture(Path::new(&name)) && (kind.is_file() || kind.is_symlink()) {
                self.pictures.push(place);
            } else if is_named_as_raw(Path::new(&name)) {
                self.raw_files += 1;
            }
        }
        Ok(())
    }

    /// A link to no file: to nothing, or to a folder, which may lead round.
    fn leave_out_link(&mut self, place: &str) {
        if self.whole(place).is_dir() {
            tracing::info!("{place} is a link to a folder, and is left out");
        } else if is_named_as_picture(Path::new(place)) {
            self.fail(place, "it is a link to nothing");
        }
    }

    fn fail(&mut self, place: &str, reason: &str) {
        self.failures.push(Failure {
            picture: self.whole(place).to_string_lossy().into_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Removes the files that runs which were killed left half written. Those of a run that goes on are locked.
    pub fn remove_leftovers(&self) {
        for path in &self.leftovers {
            let is_free = fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok());
            if is_free && let Err(error) = fs::remove_file(path) {
                tracing::debug!("{} could not be removed: {error}", path.display());
            }
        }
    }

    /// A picture's path as it can be opened.
    pub fn whole(&self, picture: &str) -> PathBuf {
        self.path.join(picture)
    }
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

/// Names what failed on standard error, a line each.
pub fn name_failures(failures: &[Failure]) {
    for Failure { picture, reason } in failures {
        // Most reasons begin with the picture's name, as one of several does.
        let line = match reason.starts_with(picture.as_str()) {
            true => reason.clone(),
            false => format!("{picture}: {reason}"),
        };
        tell(line.replace('\n', " "));
    }
}

/// How the names of files begin and end that are being written, with the number of the process between.
const PART: [&str; 2] = [".glimpse.", ".part"];

fn is_leftover(name: &str) -> bool {
    let process = name.strip_prefix(PART[0]).and_then(|rest| rest.strip_suffix(PART[1]));
    process.is_some_and(|process| process.parse::<u32>().is_ok())
}

/// Writes a file beside its place and renames it: it is whole, or what it was.
///
/// # Errors
/// The folder cannot be written to, or the disk is full.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // A name that is as long as names may be leaves no room for more letters.
    let part = path.with_file_name(format!("{}{}{}", PART[0], std::process::id(), PART[1]));
    let fill = |file: &mut BufWriter<fs::File>| {
        // Nobody takes it for a leftover; where files cannot be locked, nobody can tell.
        let _ = file.get_ref().try_lock();
        write(file)
    };
    whole_file::write_as(&part, path, fill, |error| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_in_order_and_hidden_ones_and_other_files_left_out() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let at = |name: &str| folder.path().join(name);
        for inner in ["b", "b/c", "b/@eaDir", ".hidden"] {
            fs::create_dir(at(inner)).expect("the folder is ours");
        }
        for file in [
            "z.JPG",
            "a.png",
            "b/c/d.webp",
            "notes.txt",
            ".cover.jpg",
            ".hidden/e.png",
            "b/@eaDir/a.png",
            "b.txt",
        ] {
            fs::write(at(file), "").expect("the folder is ours");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), at("round")).expect("the folder is ours");
        let found = Folder::look_through(folder.path()).map(|found| found.pictures);
        assert_eq!(found, Ok(vec!["a.png".into(), "b/c/d.webp".into(), "z.JPG".into()]));
        let empty = Folder::look_through(&at(".hidden/e.png")).map(|_| ());
        assert!(empty.is_err_and(|said| said.contains("it is a file")));
        let none = tempfile::tempdir().expect("there is a folder for tests");
        let none = Folder::look_through(none.path()).map(|_| ());
        assert!(none.is_err_and(|said| said.contains("no pictures")));
    }

    #[test]
    fn raw_files_are_counted_and_told_of() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        fs::write(folder.path().join("a.NEF"), "").expect("the folder is ours");
        let only = Folder::look_through(folder.path()).map(|_| ());
        assert!(only.is_err_and(|said| said.contains("1 raw file") && said.contains("JPEG")));
        for name in ["b.cr3", "b.jpg"] {
            fs::write(folder.path().join(name), "").expect("the folder is ours");
        }
        let found = Folder::look_through(folder.path()).expect("there is a picture");
        assert_eq!(found.pictures, ["b.jpg"]);
        let said = found.about_raw_files();
        assert!(said.is_some_and(|said| said.starts_with("2 raw files")));
    }

    #[test]
    fn what_a_run_that_was_killed_left_half_written_is_removed() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("b")).expect("the folder is ours");
        let names = [
            ".glimpse.12.part",
            "b/.glimpse.13.part",
            ".glimpse.14.part",
            ".glimpse.x.part",
            "a.png",
        ];
        for name in names {
            fs::write(at(name), "half").expect("the folder is ours");
        }
        let written = fs::File::open(at(".glimpse.14.part")).expect("it is there");
        written.try_lock().expect("nobody else has it");
        let found = Folder::look_through(folder.path()).expect("there is a picture");
        found.remove_leftovers();
        assert_eq!(names.map(|name| at(name).exists()), [false, false, true, true, true]);
        // While one is written it is locked.
        write_whole(&at("a.txt"), |file| {
            let found = Folder::look_through(folder.path()).expect("there is a picture");
            found.remove_leftovers();
            file.write_all(b"whole")
        })
        .expect("nobody took it away");
    }

    #[test]
    fn a_file_is_whole_or_what_it_was() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let path = folder.path().join("a.txt");
        write_whole(&path, |file| file.write_all(b"one")).expect("there is room");
        let failed = write_whole(&path, |file| {
            file.write_all(b"two")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).ok(), Some(b"one".to_vec()));
        let files = fs::read_dir(folder.path()).expect("it is there").count();
        assert_eq!(files, 1);
    }
}
