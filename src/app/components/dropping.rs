//! While something that would be taken hangs on the pointer: all of the page takes it.

use leptos::prelude::*;

use super::icon::{CHOOSE, icon};
use crate::api::t;

#[component]
pub fn Dropping() -> impl IntoView {
    view! {
        <div class="dropping" aria-hidden="true">
            <p><i inner_html=icon(CHOOSE)></i><strong>{t("drop")}</strong><span>{t("drop.about")}</span></p>
        </div>
    }
}
