//! The visitor's conversations, behind their button.

use leptos::either::{Either, EitherOf3};
use leptos::ev;
use leptos::prelude::*;

use super::icon::{EDIT, HISTORY, PIN, REMOVE, icon, quiet_face};
use super::tool::{drawer_head, tool};
use crate::api::{Base, ConversationEntry, ConversationId, t, t_count, t_with};
use crate::app::actions::{load_history, open_conversation, pin, remove, rename};
use crate::app::browser::{focus, popover, time};
use crate::app::state::{Doing, State};

const PANEL: &str = "history";

/// The button that opens it.
#[component]
pub fn HistoryButton() -> impl IntoView {
    view! {
        <button
            type="button"
            class="tool history-button"
            title=t("history")
            popovertarget=PANEL
            aria-controls=PANEL
            inner_html=quiet_face(HISTORY, t("history"))
        ></button>
    }
}

#[component]
pub fn History(state: State) -> impl IntoView {
    let history = state.history;
    let toggled = move |event: ev::Event| {
        let panel = focus::target(event.target());
        if panel.is_some_and(|panel| panel.matches(":popover-open").unwrap_or(false)) {
            load_history(state);
        } else {
            history.doing.set(None);
        }
    };
    view! {
        <div
            class="drawer history"
            id=PANEL
            popover="auto"
            role="dialog"
            aria-labelledby="history-title"
            on:toggle=toggled
        >
            {drawer_head(PANEL, t("history"))}
            <div class="search">
                <input
                    type="search"
                    aria-label=t("history.search")
                    placeholder=t("history.search_placeholder")
                    autocomplete="off"
                    on:input=move |event| history.search.set(event_target_value(&event))
                />
            </div>
            <div class="drawer-body">
                <ul>
                    <For each=move || history.found() key=|entry: &ConversationEntry| (entry.id.clone(), entry.title.clone(), entry.is_pinned, entry.updated) let(entry)>
                        <Entry state entry/>
                    </For>
                </ul>
                <p class="hint">{move || nothing(state)}</p>
            </div>
            <Foot state/>
        </div>
    }
}

/// In the place of an empty list.
fn nothing(state: State) -> Option<&'static str> {
    let is_empty = state
        .history
        .known
        .with(|known| known.as_ref().map(|known| known.entries.is_empty()));
    match is_empty? {
        true => Some(t("history.empty")),
        false => state.history.found().is_empty().then(|| t("history.none")),
    }
}

#[component]
fn Entry(state: State, entry: ConversationEntry) -> impl IntoView {
    let doing = state.history.doing;
    let id = entry.id.clone();
    let shown = id.clone();
    let is_shown = move || {
        state
            .conversation
            .id
            .with(|now| now.as_ref() == Some(&shown))
            .then_some("true")
    };
    view! {
        <li aria-current=is_shown>
            {move || match doing.get() {
                Some(Doing::Rename(other)) if other == id => EitherOf3::A(view! { <Title state entry=entry.clone()/> }),
                Some(Doing::Remove(other)) if other == id => EitherOf3::B(view! { <Sure state id=Some(id.clone())/> }),
                _ => EitherOf3::C(view! { <Kept state entry=entry.clone()/> }),
            }}
        </li>
    }
}

