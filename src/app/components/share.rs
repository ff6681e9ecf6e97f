//! Sharing a conversation, and saving a copy of it, behind a button. A popover, which opens without JavaScript; its
//! buttons are a form then, and its links lead to files.

use leptos::ev;
use leptos::prelude::*;

use super::icon::{SHARE, face};
use crate::api::{Base, t, t_count};
use crate::app::actions::{SHARE_PANEL, export, load_shares, share, unshare};
use crate::app::browser::clipboard_and_drag::copy;
use crate::app::browser::focus;
use crate::app::state::State;

/// The button that opens it, once something was said.
#[component]
pub fn ShareButton(state: State) -> impl IntoView {
    view! {
        <button
            type="button"
            class="tool wordy"
            title=t("share")
            popovertarget=SHARE_PANEL
            aria-haspopup="dialog"
            hidden=move || !state.conversation.has_turns()
            inner_html=face(SHARE, t("share"))
        ></button>
    }
}

#[component]
pub fn Share(state: State) -> impl IntoView {
    let sharing = state.sharing;
    let toggled = move |event: ev::Event| {
        let panel = focus::target(event.target());
        if panel.is_some_and(|panel| panel.matches(":popover-open").unwrap_or(false)) {
            load_shares(state);
        }
    };
    // One listener: what is in it is plain HTML, and says by its name what it does.
    let clicked = move |event: ev::MouseEvent| {
        let target = focus::target(event.target()).and_then(|target| target.closest("[name]").ok()?);
        let Some((target, name)) = target.and_then(|target| Some((target.clone(), target.get_attribute("name")?)))
        else {
            return;
        };
        event.prevent_default();
        match name.as_str() {
            "share" => share(state),
            "unshare" => unshare(state),
            "address" => {}
            "copy" => {
                if sharing
                    .address
                    .with_untracked(|address| address.as_deref().is_some_and(copy))
                {
                    target.set_text_content(Some(t("answer.copied")));
                }
            }
            _ => export(state, name),
        }
    };
    let inside = move || {
        let Some(id) = state.conversation.id.get() else {
            return String::new(); // the button is away
        };
        let base = Base::current().at(&["/c/", &id.0].concat());
        sharing
            .address
            .with(|address| html(&base, address.as_deref(), sharing.count.get()))
    };
    view! {
        <div
            class="float share"
            id=SHARE_PANEL
            popover="auto"
            role="dialog"
            aria-label=t("share.dialog")
            on:toggle=toggled
            on:click=clicked
            inner_html=inside
        ></div>
    }
}

/// What is in it: `base` is the conversation's own address. All of it is ours: names and numbers.
fn html(base: &str, address: Option<&str>, count: usize) -> String {
    let class = if address.is_some() { "" } else { "primary" };
    let address = address.map_or_else(String::new, |address| {
        [
            "<div class=\"address\"><input name=\"address\" dir=\"ltr\" aria-label=\"",
            t("share.address"),
            "\" readonly value=\"",
            address,
            "\"><button type=\"button\" name=\"copy\">",
            t("answer.copy"),
            "</button></div>",
        ]
        .concat()
    });
    let (shared, stop) = match count {
        0 => (String::new(), " hidden"),
        count => (t_count("share.readable", count, &[]), ""),
    };
    [
        "<form method=\"post\" action=\"",
        base,
        "/share\"><h2>",
        t("share"),
        "</h2><p>",
        t("share.what"),
        "</p>",
        &address,
        "<p class=\"hint\">",
        &shared,
        "</p><div class=\"choices\"><button name=\"share\" class=\"",
        class,
        "\">",
        t("share.make"),
        "</button><button name=\"unshare\" class=\"danger\" formaction=\"",
        base,
        "/unshare\"",
        stop,
        ">",
        t("share.stop"),
        "</button></div></form><h2>",
        t("share.save"),
        "</h2><div class=\"choices\">",
        &save(base, "md", "Markdown"),
        &save(base, "html", t("share.page")),
        &save(base, "json", "JSON"),
        "</div>",
    ]
    .concat()
}

fn save(base: &str, ending: &str, words: &str) -> String {
    [
        "<a download href=\"",
        base,
        "/conversation.",
        ending,
        "\" name=\"",
        ending,
        "\">",
        words,
        "</a>",
    ]
    .concat()
}
