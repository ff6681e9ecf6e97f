//! Which language a visitor reads, of those that there are.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use leptos::prelude::use_context;

/// By which a visitor chooses: a form's field, and so a part of the page's address.
pub const LANGUAGE_FIELD: &str = "language";

/// What only the server says.
const SERVERS_OWN: [&str; 4] = ["error.", "plain.", "hint.", "setting."];

tokio::task_local! {
    static CURRENT: Language;
}

/// A language that the page speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    German,
    French,
    Spanish,
    Chinese,
    Arabic,
}

/// A language's words.
struct Catalog {
    words: BTreeMap<String, String>,
    /// Those that a page carries, as JSON that may stand in HTML.
    of_page: String,
}

impl Catalog {
    fn read(json: &str) -> Self {
        // A test reads each of them.
        let words: BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_default();
        let is_pages = |key: &str| !SERVERS_OWN.iter().any(|own| key.starts_with(own));
        let of_page: BTreeMap<&String, &String> = words.iter().filter(|(key, _)| is_pages(key)).collect();
        let of_page = serde_json::to_string(&of_page)
            .unwrap_or_default()
            .replace('<', "\\u003c");
        Self { words, of_page }
    }
}

static CATALOGS: LazyLock<[Catalog; 6]> =
    LazyLock::new(|| Language::ALL.map(|language| Catalog::read(language.json())));

impl Language {
    /// As a visitor finds them in the list.
    pub const ALL: [Self; 6] = [
        Self::English,
        Self::German,
        Self::French,
        Self::Spanish,
        Self::Chinese,
        Self::Arabic,
    ];

    fn json(self) -> &'static str {
        match self {
            Self::English => include_str!("en.json"),
            Self::German => include_str!("de.json"),
            Self::French => include_str!("fr.json"),
            Self::Spanish => include_str!("es.json"),
            Self::Chinese => include_str!("zh.json"),
            Self::Arabic => include_str!("ar.json"),
        }
    }

    fn catalog(self) -> &'static Catalog {
        // In the order in which they are declared.
        &CATALOGS[self as usize]
    }

    /// Its words of this key.
    pub(super) fn find(self, key: &str) -> Option<&'static str> {
        let words = self.catalog().words.get(key);
        let words = words.or_else(|| Self::English.catalog().words.get(key));
        words.map(String::as_str)
    }

    /// The words that a page carries, as JSON that may stand in HTML.
    pub fn words_of_page(self) -> &'static str {
        &self.catalog().of_page
    }

    /// As `lang` says it, and a cookie.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Chinese => "zh",
            Self::Arabic => "ar",
        }
    }

    /// As a document says it: Chinese is written in two ways, and this is the simplified one.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-Hans",
            other => other.code(),
        }
    }

    /// Where its lines begin, as `dir` says it.
    pub fn direction(self) -> &'static str {
        if self == Self::Arabic { "rtl" } else { "ltr" }
    }

    /// What it is called in itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::French => "Français",
            Self::Spanish => "Español",
            Self::Chinese => "简体中文",
            Self::Arabic => "العربية",
        }
    }

    /// That of a tag: `de`, `de-AT`, `zh_CN`.
    pub fn parse(tag: &str) -> Option<Self> {
        let first = tag.trim().split(['-', '_']).next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|language| language.code().eq_ignore_ascii_case(first))
    }

    /// The one that a browser wishes most, of those that there are (`Accept-Language`).
    pub fn accepted(header: &str) -> Option<Self> {
        let wish = |part: &str| {
            let (tag, quality) = part.split_once(';').unwrap_or((part, "q=1"));
            let quality: f32 = quality.trim().strip_prefix("q=")?.trim().parse().ok()?;
            (quality > 0.0).then_some((Self::parse(tag)?, quality))
        };
        let wishes = header.split(',').filter_map(wish);
        // Of those that are wished alike the first.
        let best = wishes.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map(|(language, _)| language)
    }

    /// Of the request that is being answered. A page is rendered in tasks of its own, which know it by their context.
    pub fn current() -> Self {
        let of_task = CURRENT.try_with(|language| *language).ok();
        of_task.or_else(use_context::<Self>).unwrap_or_default()
    }

    /// Works for somebody who reads this language.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The same of work that waits for nothing.
    pub fn speak<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::language::t;

    #[test]
    fn the_most_wished_language_that_there_is_is_chosen() {
        let said = [
            ("de", Some(Language::German)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(Language::German)),
            ("en;q=0.5, fr ;q=0.7", Some(Language::French)),
            ("nl,zh-TW;q=0.4,en;q=0.3", Some(Language::Chinese)),
            ("AR-eg", Some(Language::Arabic)),
            ("es;q=0,en;q=0.1", Some(Language::English)),
            ("nl,*;q=0.5", None),
            ("", None),
            ("de;q=much", None),
        ];
        for (header, language) in said {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[tokio::test]
    async fn words_are_in_the_language_of_the_request() {
        assert_eq!(t("ask"), "Ask");
        let german = Language::German.scope(async { t("ask") }).await;
        assert_eq!(german, Language::German.speak(|| t("ask")));
        assert_ne!(german, "Ask");
    }

    #[test]
    fn the_words_of_a_page_may_stand_in_html_and_none_are_the_servers_own() {
        for language in Language::ALL {
            let json = language.words_of_page();
            let words: BTreeMap<String, String> = serde_json::from_str(json).expect("it is JSON");
            assert_eq!(words["language"], language.code());
            assert!(!json.contains('<'));
            assert!(!words.keys().any(|key| key.starts_with("error.")));
        }
    }
}