/// One of the list, and what can be done with it.
#[component]
fn Kept(state: State, entry: ConversationEntry) -> impl IntoView {
    let doing = state.history.doing;
    let ConversationEntry {
        id,
        url,
        title,
        turns,
        is_pinned,
        updated,
    } = entry;
    let title = if title.is_empty() {
        t("history.untitled").to_owned()
    } else {
        title
    };
    let when = [
        &time::date(updated),
        " \u{b7} ",
        &t_count("history.questions", turns, &[]),
    ]
    .concat();
    let (open, pinned, renamed) = (id.clone(), id.clone(), id.clone());
    let open = move |event: ev::MouseEvent| {
        // A new tab is the browser's own way.
        if !event.ctrl_key() && !event.meta_key() && !event.shift_key() {
            event.prevent_default();
            popover::hide(PANEL);
            open_conversation(state, &open);
        }
    };
    let label = if is_pinned {
        t("history.unpin")
    } else {
        t("history.pin")
    };
    view! {
        <a href=Base::current().at(&["/c/", &id.0].concat()) on:click=open>
            <img src=Base::current().at(&url) alt="" width="48" height="48"/>
            <span class="title" dir="auto">{title}</span>
            <span class="when">{when}</span>
        </a>
        <span class="kept-tools">
            <button
                type="button"
                class="tool"
                title=label
                aria-pressed=if is_pinned { "true" } else { "false" }
                on:click=move |_| pin(state, pinned.clone(), !is_pinned)
                inner_html=quiet_face(PIN, label)
            ></button>
            {tool(EDIT, t("history.rename"), move |_| doing.set(Some(Doing::Rename(renamed.clone()))))}
            {tool(REMOVE, t("history.delete"), move |_| doing.set(Some(Doing::Remove(id.clone()))))}
        </span>
    }
}

/// A new title.
#[component]
fn Title(state: State, entry: ConversationEntry) -> impl IntoView {
    let title = RwSignal::new(entry.title.clone());
    let input = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let Some(input) = input.get() {
            let _ = input.focus();
            input.select();
        }
    });
    let id = StoredValue::new(entry.id);
    let save = move || rename(state, id.get_value(), title.get_untracked());
    let key = move |event: ev::KeyboardEvent| match event.key().as_str() {
        "Enter" if !event.is_composing() => {
            event.prevent_default();
            save();
        }
        "Escape" => {
            // The list stays.
            event.prevent_default();
            event.stop_propagation();
            state.history.doing.set(None);
        }
        _ => {}
    };
    view! {
        <div class="ask-back">
            <input
                type="text"
                aria-label=t("history.title")
                maxlength="200"
                dir="auto"
                node_ref=input
                value=entry.title
                on:input=move |event| title.set(event_target_value(&event))
                on:keydown=key
            />
            <button type="button" on:click=move |_| save()>{t("history.save")}</button>
        </div>
    }
}

/// Asks whether it is meant: what is gone does not come back.
#[component]
fn Sure(state: State, id: Option<ConversationId>) -> impl IntoView {
    let words = if id.is_some() {
        t("history.sure")
    } else {
        t("history.sure_all")
    };
    view! {
        <div class="ask-back" role="group" aria-label=words>
            <p>{words}</p>
            <button type="button" class="danger" on:click=move |_| remove(state, id.clone())>{t("history.delete")}</button>
            <button type="button" on:click=move |_| state.history.doing.set(None)>{t("history.keep")}</button>
        </div>
    }
}

/// How much is kept for how long, and the way to take all of it away.
#[component]
fn Foot(state: State) -> impl IntoView {
    let history = state.history;
    let kept = move || {
        history.known.with(|known| {
            let known = known.as_ref()?;
            let (kept, limit) = (known.entries.len().to_string(), known.limit.to_string());
            let values = [("kept", kept.as_str()), ("limit", limit.as_str())];
            Some(match known.days {
                Some(days) => t_count("history.kept_for", days as usize, &values),
                None => t_with("history.kept", &values),
            })
        })
    };
    let is_empty = move || {
        history
            .known
            .with(|known| known.as_ref().is_none_or(|known| known.entries.is_empty()))
    };
    view! {
        <div class="drawer-foot">
            {move || match history.doing.get() {
                Some(Doing::RemoveAll) => Either::Left(view! { <Sure state id=None/> }),
                _ => Either::Right(view! {
                    <p class="hint">{kept}</p>
                    <button
                        type="button"
                        class="danger quiet"
                        hidden=is_empty
                        on:click=move |_| history.doing.set(Some(Doing::RemoveAll))
                    >
                        <i inner_html=icon(REMOVE)></i>
                        {t("history.delete_all")}
                    </button>
                }),
            }}
        </div>
    }
}
