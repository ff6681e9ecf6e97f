//! The top line: the name, the model, starting over, settings.

use leptos::prelude::*;

use super::about_model;
use super::history::HistoryButton;
use super::icon::{MARK, NEW, face};
use super::model_choice::ModelChoice;
use super::settings::SettingsButton;
use super::share::ShareButton;
use super::text_box::as_html;
use crate::api::{Base, t};
use crate::app::actions;
use crate::app::state::State;

#[component]
pub fn Header(state: State, title: String, settings_are_open: RwSignal<bool>) -> impl IntoView {
    let begin_anew = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        actions::begin_anew(state);
    };
    view! {
        <header class="top">
            <HistoryButton/>
            <h1 class="brand" inner_html=[MARK, "<span>", &as_html(&title), "</span>"].concat()></h1>
            {state.models.are_several().then(|| view! { <ModelChoice state/> })}
            // Where there are several, their choice says it.
            {(!state.models.are_several()).then(|| view! {
                <p class="model">{about_model::line(&untrack(|| state.models.info()))}</p>
            })}
            <div class="top-tools">
                <ShareButton state/>
                <form class="anew" method="get" action=Base::current().at("/")>
                    <button
                        type="submit"
                        class="tool wordy"
                        title=t("conversation.new")
                        on:click=begin_anew
                        inner_html=face(NEW, t("conversation.new"))
                    ></button>
                </form>
                <SettingsButton is_open=settings_are_open/>
            </div>
        </header>
    }
}
