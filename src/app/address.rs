//! The page's addresses: `/` is empty, `/c/ID` a conversation.
//!
//! In the browser the page reads and writes the address itself; a router would
//! be a quarter of the download, for one view.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsValue;

use crate::api::ConversationId;

/// The conversation that a path names.
pub fn conversation(path: &str) -> Option<ConversationId> {
    path.strip_prefix("/c/")
        .filter(|id| !id.is_empty())
        .map(|id| ConversationId(id.to_owned()))
}

/// Whether a text is the address of something on the web, and nothing else.
pub fn is_web(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !text.contains(char::is_whitespace))
}

/// The address that a dragged link or page stands for, or a dragged text that is one. `read`
/// gives what the browser carries in a format; nothing is the empty text.
pub fn dragged(read: impl Fn(&str) -> String) -> Option<String> {
    // Firefox has a format of its own, with the page's title in the second line.
    let links = ["text/uri-list", "text/x-moz-url"].map(|format| {
        let list = read(format);
        let mut lines = list.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        first.unwrap_or_default().to_owned()
    });
    let text = read("text/plain").trim().to_owned();
    links.into_iter().chain([text]).find(|text| is_web(text))
}

/// The path of a conversation, or of the empty page.
fn path(conversation: Option<&ConversationId>) -> String {
    conversation.map_or_else(|| "/".to_owned(), |id| ["/c/", &id.0].concat())
}

/// The path of the page that is being rendered.
#[cfg(feature = "ssr")]
pub fn current() -> String {
    let url = use_context::<leptos_router::location::RequestUrl>();
    url.and_then(|url| url.parse().ok())
        .map(|url| url.path().to_owned())
        .unwrap_or_default()
}

/// Where the browser is.
#[cfg(not(feature = "ssr"))]
pub fn current() -> String {
    window().location().pathname().unwrap_or_default()
}

/// Goes to a conversation's address, so that Back leads to where the visitor was.
pub fn go(conversation: Option<&ConversationId>) {
    let path = path(conversation);
    if path != current()
        && let Ok(history) = window().history()
    {
        // A browser that refuses (too many entries at once) leaves the old address: no harm.
        let _ = history.push_state_with_url(&JsValue::NULL, "", Some(&path));
    }
}

/// Corrects the address without an entry in the history.
pub fn correct(conversation: Option<&ConversationId>) {
    let path = path(conversation);
    if path != current()
        && let Ok(history) = window().history()
    {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_web_stands_alone() {
        assert!(is_web("https://example.com/cat.jpg") && is_web("HTTP://x"));
        for text in [
            "",
            "https://",
            "cat.jpg",
            "see https://example.com",
            "https://a.com b",
            "file:///x",
        ] {
            assert!(!is_web(text), "{text}");
        }
    }

    #[test]
    fn a_dragged_link_page_or_text_is_an_address() {
        let drag = |carried: &'static [(&str, &str)]| {
            dragged(|format| {
                let found = carried.iter().find(|(name, _)| *name == format);
                found.map(|(_, text)| (*text).to_owned()).unwrap_or_default()
            })
        };
        let address = Some("https://example.com/cat.jpg".to_owned());
        assert_eq!(
            drag(&[("text/uri-list", "# a cat\r\nhttps://example.com/cat.jpg\r\n")]),
            address
        );
        assert_eq!(
            drag(&[("text/x-moz-url", "https://example.com/cat.jpg\nA cat")]),
            address
        );
        assert_eq!(drag(&[("text/plain", " https://example.com/cat.jpg ")]), address);
        assert_eq!(drag(&[("text/plain", "see https://example.com/cat.jpg")]), None);
        assert_eq!(drag(&[("text/uri-list", "file:///cat.jpg")]), None);
        assert_eq!(drag(&[]), None);
    }

    #[test]
    fn a_path_names_its_conversation() {
        assert_eq!(conversation("/c/12ab"), Some(ConversationId("12ab".into())));
        assert_eq!(conversation("/"), None);
        assert_eq!(conversation("/c/"), None);
        assert_eq!(conversation("/ask"), None);
    }
}
