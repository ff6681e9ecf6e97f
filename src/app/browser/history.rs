//! The page's addresses in the browser's history: `/` is empty, `/c/ID` a conversation.
//!
//! In the browser the page reads and writes the address itself; a router would
//! be a quarter of the download, for one view.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsValue;
use leptos::web_sys::History;

use crate::api::{Base, ConversationId};

/// The conversation that a path names.
pub fn conversation(path: &str) -> Option<ConversationId> {
    path.strip_prefix("/c/")
        .filter(|id| !id.is_empty())
        .map(|id| ConversationId(id.to_owned()))
}

/// The path of a conversation below the page's base, or of the empty page.
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
    let path = window().location().pathname().unwrap_or_default();
    Base::current().below(&path).unwrap_or_default().to_owned()
}

/// Where whole addresses begin: scheme and host.
pub fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// Goes to a conversation's address, so that Back leads to where the visitor was.
pub fn go(conversation: Option<&ConversationId>) {
    write(conversation, |history, address| {
        history.push_state_with_url(&JsValue::NULL, "", Some(address))
    });
}

/// Corrects the address without an entry in the history.
pub fn correct(conversation: Option<&ConversationId>) {
    write(conversation, |history, address| {
        history.replace_state_with_url(&JsValue::NULL, "", Some(address))
    });
}

/// Has an address written, unless the browser is there.
fn write(conversation: Option<&ConversationId>, put: impl FnOnce(&History, &str) -> Result<(), JsValue>) {
    let path = path(conversation);
    if path != current()
        && let Ok(history) = window().history()
    {
        // A browser that refuses (too many entries at once) leaves the old address: no harm.
        let _ = put(&history, &Base::current().at(&path));
    }
}

/// Loads the page anew.
pub fn reload() {
    // A browser that refuses shows what it has.
    let _ = window().location().reload();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_conversation() {
        assert_eq!(conversation("/c/12ab"), Some(ConversationId("12ab".into())));
        assert_eq!(conversation("/"), None);
        assert_eq!(conversation("/c/"), None);
        assert_eq!(conversation("/ask"), None);
    }
}
