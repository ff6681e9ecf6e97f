//! The page's rooms in `src/app` use each other in one direction only, and no files go round
//! in a circle: components -> actions -> {browser, state} -> `crate::api`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rooms of the page, and what each may use of the others.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("state", &[]),
    ("browser", &[]),
    ("actions", &["state", "browser"]),
    ("components", &["state", "browser", "actions"]),
    ("document", &[]),
];

/// The files below `src/app` by the path of their module, `a::b`; the root is the empty path.
fn modules(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("src/app can be read") {
        let path = entry.expect("src/app can be read").path();
        if path.is_dir() {
            modules(root, &path, found);
        } else {
            let below = path.strip_prefix(root).expect("it was found below").with_extension("");
            let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let parts = parts.iter().map(String::as_str).filter(|part| *part != "mod");
            let source = std::fs::read_to_string(&path).expect("src/app can be read");
            found.insert(parts.collect::<Vec<_>>().join("::"), source);
        }
    }
}

/// The source without comments and unit tests, which come last in a file.
fn code(source: &str) -> String {
    let lines = source
        .lines()
        .map(str::trim)
        .take_while(|line| *line != "#[cfg(test)]" && *line != "mod tests {");
    lines
        .filter(|line| !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The paths that a text of imports names, its groups in braces written out.
fn paths(text: &str) -> Vec<String> {
    let Some(open) = text.find('{') else {
        return vec![text.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let (mut depth, mut start, mut parts) = (0, open + 1, Vec::new());
    for (at, character) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => {
                parts.push(&text[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| paths(&[&text[..open], part].concat())).collect()
}

/// The modules of `src/app` that a module's code names.
fn used(module: &str, source: &str, all: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code = code(source);
    let mut found = BTreeSet::new();
    let mut name = |path: &str| {
        // Imports name a module or something in it; the longest that there is counts.
        let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
        while !parts.is_empty() && !all.contains_key(&parts.join("::")) {
            parts.pop();
        }
        found.insert(parts.join("::"));
    };
    let parents: Vec<&str> = module.split("::").collect();
    let imports = code.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
    let inline = code
        .split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':'))
        .map(str::to_owned);
    for path in imports.flat_map(paths).chain(inline) {
        let path = path.trim_start_matches("self::");
        let child = [module, "::", path].concat();
        if let Some(rest) = path.strip_prefix("crate::app::") {
            name(rest);
        } else if path.starts_with("super::") {
            let ups = path.matches("super::").count();
            let kept = parents.len().saturating_sub(ups);
            name(
                &[&parents[..kept], &[path.trim_start_matches("super::")]]
                    .concat()
                    .join("::"),
            );
        } else if path.contains("::")
            && all
                .keys()
                .any(|other| child.starts_with(&[other, "::"].concat()) && other.starts_with(&[module, "::"].concat()))
        {
            name(&child);
        }
    }
    found.remove(module);
    found
}

/// What each file uses.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app");
    let mut all = BTreeMap::new();
    modules(&root, &root, &mut all);
    assert!(all.len() > 20, "the page has more files than {}", all.len());
    all.iter()
        .map(|(module, source)| (module.clone(), used(module, source, &all)))
        .collect()
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

#[test]
fn the_pages_rooms_use_only_what_is_below_them() {
    for (module, uses) in arrows() {
        let from = room(&module);
        if from.is_empty() {
            continue; // src/app/mod.rs lists the rooms
        }
        let allowed = ALLOWED.iter().find(|(room, _)| *room == from);
        let allowed = allowed
            .unwrap_or_else(|| panic!("src/app/{from} is named in no line of ALLOWED"))
            .1;
        for to in uses.iter().map(|to| room(to)).filter(|to| *to != from) {
            assert!(allowed.contains(&to), "src/app: `{module}` may not use `{to}`.");
        }
    }
}

#[test]
fn no_files_of_the_page_go_round_in_a_circle() {
    let arrows = arrows();
    for start in arrows.keys().filter(|module| !module.is_empty()) {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = arrows[start].iter().collect();
        while let Some(module) = next.pop() {
            if reached.insert(module)
                && let Some(uses) = arrows.get(module)
            {
                next.extend(uses);
            }
        }
        assert!(
            !reached.contains(start),
            "src/app: `{start}` uses itself by way of {reached:?}."
        );
    }
}

#[test]
fn imports_are_read_in_all_their_forms() {
    let all = [
        "",
        "actions",
        "actions::ask",
        "actions::follow",
        "state",
        "state::turn",
        "browser",
        "browser::time",
    ];
    let all: BTreeMap<String, String> = all.map(|module| (module.to_owned(), String::new())).into();
    let of = |module: &str, source: &str| used(module, source, &all).into_iter().collect::<Vec<_>>().join(" ");
    let source = "use super::follow::{follow, catch_up};\nuse crate::app::browser::{self, time::{now, sleep}};\n\
                  // use super::stop\nfn f() { crate::app::state::State::new() }\n\
                  #[cfg(test)]\nmod tests {\n use crate::app::state::turn; }";
    assert_eq!(
        of("actions::ask", source),
        "actions::follow browser browser::time state"
    );
    assert_eq!(of("state", "mod turn;\npub use turn::LiveTurn;"), "state::turn");
    assert_eq!(of("state::turn", "use super::State;\nuse crate::api::Turn;"), "state");
}
