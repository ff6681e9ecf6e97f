//! Keys as names of files.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::models::hex;

/// Bytes of a name between slashes: file systems allow 255, and a number and an ending stand behind it.
const MOST_PART: usize = 224;

/// Bytes of a whole name: systems allow 4096 with the folders that it is put into.
const MOST_NAME: usize = 1024;

/// Gives each key a name of its own.
#[derive(Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// The name of a key, below where it is put; of a key that came before, with a number behind it.
    pub fn take(&mut self, key: &str, dots: Dots) -> String {
        let name = name_of(key, dots);
        let numbered = (2u64..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !self.0.contains(name));
        // There are more numbers than keys.
        let name = free.unwrap_or(name);
        self.0.insert(name.clone());
        name
    }
}

/// Whether names have dots.
#[derive(Clone, Copy, PartialEq)]
pub enum Dots {
    /// A name ends at its first dot, in webdataset's shards.
    None,
    /// But at the beginning, where they hide a file.
    Within,
}

fn name_of(key: &str, dots: Dots) -> String {
    let parts = key.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    let part = |part: &str| {
        let part = part.replace('\0', "_");
        match (dots, part.strip_prefix('.')) {
            (Dots::None, _) => part.replace('.', "_"),
            (Dots::Within, Some(rest)) => format!("_{rest}"),
            (Dots::Within, None) => part,
        }
    };
    let parts: Vec<String> = parts.map(|name| short(part(name))).collect();
    match parts.is_empty() {
        true => "_".into(),
        false if parts.len() - 1 + parts.iter().map(String::len).sum::<usize>() > MOST_NAME => short(parts.join("_")),
        false => parts.join("/"),
    }
}

/// A name that is too long as its beginning with a hash of it all, so that it stays another one than others
/// which begin alike.
fn short(name: String) -> String {
    if name.len() <= MOST_PART {
        return name;
    }
    let hash = hex(&Sha256::digest(&name)[..8]);
    let end = name.floor_char_boundary(MOST_PART - hash.len() - 1);
    format!("{}-{hash}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_where_it_is_put() {
        for (key, without, within) in [
            ("000000012", "000000012", "000000012"),
            ("a/b.c", "a/b_c", "a/b.c"),
            ("../../etc/passwd", "etc/passwd", "etc/passwd"),
            ("/etc/x", "etc/x", "etc/x"),
            ("..\\..\\x", "x", "x"),
            ("a/.x", "a/_x", "a/_x"),
            ("..", "_", "_"),
        ] {
            assert_eq!(
                (name_of(key, Dots::None).as_str(), name_of(key, Dots::Within).as_str()),
                (without, within)
            );
        }
    }

    #[test]
    fn a_key_that_is_longer_than_names_may_be_is_cut_and_stays_its_own() {
        let chinese = "狗".repeat(120);
        let keys = [
            "k".repeat(300),
            "k".repeat(301),
            format!("a/{chinese}"),
            format!("a/{chinese}猫"),
            "deep/".repeat(1000),
        ];
        let taken = keys.clone().map(|key| Names::default().take(&key, Dots::Within));
        for (key, name) in keys.iter().zip(&taken) {
            assert!(name.split('/').all(|part| part.len() <= MOST_PART), "{name}");
            assert!(name.len() <= MOST_NAME, "{name}");
            assert_eq!(&Names::default().take(key, Dots::Within), name, "the same every time");
        }
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), keys.len());
        assert!(taken[2].starts_with("a/狗狗"), "{}", taken[2]);
        let fits = "k".repeat(MOST_PART);
        assert_eq!(Names::default().take(&fits, Dots::None), fits);
    }

    #[test]
    fn no_two_keys_have_the_same_name() {
        let mut names = Names::default();
        let taken = ["a.b", "a_b", "a.b", "a_b-2"].map(|key| names.take(key, Dots::None));
        assert_eq!(taken, ["a_b", "a_b-2", "a_b-3", "a_b-2-2"]);
    }
}
