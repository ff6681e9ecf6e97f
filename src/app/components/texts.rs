//! The texts that a picture is compared with: a box for each.

use leptos::ev;
use leptos::html::Input;
use leptos::prelude::*;

use super::icon::{CLOSE, icon};
use super::text_box::bound;
use crate::api::{t, t_with};
use crate::app::actions;
use crate::app::browser::clipboard_and_drag::pasted_text;
use crate::app::browser::focus;
use crate::app::state::{FocusQuestion, State, TextRow};

/// The boxes, each with what takes it away.
#[component]
pub fn Texts(state: State) -> impl IntoView {
    let texts = state.texts;
    // Whoever put a picture in goes on with the first box that is empty.
    Effect::new(move || {
        if state.focus.get() == Some(FocusQuestion::Next) && !focus::is_in_field() && !focus::is_touched() {
            let rows = texts.rows.get_untracked();
            let free = rows.iter().find(|row| row.text.with_untracked(String::is_empty));
            texts.focused.set(free.or(rows.first()).map(|row| row.key));
        }
    });
    view! {
        <div class="texts" role="group" aria-label=t("texts")>
            <For each=move || texts.rows.get() key=|row: &TextRow| row.key let(row)>
                <Text state row/>
            </For>
        </div>
    }
}

/// What adds a box.
#[component]
pub fn AddText(state: State) -> impl IntoView {
    let is_full = move || state.texts.rows.with(Vec::len) >= state.limits.texts;
    view! {
        <button type="button" class="add" disabled=is_full on:click=move |_| state.texts.add()>
            {t("texts.add")}
        </button>
    }
}

#[component]
fn Text(state: State, row: TextRow) -> impl IntoView {
    let (texts, key, text) = (state.texts, row.key, RwSignal::from(row.text));
    let input = NodeRef::<Input>::new();
    Effect::new(move || {
        if texts.focused.get() == Some(key)
            && let Some(input) = input.get()
        {
            texts.focused.set(None);
            let _ = input.focus();
        }
    });
    let number = move || {
        texts
            .rows
            .with(|rows| rows.iter().position(|row| row.key == key).map_or(0, |place| place + 1))
            .to_string()
    };
    let enter = move |event: ev::KeyboardEvent| {
        if event.key() == "Enter" && !event.is_composing() {
            event.prevent_default();
            if !state.conversation.is_answering() {
                actions::ask_draft(state);
            }
        }
    };
    // A list that is pasted is several texts.
    let paste = move |event: ev::ClipboardEvent| {
        let pasted = pasted_text(event.clipboard_data());
        let lines: Vec<String> = pasted
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        if lines.len() > 1 {
            event.prevent_default();
            texts.paste(key, &lines);
        }
    };
    view! {
        <div class="text">
            <input
                type="text"
                name="text"
                dir="auto"
                autocomplete="off"
                enterkeyhint="send"
                placeholder=t("texts.placeholder")
                aria-label=move || t_with("texts.number", &[("number", &number())])
                value=text.get_untracked()
                node_ref=input
                use:bound=text
                on:input=move |event| text.set(event_target_value(&event))
                on:keydown=enter
                on:paste=paste
            />
            <button
                type="button"
                class="tool"
                aria-label=move || t_with("texts.remove", &[("number", &number())])
                disabled=move || texts.rows.with(Vec::len) == 1
                on:click=move |_| texts.remove(key)
                inner_html=icon(CLOSE)
            ></button>
        </div>
    }
}
