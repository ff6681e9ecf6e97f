//! Where the visitor asks.

use leptos::ev;
use leptos::html::Textarea;
use leptos::prelude::*;

use super::examples::ExamplesButton;
use super::from_address::FromAddress;
use super::icon::{ASK, DESCRIBE, STOP, face};
use super::text_box::{as_html, bound};
use super::texts::{AddText, Texts};
use crate::api::{Base, t};
use crate::app::actions;
use crate::app::browser::focus;
use crate::app::state::{FocusQuestion, State};

/// Before the page is hydrated, its buttons post the form.
#[component]
pub fn Composer(state: State, is_begun: Memo<bool>) -> impl IntoView {
    let offers = move || state.models.offers();
    let is_answering = move || state.conversation.is_answering();
    let ask_or_cancel = move |event: ev::MouseEvent| {
        event.prevent_default();
        if !is_answering() {
            actions::ask_draft(state);
        } else if event.detail() != 2 {
            actions::cancel(state); // the second click of a double click asks no more than the first
        }
    };
    let describe = move |event: ev::MouseEvent| {
        event.prevent_default();
        actions::describe(state);
    };
    // A caption that is asked for while a picture is on its way is about that picture.
    let cannot_describe = move || is_answering() && !state.opening.is_open();
    view! {
        // What is wrong is said by the server: a browser could not point to a field that is behind a button.
        <form class="composer" id="ask" method="post" action=Base::current().at("/ask") enctype="multipart/form-data" novalidate>
            {move || state.conversation.id.get().map(|id| view! { <input type="hidden" name="conversation" value=id.0/> })}
            <Show when=move || offers().questions><Question state/></Show>
            <Show when=move || offers().matching><Texts state/></Show>
            <div class="buttons">
                // Where nothing is typed it is there as Stop alone.
                <Show when=move || offers().questions || offers().matching || is_answering()>
                    <button
                        type="submit"
                        name="action"
                        value=move || if is_answering() { "stop" } else { "ask" }
                        class="ask"
                        class:stop=is_answering
                        on:click=ask_or_cancel
                        inner_html=move || match is_answering() {
                            true => face(STOP, t("stop")),
                            false if offers().matching => face(ASK, t("match")),
                            false => face(ASK, t("ask")),
                        }
                    ></button>
                </Show>
                <Show when=move || offers().matching><AddText state/></Show>
                <Show when=move || offers().captions>
                    <button
                        type="submit"
                        name="action"
                        value="describe"
                        class="describe"
                        disabled=cannot_describe
                        on:click=describe
                        inner_html=face(DESCRIBE, t("describe"))
                    ></button>
                </Show>
                <Show when=move || is_begun.get()><ExamplesButton/></Show>
            </div>
            {state.takes_addresses.then(|| view! { <FromAddress state/> })}
        </form>
    }
}

/// The box in which the question is typed.
#[component]
fn Question(state: State) -> impl IntoView {
    let question = NodeRef::<Textarea>::new();
    Effect::new(move || {
        let is_wanted = match state.focus.get() {
            None => false,
            Some(FocusQuestion::Next) => !focus::is_in_field(),
            Some(FocusQuestion::Answered) => focus::is_free_or_on_button(".composer"),
        };
        if is_wanted
            && !focus::is_touched()
            && let Some(question) = question.get_untracked()
        {
            let _ = question.focus();
        }
    });
    let key = move |event: ev::KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            if !state.conversation.is_answering() {
                actions::ask_draft(state);
            }
        }
    };
    view! {
        <textarea
            name="question"
            rows="1"
            aria-label=t("question")
            dir="auto"
            placeholder=t("question.placeholder")
            autocomplete="off"
            enterkeyhint="send"
            node_ref=question
            use:bound=state.draft
            on:input=move |event| state.draft.set(event_target_value(&event))
            on:keydown=key
            inner_html=as_html(&state.draft.get_untracked())
        ></textarea>
    }
}
