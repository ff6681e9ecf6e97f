//! The picture, and what can be done with it; before there is one, the ways to put one in.

use leptos::either::Either;
use leptos::html::Input;
use leptos::prelude::*;

use super::camera::camera_button;
use super::choice::Choice;
use super::from_address::FromAddressButton;
use super::icon::{CAMERA, CHOOSE, DOWNLOAD, LINK, LOOK, REMOVE, REPLACE, ZOOM, face, quiet_face};
use super::looked::{Looked, map};
use super::tool::tool;
use crate::api::t;
use crate::app::actions::{cancel_opening, explain, open_file, remove_picture};
use crate::app::browser::clipboard_and_drag::first_file;
use crate::app::state::{LiveTurn, ShownPicture, State};

/// Labels open the file input, which is unseen: over the picture nothing lies, so that a browser's own menu
/// for pictures is there. It works before the page is hydrated.
#[component]
pub fn Picture(state: State, is_begun: Memo<bool>) -> impl IntoView {
    let input = NodeRef::<Input>::new();
    let take = move || {
        if let Some(input) = input.get_untracked()
            && let Some(file) = first_file(input.files())
        {
            open_file(state, file);
            input.set_value(""); // the same file can be chosen again
        }
    };
    // Chosen before the page listened.
    Effect::new(take);
    let shown = move || state.opening.shown().or_else(|| state.conversation.picture.get());
    view! {
        <section
            class="stage"
            class:empty=move || !is_begun.get()
            data-opening=move || state.opening.is_open().then_some("")
            data-looking=move || state.looked.answer.with(Option::is_some).then_some("")
        >
            <input
                type="file"
                class="unseen"
                id="picture"
                name="picture"
                form="ask"
                accept="image/*"
                autocomplete="off"
                aria-label=t("picture")
                node_ref=input
                on:change=move |_| take()
            />
            {move || if is_begun.get() {
                Either::Left(view! {
                    <div
                        class="view"
                        tabindex="0"
                        role="group"
                        aria-label=t("picture.zoomable")
                        data-zoom
                    >
                        <div class="frame">{move || shown().map(|picture| framed(state, picture))}</div>
                    </div>
                    <Uploading state/>
                    <Looked state/>
                    <Tools state/>
                })
            } else {
                Either::Right(view! { <Invitation takes_addresses=state.takes_addresses/> })
            }}
            <Choice/>
        </section>
    }
}

/// How far the picture is on its way, which `public/pkg/picture.js` writes down.
#[component]
fn Uploading(state: State) -> impl IntoView {
    let words = move || state.progress.get().unwrap_or_else(|| t("picture.sending").to_owned());
    view! {
        <div class="uploading" hidden=move || !state.opening.is_open()>
            <span aria-hidden="true">{words}</span>
            <output aria-live="off"></output>
            <progress aria-label=t("picture.sending")></progress>
            <button type="button" class="quiet" on:click=move |_| cancel_opening(state)>
                {t("cancel")}
            </button>
        </div>
    }
}

/// The picture, and what a model looked at on top of it.
fn framed(state: State, picture: ShownPicture) -> impl IntoView {
    // At the tenth of its density, so that a small picture fills the room that there is; in a `src` it would have
    // all of it.
    let dense = picture.url.clone() + " 0.1x";
    view! {
        <img srcset=dense alt=move || state.conversation.caption().filter(|_| !state.opening.is_open()).unwrap_or_else(|| picture.alt.clone())/>
        {move || map(state).map(|map| view! { <img class="heat" src=map alt="" aria-hidden="true"/> })}
    }
}

/// The last answer that can be explained.
fn last_answer(state: State) -> Option<LiveTurn> {
    let turns = state.conversation.turns.get();
    turns.iter().rev().find(|turn| turn.can_be_explained()).cloned()
}

#[component]
fn Tools(state: State) -> impl IntoView {
    let picture = state.conversation.picture;
    let is_looking = move || state.looked.answer.with(Option::is_some);
    let look = move |_| match untrack(|| last_answer(state)) {
        Some(turn) if !untrack(is_looking) => explain(state, turn),
        _ => state.looked.close(),
    };
    let caption = move || state.conversation.caption();
    let address = move || picture.with(|picture| picture.as_ref().map(|picture| picture.url.clone()));
    view! {
        <div class="picture-tools" role="group" aria-label=t("picture.tools")>
            <p class="about-picture" dir="auto">{caption}</p>
            <button
                type="button"
                class="tool of-look"
                title=t("look")
                aria-pressed=move || if is_looking() { "true" } else { "false" }
                disabled=move || last_answer(state).is_none()
                on:click=look
                inner_html=quiet_face(LOOK, t("look"))
            ></button>
            <button
                type="button"
                class="tool of-zoom"
                title=t("picture.zoom")
                aria-pressed="false"
                data-zoom
                inner_html=quiet_face(ZOOM, t("picture.zoom"))
            ></button>
            <label
                for="picture"
                class="tool"
                title=t("picture.replace")
                inner_html=quiet_face(REPLACE, t("picture.replace"))
            ></label>
            {camera_button(quiet_face(CAMERA, t("camera")))}
            {state.takes_addresses.then(|| view! { <FromAddressButton face=quiet_face(LINK, t("address"))/> })}
            <a
                class="tool save"
                href=address
                download="picture.jpg"
                title=t("picture.download")
                inner_html=quiet_face(DOWNLOAD, t("picture.download"))
            ></a>
            {tool(REMOVE, t("picture.remove"), move |_| remove_picture(state))}
        </div>
    }
}

/// Two pictures, drawn.
const PICTURES: &str = "<svg class=\"art\" viewBox=\"0 0 64 48\" aria-hidden=\"true\">\
                        <rect x=\"17\" y=\"5\" width=\"40\" height=\"30\" rx=\"5\" transform=\"rotate(6 37 20)\"/>\
                        <rect class=\"front\" x=\"7\" y=\"9\" width=\"42\" height=\"32\" rx=\"5\"/>\
                        <circle cx=\"18.5\" cy=\"19.5\" r=\"3.5\"/><path d=\"m8 36 11-10 8 7 9-11 12 12\"/></svg>";

/// Before there is a picture.
#[component]
fn Invitation(takes_addresses: bool) -> impl IntoView {
    view! {
        <div class="invite">
            <div inner_html=PICTURES></div>
            <div class="sources">
                <label for="picture" class="primary" inner_html=face(CHOOSE, t("picture.choose"))></label>
                {camera_button(face(CAMERA, t("camera")))}
                {takes_addresses.then(|| view! { <FromAddressButton face=face(LINK, t("address"))/> })}
            </div>
            <p class="ways">{t("picture.ways")}</p>
        </div>
    }
}
