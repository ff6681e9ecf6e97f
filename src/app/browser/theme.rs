//! Light or dark, as the visitor has chosen.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, HtmlDocument, HtmlInputElement};

use super::storage;
use crate::api::{Base, THEME, Theme};

/// Shows a theme, and keeps it: for this page's scripts, and in a cookie, so that the server's next page has it
/// at once. Where nothing may be kept it holds for as long as the page is there.
pub fn choose(theme: Theme) {
    if let Some(html) = document().document_element() {
        let _ = match theme {
            Theme::Automatic => html.remove_attribute("data-theme"),
            theme => html.set_attribute("data-theme", theme.name()),
        };
    }
    show(theme);
    storage::remember_theme(theme.name());
    write_cookie(theme);
}

/// What the browser draws around the page goes with it, and so does the choice in the settings.
pub fn show(theme: Theme) {
    let choice = ["[name='appearance'][value='", theme.name(), "']"].concat();
    let choice = document().query_selector(&choice).ok().flatten();
    if let Some(choice) = choice.and_then(|choice| choice.dyn_into::<HtmlInputElement>().ok()) {
        choice.set_checked(true);
    }
    let Ok(colours) = document().query_selector_all("meta[name='theme-color']") else {
        return;
    };
    for (index, media) in (0..).zip(theme.frame_media()) {
        if let Some(colour) = colours.get(index).and_then(|colour| colour.dyn_into::<Element>().ok()) {
            let _ = colour.set_attribute("media", media);
        }
    }
}

fn write_cookie(theme: Theme) {
    let base = Base::current();
    let path = Some(base.as_str()).filter(|base| !base.is_empty()).unwrap_or("/");
    let is_safe = window()
        .location()
        .protocol()
        .is_ok_and(|protocol| protocol == "https:");
    // As the visitor's own cookie: into frames where it can.
    let site = match is_safe {
        true => "; SameSite=None; Secure; Partitioned",
        false => "; SameSite=Lax",
    };
    let age = match theme {
        Theme::Automatic => "0",
        _ => "31536000",
    };
    let cookie = [THEME, "=", theme.name(), "; Path=", path, "; Max-Age=", age, site].concat();
    if let Ok(document) = document().dyn_into::<HtmlDocument>() {
        // A frame without an origin of its own has no cookies.
        let _ = document.set_cookie(&cookie);
    }
}
