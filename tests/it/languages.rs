//! The catalogs of the page's words: each language has all of them, and all of them are used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LANGUAGES: [&str; 6] = ["en", "de", "fr", "es", "zh", "ar"];

/// The forms that words have which depend on a number.
const FORMS: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

type Catalog = BTreeMap<String, String>;

fn catalog(language: &str) -> Catalog {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/api/language/{language}.json"));
    let json = std::fs::read_to_string(path).expect(language);
    serde_json::from_str(&json).expect(language)
}

/// A key without the form of a number behind it.
fn base(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((base, form)) if FORMS.contains(&form) => base,
        _ => key,
    }
}

/// What is filled in.
fn names(words: &str) -> BTreeSet<&str> {
    let parts = words.split('{').skip(1);
    parts.map(|part| part.split('}').next().unwrap_or_default()).collect()
}

/// All code of the page and its server.
fn sources() -> Vec<String> {
    fn read(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                read(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("src can be read");
                // Unit tests come last in a file.
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                found.push(code.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

#[test]
fn every_language_has_the_keys_of_english_and_fills_in_the_same() {
    let english = catalog("en");
    for language in LANGUAGES {
        let words = catalog(language);
        let keys = |catalog: &Catalog| catalog.keys().map(|key| base(key).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(keys(&words), keys(&english), "{language}");
        for (key, text) in &words {
            let is_form = base(key) != key;
            let other = [base(key), ".other"].concat();
            let of_english = english.get(key).or(english.get(&other)).expect(key);
            let of_english = if is_form { &english[&other] } else { of_english };
            let (mut said, mut wanted) = (names(text), names(of_english));
            if is_form && !key.ends_with(".other") {
                // "One question" and "two questions" may be said without a figure.
                said.remove("count");
                wanted.remove("count");
            }
            assert_eq!(said, wanted, "{language}: {key}");
            assert!(!text.trim().is_empty(), "{language}: {key}");
        }
        for key in words.keys().filter(|key| base(key) != key.as_str()) {
            assert!(words.contains_key(&[base(key), ".other"].concat()), "{language}: {key}");
        }
    }
}

#[test]
fn words_may_stand_in_html() {
    for language in LANGUAGES {
        for (key, words) in catalog(language) {
            let plain = words.replace("<strong>", "").replace("</strong>", "");
            assert!(!plain.contains(['<', '&']), "{language}: {key}: {words}");
            assert_eq!(
                words.matches("<strong>").count(),
                words.matches("</strong>").count(),
                "{language}: {key}"
            );
        }
    }
}

#[test]
fn words_are_looked_up_by_keys_that_there_are() {
    let english = catalog("en");
    let keys: BTreeSet<&str> = english.keys().flat_map(|key| [key.as_str(), base(key)]).collect();
    let mut looked_up = 0;
    for source in sources() {
        for call in ["t(", "t_with(", "t_count(", "drawn("] {
            let is_end_of_name = |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
            for (at, _) in source.match_indices(call) {
                let argument = source[at + call.len()..].trim_start();
                if let Some(rest) = argument.strip_prefix('"')
                    && !is_end_of_name(&source[..at])
                    && let Some((key, _)) = rest.split_once('"')
                {
                    assert!(keys.contains(key), "{key} is in no catalog");
                    looked_up += 1;
                }
            }
        }
    }
    assert!(looked_up > 200, "{looked_up}");
}

#[test]
fn no_words_are_there_that_nobody_says() {
    let sources = sources().concat();
    for key in catalog("en").keys() {
        let key = base(key);
        let said = key
            .strip_prefix("error.detail.")
            .or_else(|| key.strip_prefix("error.word."));
        let literal = format!("\"{}\"", said.unwrap_or(key));
        assert!(sources.contains(&literal), "{key} is used nowhere");
    }
}
