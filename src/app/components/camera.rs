//! The camera, behind a button. `public/pkg/camera.js` does what it does; here are its words.

use leptos::prelude::*;

use super::icon::{CLOSE, REPLACE, quiet_face};
use crate::api::t;

/// A button that opens it, where there is one. `public/pkg/picture.js` hears it.
pub fn camera_button(face: String) -> impl IntoView {
    view! { <button type="button" class="tool of-camera" title=t("camera") data-open-camera inner_html=face></button> }
}

/// What the button opens.
#[component]
pub fn Camera() -> impl IntoView {
    let html = [
        "<video playsinline muted autoplay aria-label=\"",
        t("camera.view"),
        "\"></video><p role=\"alert\"></p><div class=\"camera-tools\"><button type=\"button\" class=\"tool\" data-do=\"turn\">",
        &quiet_face(REPLACE, t("camera.switch")),
        "</button><button type=\"button\" class=\"shutter\" data-do=\"take\"><span class=\"unseen\">",
        t("camera.take"),
        "</span></button><button type=\"button\" class=\"tool\" data-do=\"close\">",
        &quiet_face(CLOSE, t("camera.close")),
        "</button></div>",
    ];
    view! {
        <dialog
            id="camera"
            class="camera"
            aria-label=t("camera")
            data-denied=t("camera.denied")
            data-missing=t("camera.missing")
            data-busy=t("camera.busy")
            inner_html=html.concat()
        ></dialog>
    }
}
