//! The rooms of `src/` use each other in one direction only (docs/ARCHITECTURE.md).
//!
//! What is read are the imports and paths that begin with `crate::`, and `super::` where it
//! leads out of a room. Comments and unit tests may name what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each room may use. A new room gets a line of its own, and its place in
/// docs/ARCHITECTURE.md.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "commands",
        &[
            "server",
            "service",
            "capfilt",
            "store",
            "engine",
            "models",
            "generation",
            "processor",
            "checkpoint",
            "remote",
            "chat",
        ],
    ),
    (
        "server",
        &[
            "app",
            "api",
            "service",
            "store",
            "engine",
            "models",
            "generation",
            "processor",
            "remote",
            "chat",
        ],
    ),
    ("app", &["api"]),
    ("api", &[]),
    (
        "service",
        &["store", "engine", "models", "generation", "processor", "remote", "chat"],
    ),
    ("capfilt", &["engine", "models", "generation", "processor", "remote"]),
    ("store", &["processor", "chat"]),
    (
        "engine",
        &["models", "blip", "blip2", "generation", "processor", "chat"],
    ),
    ("models", &["blip", "blip2", "processor", "nn", "cpu", "checkpoint"]),
    ("blip", &["generation", "nn"]),
    ("blip2", &["generation", "nn", "cpu"]),
    ("generation", &[]),
    ("processor", &[]),
    ("nn", &["cpu", "checkpoint"]),
    ("cpu", &[]),
    ("checkpoint", &[]),
    ("remote", &[]),
    ("chat", &[]),
];

/// What the house still has to be rid of, each with the reason that it is there. An arrow
/// that is gone has to go from here too, so that it does not come back.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Files whose functions' bodies run on the server, though they are declared for both builds.
const SERVER_FUNCTIONS: (&str, &str, &str) = ("api/functions.rs", "api", "server");

/// From a room to another, and the places where it is written.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// The source without comments and without its unit tests, which come last in a file.
fn code(source: &str) -> String {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    let kept = lines[..tests.unwrap_or(lines.len())].iter();
    kept.filter(|line| !line.starts_with("//"))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first names of what follows `crate::`: one, or those of a group in braces.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|&c| is_name(c)).collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            other if depth == 0 => parts.last_mut().expect("there is always one").push(other),
            _ => {}
        }
    }
    parts
        .iter()
        .map(|part| name(part))
        .filter(|name| !name.is_empty())
        .collect()
}

/// The names at the crate's root that a file uses; `depth` is how many `super` lead there.
fn used(source: &str, depth: usize) -> BTreeSet<String> {
    let code = code(source);
    let begins = |at: usize| !code[..at].ends_with(|c| is_name(c) || c == ':');
    let absolute = code
        .match_indices("crate::")
        .filter(|&(at, _)| begins(at) || code[..at].ends_with('$'));
    let mut found: BTreeSet<String> = absolute
        .flat_map(|(at, word)| heads(&code[at + word.len()..]))
        .collect();
    for (at, _) in code.match_indices("super::").filter(|&(at, _)| begins(at)) {
        let mut rest = &code[at..];
        let mut steps = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, steps) = (after, steps + 1);
        }
        if steps >= depth {
            found.extend(heads(rest));
        }
    }
    found
}

/// Every Rust file below `folder`, by its path below `root`.
fn files(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            files(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(root).expect("it was found below");
            found.push(below.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// The arrows of `src/`, without those that server functions need.
fn arrows() -> Arrows {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    let rooms: BTreeSet<&str> = found
        .iter()
        .filter_map(|file| file.split_once('/'))
        .map(|(room, _)| room)
        .collect();
    let mut arrows = Arrows::new();
    for file in found
        .iter()
        .filter(|file| !file.ends_with("tests.rs") && !file.contains("/tests/"))
    {
        let Some((room, inside)) = file.split_once('/') else {
            continue; // lib.rs and main.rs list the rooms
        };
        let own = usize::from(!inside.ends_with("mod.rs"));
        let depth = 1 + inside.matches('/').count() + own;
        let source = std::fs::read_to_string(root.join(file)).expect("src can be read");
        for name in used(&source, depth) {
            let elsewhere = rooms.contains(name.as_str()) && name != room;
            if elsewhere && (file.as_str(), room, name.as_str()) != SERVER_FUNCTIONS {
                arrows
                    .entry((room.to_owned(), name))
                    .or_default()
                    .insert(format!("src/{file}"));
            }
        }
    }
    arrows
}

fn is_allowed(from: &str, to: &str) -> bool {
    ALLOWED.iter().any(|(room, uses)| *room == from && uses.contains(&to))
}

fn is_exception(from: &str, to: &str) -> bool {
    EXCEPTIONS.contains(&(from, to))
}

#[test]
fn rooms_use_only_what_is_below_them() {
    for ((from, to), places) in arrows() {
        assert!(
            is_allowed(&from, &to) || is_exception(&from, &to),
            "`{from}` may not use `{to}`, and does in {places:?}. docs/ARCHITECTURE.md says which way the arrows \
             go; a new room is to be named in ALLOWED (tests/it/import_rules.rs)."
        );
    }
}

#[test]
fn no_two_rooms_use_each_other() {
    let arrows = arrows();
    for ((from, to), places) in &arrows {
        let back = arrows.get(&(to.clone(), from.clone()));
        assert!(
            back.is_none() || is_exception(from, to) || is_exception(to, from),
            "`{from}` uses `{to}` in {places:?}, and is used by it in {back:?}."
        );
    }
    // What is allowed must not go round either, by however many rooms.
    for (room, _) in ALLOWED {
        let mut reached = BTreeSet::new();
        let mut next = vec![*room];
        while let Some(from) = next.pop() {
            let uses = ALLOWED
                .iter()
                .filter(|(name, _)| *name == from)
                .flat_map(|(_, uses)| *uses);
            next.extend(uses.copied().filter(|to| reached.insert(*to)));
        }
        assert!(
            !reached.contains(room),
            "ALLOWED lets `{room}` use itself through others."
        );
    }
}

#[test]
fn an_exception_that_is_gone_is_off_the_list() {
    let arrows = arrows();
    for (from, to) in EXCEPTIONS {
        let arrow = ((*from).to_owned(), (*to).to_owned());
        assert!(
            arrows.contains_key(&arrow),
            "`{from}` does not use `{to}` any more: take it off EXCEPTIONS in tests/it/import_rules.rs."
        );
        assert!(!is_allowed(from, to), "`{from}` may use `{to}`: it is no exception.");
    }
}

#[test]
fn imports_are_read_in_all_their_forms() {
    let source = "use crate::{api, store::{Id, Kept}, engine as e};\n// crate::commands\nuse super::super::remote::Reach;\n\
                  use super::server;\npub use crate::processor::Picture;\nfn f() { crate::app::label(\"\") }\n\
                  #[cfg(test)]\nmod tests {\n    use crate::blip2;\n}\n";
    let found: Vec<String> = used(source, 2).into_iter().collect();
    assert_eq!(found, ["api", "app", "engine", "processor", "remote", "store"]);
}
