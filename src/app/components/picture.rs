//! The picture, and the drop zone around it.

use leptos::either::Either;
use leptos::html::Input;
use leptos::prelude::*;

use super::from_address::FromAddressButton;
use crate::app::actions::open_file;
use crate::app::browser::clipboard_and_drag::first_file;
use crate::app::state::State;

/// A file input lies over all of it, so that clicking, dropping and the
/// keyboard work before the page is hydrated.
#[component]
pub fn Picture(state: State, over: RwSignal<bool>) -> impl IntoView {
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
            data-over=move || over.get().then_some("")
            data-opening=move || state.opening.is_open().then_some("")
        >
            {move || match shown() {
                Some(picture) => Either::Left(view! {
                    <img src=picture.url alt=picture.alt/>
                    <span class="change" aria-hidden="true">"Change"</span>
                }),
                None => Either::Right(view! {
                    <div class="invite" aria-hidden="true">
                        <svg viewBox="0 0 48 48">
                            <rect x="5" y="9" width="38" height="30" rx="5"/>
                            <circle cx="16" cy="19" r="3.4"/>
                            <path d="M6 34 L18 26 L26 32 L34 23 L42 30"/>
                        </svg>
                        <p><strong>"Choose a picture"</strong></p>
                        <p class="ways">"drop one here, or paste one"</p>
                    </div>
                }),
            }}
            <input
                type="file"
                name="picture"
                form="ask"
                accept="image/*"
                autocomplete="off"
                aria-label="Picture"
                node_ref=input
                on:change=move |_| take()
            />
            {state.takes_addresses.then(|| view! { <FromAddressButton/> })}
        </section>
    }
}
