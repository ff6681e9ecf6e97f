//! Waiting, and the device's clock.

use std::time::Duration;

use futures::StreamExt;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsValue;
use leptos::web_sys::js_sys;

use crate::api::t;

/// Waits.
pub async fn sleep(time: Duration) {
    let (done, wait) = futures::channel::oneshot::channel();
    set_timeout(
        move || {
            let _ = done.send(());
        },
        time,
    );
    let _ = wait.await;
}

/// Waits, but not beyond the moment when the network is back or the page is looked at again:
/// a browser lets timers of hidden pages sleep.
pub async fn sleep_or_wake(time: Duration) {
    let (wake, mut woken) = futures::channel::mpsc::unbounded();
    let listen = |name: &str, wakes: fn() -> bool| {
        let wake = wake.clone();
        window_event_listener_untyped(name, move |_| {
            if wakes() {
                let _ = wake.unbounded_send(());
            }
        })
    };
    let online = listen("online", || true);
    let seen = listen("visibilitychange", || !document().hidden());
    let timer = set_timeout_with_handle(
        move || {
            let _ = wake.unbounded_send(());
        },
        time,
    );
    woken.next().await;
    online.remove();
    seen.remove();
    if let Ok(timer) = timer {
        timer.clear();
    }
}

/// A day as the visitor writes it, of milliseconds since 1970; as his country does, where that is known of the
/// language of the page.
pub fn date(milliseconds: i64) -> String {
    let date = js_sys::Date::new(&(milliseconds as f64).into());
    let wished = window().navigator().language().unwrap_or_default();
    let language = if wished.starts_with(t("language")) {
        &wished
    } else {
        t("language")
    };
    // With the figures of all other numbers on the page.
    let language = [language, "-u-nu-latn"].concat();
    date.to_locale_date_string(&language, &JsValue::UNDEFINED).into()
}

/// The time on the device's clock, which goes on while it sleeps.
pub fn now() -> Duration {
    Duration::from_millis(js_sys::Date::now().max(0.0) as u64)
}
