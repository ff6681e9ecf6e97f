//! Files that the page makes, which the browser saves.

use std::time::Duration;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, Url, js_sys};

/// How long a browser has to begin with a file.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has a text saved under a name. It goes no way over the network, where a frame might have no cookie.
pub fn save(name: &str, media_type: &str, text: &str) {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = js_sys::Array::of1(&text.into());
    let file = Blob::new_with_str_sequence_and_options(&parts, &options);
    let Some(address) = file.ok().and_then(|file| Url::create_object_url_with_blob(&file).ok()) else {
        return;
    };
    let link = document().create_element("a").ok();
    if let Some(link) = link.and_then(|link| link.dyn_into::<HtmlAnchorElement>().ok()) {
        link.set_href(&address);
        link.set_download(name);
        link.click();
    }
    set_timeout(
        move || {
            let _ = Url::revoke_object_url(&address);
        },
        PATIENCE,
    );
}
