//! Leafing through what stands in one place: the branches of a conversation, the answers to one question.

use leptos::prelude::*;

use super::icon::{NEXT, PREVIOUS, quiet_face};

/// Two buttons and, between them, which of how many is shown. Behind the last comes the first, so that no button
/// is ever of no use, nor loses the focus.
pub fn leaf(at: RwSignal<usize>, count: usize, previous: &'static str, next: &'static str) -> impl IntoView {
    let go = move |step: usize| at.update(|at| *at = (*at + step) % count);
    let button = move |icon, words: &'static str, step| {
        let face = quiet_face(icon, words);
        view! { <button type="button" class="tool" title=words on:click=move |_| go(step) inner_html=face></button> }
    };
    view! {
        <span class="leaf">
            {button(PREVIOUS, previous, count - 1)}
            <span aria-live="polite">{move || format!("{}/{count}", at.get() + 1)}</span>
            {button(NEXT, next, 1)}
        </span>
    }
}
