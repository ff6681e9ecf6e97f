//! The top line: the name, the state of things, starting over, settings.

use leptos::prelude::*;

use super::model;
use super::settings::Settings;
use super::visit::Visit;
use crate::api::{ModelInfo, SettingsPanel};

#[component]
pub fn Header(visit: Visit, model: ModelInfo, settings: SettingsPanel) -> impl IntoView {
    let begin_anew = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        visit.begin_anew();
    };
    view! {
        <header class="top">
            <h1 class="brand">
                <svg viewBox="0 0 32 32" aria-hidden="true">
                    <path d="M2 16 C7 7 25 7 30 16 C25 25 7 25 2 16Z" fill="none" stroke="currentColor" stroke-width="2.6" stroke-linejoin="round"/>
                    <circle cx="16" cy="16" r="5.4" fill="currentColor"/>
                </svg>
                <span>"Glimpse"</span>
            </h1>
            <p class="status" role="status" aria-atomic="false">
                <span class="model">{model::line(&model)}</span>
                <span class="progress">{move || visit.progress.get()}</span>
            </p>
            <form class="anew" method="get" action="/">
                <button type="submit" on:click=begin_anew>"New conversation"</button>
            </form>
            <Settings visit model panel=settings/>
        </header>
    }
}
