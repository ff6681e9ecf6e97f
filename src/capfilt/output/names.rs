//! Keys as names of files.

use std::collections::HashSet;

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
    let parts: Vec<String> = parts.map(part).collect();
    match parts.is_empty() {
        true => "_".into(),
        false => parts.join("/"),
    }
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
    fn no_two_keys_have_the_same_name() {
        let mut names = Names::default();
        let taken = ["a.b", "a_b", "a.b", "a_b-2"].map(|key| names.take(key, Dots::None));
        assert_eq!(taken, ["a_b", "a_b-2", "a_b-3", "a_b-2-2"]);
    }
}
