//! Light, dark, or as the system has it.

use leptos::ev;
use leptos::prelude::*;

use crate::api::Theme;
use crate::app::browser::theme;

/// The choice, as HTML: it is the browser's to keep. The style hides it where there is no script, which alone can
/// change it.
#[component]
pub fn Appearance() -> impl IntoView {
    let choice = |(theme, words): (Theme, &str)| {
        let checked = if theme == Theme::current() { " checked" } else { "" };
        let name = theme.name();
        [
            "<label><input type=\"radio\" name=\"appearance\" autocomplete=\"off\" value=\"",
            name,
            "\"",
            checked,
            "><span>",
            words,
            "</span></label>",
        ]
        .concat()
    };
    let choices: String = Theme::ALL
        .into_iter()
        .zip(["Automatic", "Light", "Dark"])
        .map(choice)
        .collect();
    let changed = move |event: ev::Event| theme::choose(Theme::named(&event_target_value(&event)));
    view! {
        <fieldset
            class="choice appearance"
            on:change=changed
            inner_html=["<legend>Appearance</legend><div class=\"choices\">", &choices, "</div>"].concat()
        ></fieldset>
    }
}
