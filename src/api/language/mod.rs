//! The words of the page, in the visitor's language.
//!
//! A catalog a language, `en.json` and so on: a key and its words, with `{names}` where something is filled in.
//! What depends on a number has its forms behind a dot: `questions.one`, `questions.other`. The server has all of
//! them; a page carries its own language's as data, without what the server alone says (`error.`, `plain.`,
//! `hint.`, `setting.`), so that the WebAssembly holds no words at all.

#[cfg(feature = "ssr")]
mod choice;

#[cfg(feature = "ssr")]
pub use choice::{LANGUAGE_FIELD, Language};

/// Carries the language of the page with the page's own calls: where there are no cookies, the server would
/// answer in another one.
pub const LANGUAGE_HEADER: &str = "x-glimpse-language";

/// What the element is called that holds a page's words.
pub const WORDS_ID: &str = "words";

/// The words of this key; the key itself where there are none, which a test rules out.
pub fn t(key: &'static str) -> &'static str {
    find(key).unwrap_or(key)
}

/// The same, with what is filled in, by name.
pub fn t_with(key: &'static str, values: &[(&str, &str)]) -> String {
    fill(t(key), values)
}

/// Words that depend on a number, which they call `{count}`.
pub fn t_count(key: &'static str, count: usize, values: &[(&str, &str)]) -> String {
    let words = form(key, count);
    let number = count.to_string();
    let mut all = vec![("count", number.as_str())];
    all.extend_from_slice(values);
    fill(words.unwrap_or(key), &all)
}

/// Words of a key that is put together of what a lower room says; none where there are none. Where they depend on a
/// number, that is the value `count`.
#[cfg(feature = "ssr")]
pub fn find_with(key: &str, values: &[(&str, &str)]) -> Option<String> {
    let count = || values.iter().find(|(name, _)| *name == "count")?.1.parse().ok();
    let words = find(key).or_else(|| form(key, count()?))?;
    Some(fill(words, values))
}

/// Words in the form that a number wants.
fn form(key: &str, count: usize) -> Option<&'static str> {
    let form = |form: &str| find(&[key, ".", form].concat());
    form(plural(t("language"), count)).or_else(|| form("other"))
}

/// Words of what the server alone draws, and no browser ever draws anew: there they are left as they are.
pub fn drawn(key: &'static str) -> &'static str {
    if cfg!(feature = "ssr") { t(key) } else { "" }
}

/// In one pass, so that a value that looks like a name stays what it is.
fn fill(words: &str, values: &[(&str, &str)]) -> String {
    let (mut text, mut rest) = (String::new(), words);
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        text.push_str(before);
        text.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    text + rest
}

/// The form of words that a number wants (CLDR's cardinals, of whole numbers below a million).
fn plural(language: &str, count: usize) -> &'static str {
    match (language, count) {
        ("ar", 0) => "zero",
        ("ar", 2) => "two",
        ("ar", count) if (3..=10).contains(&(count % 100)) => "few",
        ("ar", count) if count % 100 > 10 => "many",
        ("fr", 0) | ("ar" | "de" | "en" | "es" | "fr", 1) => "one",
        _ => "other",
    }
}

/// In the language of the request that is being answered.
#[cfg(feature = "ssr")]
fn find(key: &str) -> Option<&'static str> {
    Language::current().find(key)
}

/// Among the words that the page was sent with.
#[cfg(not(feature = "ssr"))]
fn find(key: &str) -> Option<&'static str> {
    use std::collections::BTreeMap;

    thread_local! {
        static WORDS: &'static BTreeMap<String, String> = Box::leak(Box::new(read()));
    }
    fn read() -> BTreeMap<String, String> {
        let element = leptos::prelude::document().get_element_by_id(WORDS_ID);
        let json = element.and_then(|element| element.text_content()).unwrap_or_default();
        serde_json::from_str(&json).unwrap_or_default()
    }
    WORDS.with(|words| words.get(key).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_stays_what_it_is() {
        assert_eq!(fill("{a} of {b}{c}", &[("a", "{b}"), ("b", "2")]), "{b} of 2");
        assert_eq!(fill("none", &[]), "none");
        assert_eq!(fill("open {a", &[("a", "x")]), "open x");
    }

    #[test]
    fn a_number_chooses_the_form_of_its_words() {
        let forms =
            |language, counts: &[usize]| -> Vec<&str> { counts.iter().map(|count| plural(language, *count)).collect() };
        assert_eq!(forms("en", &[0, 1, 2]), ["other", "one", "other"]);
        assert_eq!(forms("fr", &[0, 1, 2]), ["one", "one", "other"]);
        assert_eq!(forms("zh", &[0, 1, 2]), ["other", "other", "other"]);
        assert_eq!(
            forms("ar", &[0, 1, 2, 3, 10, 11, 99, 100, 101, 103]),
            [
                "zero", "one", "two", "few", "few", "many", "many", "other", "other", "few"
            ]
        );
    }
}
