//! What the page asks of the browser.

use std::time::Duration;

use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{DataTransfer, File, FileList, HtmlInputElement};

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
