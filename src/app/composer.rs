//! Where the visitor asks.

use leptos::ev;
use leptos::prelude::*;

use super::asking::{self, Asked};
use super::from_address::FromAddress;
use super::visit::Visit;

/// Before the page is hydrated, its buttons post the form.
#[component]
pub fn Composer(visit: Visit, draft: String, draft_address: String) -> impl IntoView {
    let ask_or_say = move || match Asked::by_box(visit) {
        Ok(asked) => asking::ask(visit, asked),
        Err(sentence) => visit.alert.set(Some(sentence)),
    };
    let ask_or_stop = move |event: ev::MouseEvent| {
        event.prevent_default();
        if !visit.is_answering() {
            ask_or_say();
        } else if event.detail() != 2 {
            asking::stop(visit); // the second click of a double click asks no more than the first
        }
    };
    let describe = move |event: ev::MouseEvent| {
        event.prevent_default();
        asking::ask(visit, Asked::by_describe());
    };
    // A caption that is asked for while a picture is on its way is about that picture.
    let cannot_describe = move || visit.is_answering() && visit.opening.with(Option::is_none);
    let key = move |event: ev::KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            if !visit.is_answering() {
                ask_or_say();
            }
        }
    };
    view! {
        // What is wrong is said by the server: a browser could not point to a field that is behind a button.
        <form class="composer" id="ask" method="post" action="/ask" enctype="multipart/form-data" novalidate>
            {move || visit.conversation.get().map(|id| view! { <input type="hidden" name="conversation" value=id.0/> })}
            // A browser takes what a text box holds as text, but Leptos does not escape it: see `as_html`.
            <textarea
                name="question"
                rows="1"
                aria-label="Question"
                dir="auto"
                placeholder="Your question"
                autocomplete="off"
                enterkeyhint="send"
                node_ref=visit.question
                on:keydown=key
                inner_html=as_html(&draft)
            ></textarea>
            <div class="buttons">
                <button type="submit" name="action" value="ask" class="ask" on:click=ask_or_stop>
                    {move || if visit.is_answering() { "Stop" } else { "Ask" }}
                </button>
                <button
                    type="submit"
                    name="action"
                    value="describe"
                    class="describe"
                    disabled=cannot_describe
                    on:click=describe
                >
                    "Describe"
                </button>
            </div>
            {visit.takes_addresses.then(|| view! { <FromAddress visit draft=draft_address/> })}
        </form>
    }
}

/// Text as the HTML of an element that holds text only.
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
