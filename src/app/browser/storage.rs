//! What the browser keeps for the visitor's next time, where it lets the page.

use leptos::prelude::window;
use leptos::web_sys::Storage;

use crate::api::Fields;

/// Where the settings are kept.
const SETTINGS: &str = "glimpse-settings";

/// Keeps the settings; none are kept as nothing.
pub fn remember(settings: &Fields) {
    let Some(storage) = storage() else { return };
    if settings.is_empty() {
        let _ = storage.remove_item(SETTINGS);
    } else if let Ok(json) = serde_json::to_string(settings) {
        let _ = storage.set_item(SETTINGS, &json);
    }
}

/// The settings of the last time.
pub fn remembered() -> Option<Fields> {
    let json = storage()?.get_item(SETTINGS).ok()??;
    serde_json::from_str(&json).ok()
}

/// None in a frame that may not store anything.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}
