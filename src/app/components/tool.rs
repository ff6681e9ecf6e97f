//! Buttons whose face is an icon.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::icon::{CLOSE, Icon, quiet_face};
use crate::api::t;

/// A button known by its words, which are its title too.
pub fn tool(face: Icon, words: &'static str, press: impl FnMut(MouseEvent) + 'static) -> impl IntoView {
    view! {
        <button type="button" class="tool" title=words on:click=press inner_html=quiet_face(face, words)></button>
    }
}

/// The top of a drawer: its title, which has the drawer's id with `-title` behind it, and what closes it.
pub fn drawer_head(panel: &'static str, title: &'static str) -> impl IntoView {
    view! {
        <div class="drawer-head">
            <h2 id=[panel, "-title"].concat()>{title}</h2>
            <button
                type="button"
                class="tool"
                title=t("close")
                popovertarget=panel
                popovertargetaction="hide"
                inner_html=quiet_face(CLOSE, t("close"))
            ></button>
        </div>
    }
}
