//! Light, dark, or as the system has it. The browser keeps it; the style hides it where there is no script, which
//! alone can change it.

use leptos::ev;
use leptos::prelude::*;

use crate::api::Theme;
use crate::app::browser::theme;

#[component]
pub fn Appearance() -> impl IntoView {
    let changed = move |event: ev::Event| theme::choose(Theme::named(&event_target_value(&event)));
    view! { <fieldset class="choice appearance" on:change=changed inner_html=choices()></fieldset> }
}

/// The choice, as HTML: the server alone draws it, and no browser draws it anew.
#[cfg(feature = "ssr")]
fn choices() -> String {
    use crate::api::drawn;

    let choice = |(theme, words): (Theme, &str)| {
        let (name, checked) = (theme.name(), if theme == Theme::current() { " checked" } else { "" });
        format!(
            r#"<label><input type="radio" name="appearance" autocomplete="off" value="{name}"{checked}><span>{words}</span></label>"#
        )
    };
    let words = [
        drawn("setting.automatic_theme"),
        drawn("setting.light"),
        drawn("setting.dark"),
    ];
    let choices: String = Theme::ALL.into_iter().zip(words).map(choice).collect();
    let legend = drawn("setting.appearance");
    format!(r#"<legend>{legend}</legend><div class="choices">{choices}</div>"#)
}

#[cfg(not(feature = "ssr"))]
fn choices() -> &'static str {
    ""
}
