//! What the page asks of the browser.

use std::time::Duration;

use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{DataTransfer, EventTarget, File, FileList, HtmlElement, HtmlInputElement, HtmlTextAreaElement};

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
        .and_then(|element| element.dyn_into::<HtmlInputElement>().ok())
        .is_some_and(|input| input.type_() != "file");
    if !on_glass
        && !elsewhere
        && let Some(question) = question.get_untracked()
    {
        let _ = question.focus();
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
                .is_ok_and(|input| input.type_() != "file")
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

/// Whether files hang on the pointer, rather than a piece of text.
pub fn carries_files(data: Option<DataTransfer>) -> bool {
    data.is_some_and(|data| data.types().includes(&"Files".into(), 0))
}
