//! What the page asks of the browser.

use std::time::Duration;

use futures::StreamExt;
use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{
    DataTransfer, EventTarget, File, FileList, HtmlBodyElement, HtmlElement, HtmlInputElement, HtmlSelectElement,
    HtmlTextAreaElement,
};

/// Tells tests (and style) that the page listens to its visitor now.
pub fn mark_hydrated() {
    if let Some(html) = document().document_element() {
        let _ = html.set_attribute("data-hydrated", "");
    }
}

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

/// The time on the device's clock, which goes on while it sleeps.
pub fn now() -> Duration {
    Duration::from_millis(leptos::web_sys::js_sys::Date::now().max(0.0) as u64)
}

/// Brings the visitor to the question, unless they are typing elsewhere, or on
/// a device where that would raise a keyboard over the answer.
pub fn focus_question(question: NodeRef<Textarea>) {
    let on_glass = window()
        .match_media("(pointer: coarse)")
        .ok()
        .flatten()
        .is_some_and(|query| query.matches());
    let elsewhere = document()
        .active_element()
        .is_some_and(|element| element.has_type::<HtmlSelectElement>() || takes_text(Some(element.into())));
    if !on_glass
        && !elsewhere
        && let Some(question) = question.get_untracked()
    {
        let _ = question.focus();
    }
}

/// Brings the visitor back to the question when an answer has come, if they are still where
/// they asked. Whoever reads the conversation or sets something meanwhile is left there.
pub fn return_to_question(question: NodeRef<Textarea>) {
    let is_where_they_asked = document().active_element().is_none_or(|element| {
        element.has_type::<HtmlBodyElement>()
            || element.closest(".composer, .examples").is_ok_and(|form| form.is_some())
    });
    if is_where_they_asked {
        focus_question(question);
    }
}

/// Opens a popover; an old browser that knows none shows it all the time.
pub fn show_popover(id: &str) {
    if let Some(panel) = popover(id) {
        let _ = panel.show_popover();
    }
}

/// Closes a popover, if it is open.
pub fn hide_popover(id: &str) {
    if let Some(panel) = popover(id) {
        let _ = panel.hide_popover();
    }
}

fn popover(id: &str) -> Option<HtmlElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// Whether an event is about a place where text is typed.
pub fn takes_text(target: Option<EventTarget>) -> bool {
    target.is_some_and(|target| {
        target.has_type::<HtmlTextAreaElement>()
            || target
                .dyn_into::<HtmlInputElement>()
                .is_ok_and(|input| !matches!(input.type_().as_str(), "file" | "radio" | "checkbox"))
    })
}

/// The text that is pasted, without the space around it.
pub fn pasted_text(data: Option<DataTransfer>) -> String {
    data.and_then(|data| data.get_data("text/plain").ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// The first file of a file input.
pub fn first_file(files: Option<FileList>) -> Option<File> {
    files.and_then(|files| files.get(0))
}

/// The file that is dropped or pasted, a picture before anything else.
pub fn transferred_file(data: Option<DataTransfer>) -> Option<File> {
    let files = data?.files()?;
    let all = || (0..files.length()).filter_map(|index| files.get(index));
    all()
        .find(|file| file.type_().starts_with("image/"))
        .or_else(|| all().next())
}

/// Whether a text is only what a file is called: a file that is copied in a file manager comes
/// with its name or path as text.
pub fn names_file(text: &str, name: &str) -> bool {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    !name.is_empty() && last == name
}

/// The text that hangs on the pointer, in a format.
pub fn dragged_text(data: &DataTransfer, format: &str) -> String {
    data.get_data(format).unwrap_or_default()
}

/// Whether something of these formats hangs on the pointer.
pub fn carries(data: Option<DataTransfer>, formats: &[&str]) -> bool {
    data.is_some_and(|data| {
        let types = data.types();
        formats.iter().any(|&format| types.includes(&format.into(), 0))
    })
}

#[cfg(test)]
mod tests {
    use super::names_file;

    #[test]
    fn the_name_of_a_copied_file_is_told_from_text() {
        assert!(names_file("cat.png", "cat.png"));
        assert!(names_file("/home/ann/cat.png", "cat.png") && names_file("C:\\ann\\cat.png", "cat.png"));
        assert!(!names_file("What is in cat.png?", "image.png") && !names_file("Total\t12", "image.png"));
        assert!(!names_file("", ""));
    }
}
