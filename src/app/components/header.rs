//! The top line: the name, the state of things, starting over, settings.

use leptos::prelude::*;

use super::about_model;
use super::model_choice::ModelChoice;
use super::settings::Settings;
use crate::api::Base;
use crate::app::actions;
use crate::app::state::State;

#[component]
pub fn Header(state: State) -> impl IntoView {
    let begin_anew = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        actions::begin_anew(state);
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
            {state.models.are_several().then(|| view! { <ModelChoice state/> })}
            <p class="status" role="status" aria-atomic="false">
                // Where there are several, their choice says it.
                {(!state.models.are_several()).then(|| view! {
                    <span class="model">{about_model::line(&untrack(|| state.models.info()))}</span>
                })}
                <span class="progress">{move || state.progress.get()}</span>
            </p>
            <form class="anew" method="get" action=Base::current().at("/")>
                <button type="submit" on:click=begin_anew>"New conversation"</button>
            </form>
            <Settings state/>
        </header>
    }
}
