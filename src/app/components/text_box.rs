//! A text box and the signal that has its text.

use leptos::prelude::*;
use leptos::web_sys::Element;

use crate::app::browser::form_fields::Control;

/// Keeps a text box, used as `use:bound=text`, as the signal says. What was typed before the
/// page listened holds; Leptos' own `bind:value` would put the signal's first value over it.
/// The box says what is typed from then on by its `on:input`.
pub fn bound(element: Element, text: RwSignal<String>) {
    let Some(control) = Control::new(element) else {
        return;
    };
    if let Some(typed) = control.value() {
        text.set(typed);
    }
    Effect::new(move || text.with(|text| control.set_value(text)));
}

/// Text as the HTML of an element that holds text only. A browser takes what a `textarea`
/// holds as text, but Leptos does not escape it.
pub fn as_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_draft_cannot_leave_its_box() {
        assert_eq!(
            super::as_html("a < b && </textarea><script>"),
            "a &lt; b &amp;&amp; &lt;/textarea>&lt;script>"
        );
    }
}
