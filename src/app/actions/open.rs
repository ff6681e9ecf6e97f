//! Brings a picture in: chosen, dropped, pasted, from an address, or one of the examples.

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::web_sys::{File, Url};

use super::ask::ask;
use super::cancel::cancel_unseen;
use super::history::remove;
use super::navigation::begin_anew;
use crate::api::{self, ApiError, Base, Conversation, Example, t};
use crate::app::browser::history;
use crate::app::state::{FocusQuestion, KeptPicture, NewQuestion, ShownPicture, State};

/// Lets go of the picture that is on its way; what was there before is there again.
pub fn cancel_opening(state: State) {
    state.opening.cancel();
    state.progress.set(None);
}

/// Takes the picture away. A conversation in which something was said stays in the history.
pub fn remove_picture(state: State) {
    let id = state.conversation.id.get_untracked();
    let is_empty = state.conversation.turns.with_untracked(Vec::is_empty);
    let draft = state.draft.get_untracked();
    match id.filter(|_| is_empty) {
        Some(id) => remove(state, Some(id)),
        None => begin_anew(state),
    }
    state.draft.set(draft);
}

/// Sends a file to the server and shows it meanwhile.
pub fn open_file(state: State, file: File) {
    send_file(state, file, None);
}

/// Sends a file, and then asks about it what is to be asked.
fn send_file(state: State, file: File, question: Option<NewQuestion>) {
    let Ok(url) = Url::create_object_url_with_blob(&file) else {
        return state.refuse_picture(t("alert.unread_file").to_owned());
    };
    let shown = ShownPicture { url, alt: file.name() };
    let upload = api::send_picture(file.clone(), state.limits);
    let again = UnsyncCallback::new(move |question| send_file(state, file.clone(), Some(question)));
    open(state, shown, question, Some(again), upload);
}

/// Has the server fetch the picture at an address.
pub fn open_address(state: State, address: String) {
    let shown = ShownPicture {
        url: String::new(),
        alt: String::new(),
    };
    open(state, shown, None, None, async move {
        let conversation = api::open_address(address).await;
        if conversation.is_ok() {
            state.address.set(String::new());
        }
        conversation
    });
    state.progress.set(Some(t("progress.fetching").to_owned()));
}

/// Opens an example and asks its question at once.
pub fn open_example(state: State, index: usize, example: Example) {
    let offers = untrack(|| state.models.offers());
    let question = match example.texts_for(offers) {
        [] => NewQuestion::new(example.question_for(offers).to_owned(), false),
        texts => {
            state.texts.replace(texts);
            NewQuestion::comparing(texts.to_vec())
        }
    };
    let shown = ShownPicture {
        url: Base::current().at(&example.url),
        alt: example.alt,
    };
    open(state, shown, Some(question), None, api::open_example(index));
}

/// Shows the picture, and when the server has it, begins a conversation about
/// it. Until then the conversation that was there stays, to go back to. Where there was none,
/// a picture that may be taken another time stays, to be sent `again`.
fn open(
    state: State,
    shown: ShownPicture,
    question: Option<NewQuestion>,
    again: Option<UnsyncCallback<NewQuestion>>,
    conversation: impl Future<Output = Result<Conversation, ApiError>> + 'static,
) {
    state.alert.set(None);
    let kept = state.opening.kept.get_untracked();
    kept.iter().for_each(|kept| forget(&kept.shown));
    state.progress.set(None);
    let number = state.opening.begin(shown.clone(), question);
    spawn_local(async move {
        let conversation = conversation.await;
        if !state.opening.is_last(number) {
            return forget(&shown); // another picture was chosen meanwhile
        }
        match conversation {
            Ok(conversation) => begin(state, conversation, shown),
            Err(error) => {
                state.opening.cancel();
                state.progress.set(None);
                let is_first = state.conversation.id.with_untracked(Option::is_none);
                match again.filter(|_| is_first && error.may_pass()) {
                    Some(send_and_ask) => state.opening.kept.set(Some(KeptPicture { shown, send_and_ask })),
                    None => forget(&shown),
                }
                state.refuse_picture(error.message);
            }
        }
    });
}

/// Turns to a new conversation, and asks what was asked while its picture was on its way.
fn begin(state: State, conversation: Conversation, shown: ShownPicture) {
    let question = state.opening.take_question();
    cancel_unseen(state);
    let picture = state.conversation.picture;
    let has_replaced = picture.with_untracked(Option::is_some);
    picture.with_untracked(|old| old.as_ref().map(forget));
    state.show(Some(conversation));
    if has_replaced {
        state.opening.has_replaced.set(true);
        if question.is_none() {
            state.progress.set(Some(t("picture.replaced").to_owned())); // a screen reader says it
        }
    }
    // The visitor's own file is as good as the server's copy; what an example shows is a smaller one.
    match shown.url.starts_with("blob:") {
        true => picture.set(Some(shown)),
        false => picture.update(|picture| {
            if let Some(picture) = picture.as_mut().filter(|_| !shown.alt.is_empty()) {
                picture.alt = shown.alt;
            }
        }),
    }
    state.conversation.id.with_untracked(|id| history::go(id.as_ref()));
    state.focus.set(Some(FocusQuestion::Next));
    if let Some(question) = question {
        ask(state, question);
    }
}

/// Frees the memory of a file that was shown.
fn forget(shown: &ShownPicture) {
    if shown.url.starts_with("blob:") {
        let _ = Url::revoke_object_url(&shown.url);
    }
}
