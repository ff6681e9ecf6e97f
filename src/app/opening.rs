//! Brings a picture in: chosen, dropped, pasted, from an address, or one of the examples.

use leptos::prelude::*;
use leptos::web_sys::{File, FormData, Url};

use super::visit::{Shown, Visit};
use super::{address, asking, dom};
use crate::api::{self, ApiError, Conversation, Example};

/// Sends a file to the server and shows it meanwhile.
pub fn open_file(visit: Visit, file: File) {
    let most = visit.limits.with_value(|limits| limits.upload_bytes);
    // Sizes are whole numbers, below 2^53.
    if file.size() as u64 > most as u64 {
        return visit.refuse(format!(
            "The picture is too large: at most {} are taken.",
            megabytes(most)
        ));
    }
    let form = FormData::new().and_then(|form| {
        form.append_with_blob_and_filename("picture", &file, &file.name())
            .map(|()| form)
    });
    let (Ok(form), Ok(url)) = (form, Url::create_object_url_with_blob(&file)) else {
        return visit.refuse("The browser did not let the page read this file.".to_owned());
    };
    let shown = Shown { url, alt: file.name() };
    open(
        visit,
        shown,
        None,
        async move { api::upload_picture(form.into()).await },
    );
}

/// Has the server fetch the picture at an address.
pub fn open_address(visit: Visit, address: String) {
    let shown = Shown {
        url: String::new(),
        alt: String::new(),
    };
    open(visit, shown, None, async move {
        let conversation = api::open_address(address).await;
        if conversation.is_ok()
            && let Some(input) = visit.address.get_untracked()
        {
            input.set_value("");
        }
        conversation
    });
    visit.progress.set(Some("Fetching the picture".to_owned()));
}

/// Opens an example and asks its question at once.
pub fn open_example(visit: Visit, index: usize, example: Example) {
    let question = asking::Asked::by_example(example.question);
    let shown = Shown {
        url: example.url,
        alt: example.alt,
    };
    open(visit, shown, Some(question), api::open_example(index));
}

/// Shows the picture, and when the server has it, begins a conversation about
/// it. Until then the conversation that was there stays, to go back to.
fn open(
    visit: Visit,
    shown: Shown,
    question: Option<asking::Asked>,
    conversation: impl Future<Output = Result<Conversation, ApiError>> + 'static,
) {
    visit.alert.set(None);
    visit.openings.update_value(|number| *number += 1);
    visit.asked_early.set_value(question);
    visit.refusal.set_value(None);
    visit.opening.set(Some(shown.clone()));
    let number = visit.openings.get_value();
    leptos::task::spawn_local(async move {
        let conversation = conversation.await;
        if visit.openings.get_value() != number {
            return forget(&shown); // another picture was chosen meanwhile
        }
        let asked = visit.asked_early.try_update_value(Option::take).flatten();
        match conversation {
            Ok(conversation) => {
                asking::abandon(visit);
                visit.picture.with_untracked(|old| old.as_ref().map(forget));
                visit.show(Some(conversation));
                if !shown.url.is_empty() {
                    visit.picture.set(Some(shown));
                }
                visit.conversation.with_untracked(|id| address::go(id.as_ref()));
                match asked {
                    Some(asked) => asking::ask(visit, asked),
                    None => dom::focus_question(visit.question),
                }
            }
            Err(error) => {
                forget(&shown);
                visit.opening.set(None);
                visit.progress.set(None);
                visit.refuse(error.message);
            }
        }
    });
}

/// Frees the memory of a file that was shown.
fn forget(shown: &Shown) {
    if shown.url.starts_with("blob:") {
        let _ = Url::revoke_object_url(&shown.url);
    }
}

fn megabytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1_000_000) {
        format!("{} MB", bytes / 1_000_000)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}
