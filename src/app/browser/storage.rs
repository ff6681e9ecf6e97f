//! What the browser keeps for the visitor's next time, where it lets the page.

use leptos::prelude::window;
use leptos::web_sys::Storage;

use crate::api::{Fields, THEME};

/// Where the settings are kept.
const SETTINGS: &str = "glimpse-settings";

/// Where the visitor's secret is kept.
#[cfg(feature = "hydrate")]
const VISITOR: &str = "glimpse-visitor";

/// The visitor's secret: 128 random bits in hexadecimal, made once and kept; for this page alone
/// where nothing may be kept.
#[cfg(feature = "hydrate")]
pub fn visitor_secret() -> String {
    let storage = storage();
    let kept = storage.as_ref().and_then(|storage| storage.get_item(VISITOR).ok()?);
    let is_secret = |text: &String| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    kept.filter(is_secret).unwrap_or_else(|| {
        let mut bytes = [0; 16];
        random_values(&mut bytes);
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(storage) = storage {
            let _ = storage.set_item(VISITOR, &secret);
        }
        secret
    })
}

#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
extern "C" {
    /// The browser's own source of secrets.
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn random_values(bytes: &mut [u8]);
}

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

/// Keeps how the page looks; an empty name is nothing.
pub fn remember_theme(name: &str) {
    let Some(storage) = storage() else { return };
    let _ = match name {
        "" => storage.remove_item(THEME),
        name => storage.set_item(THEME, name),
    };
}

/// None in a frame that may not store anything.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}
