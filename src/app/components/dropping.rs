//! While something that would be taken hangs on the pointer: all of the page takes it.

use leptos::prelude::*;

use super::icon::{CHOOSE, icon};

#[component]
pub fn Dropping() -> impl IntoView {
    view! {
        <div class="dropping" aria-hidden="true">
            <p><i inner_html=icon(CHOOSE)></i><strong>"Drop it anywhere"</strong><span>"A new conversation begins with it."</span></p>
        </div>
    }
}
