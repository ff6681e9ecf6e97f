//! Sends a picture as `public/pkg/picture.js` does it: with its progress, which `fetch` does not tell, and smaller
//! where it is a large photo. Otherwise as [`super::upload_picture`] would.

use leptos::web_sys::File;

use super::{ApiError, Conversation, PageLimits};

#[cfg(feature = "hydrate")]
mod script {
    use leptos::wasm_bindgen;
    use leptos::wasm_bindgen::prelude::*;
    use leptos::web_sys::{File, js_sys::Promise};

    #[wasm_bindgen(raw_module = "./picture.js")]
    extern "C" {
        pub fn send(file: &File, side: usize, most: usize, address: &str, secret: &str) -> Promise;

        pub fn stop();
    }
}

/// Begins a conversation about the picture in a file.
///
/// # Errors
/// What [`super::upload_picture`] refuses, and what is beyond the limit.
#[cfg(feature = "hydrate")]
pub async fn send_picture(file: File, limits: PageLimits) -> Result<Conversation, ApiError> {
    use leptos::server_fn::ServerFn;
    use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
    use leptos::wasm_bindgen::JsCast;
    use leptos::web_sys::js_sys::Array;

    let address = super::Base::current().at(super::UploadPicture::PATH);
    let (side, most) = (limits.photo_side, limits.upload_bytes);
    let reply = script::send(&file, side, most, &address, &super::client::visitor()).await;
    // It rejects where the browser does not let it read the file.
    let reply = reply.ok().and_then(|reply| reply.dyn_into::<Array>().ok());
    let status = reply.as_ref().and_then(|reply| reply.get(0).as_f64());
    let text = reply.and_then(|reply| reply.get(1).as_string()).unwrap_or_default();
    // A status is a small whole number.
    match status.map(|status| status as u16) {
        None | Some(0) => Err(ApiError::from_server_fn_error(ServerFnErrorErr::Request(text))),
        Some(1) => Err(too_large(most)),
        Some(status) if status < 400 => serde_json::from_str(&text)
            .map_err(|error| ApiError::from_server_fn_error(ServerFnErrorErr::Deserialization(error.to_string()))),
        Some(status) => Err(serde_json::from_str(&text).unwrap_or_else(|_| super::client::by_status(status))),
    }
}

/// The server has nothing to send to itself.
#[cfg(not(feature = "hydrate"))]
#[allow(clippy::unused_async)]
pub async fn send_picture(_file: File, limits: PageLimits) -> Result<Conversation, ApiError> {
    Err(too_large(limits.upload_bytes))
}

/// Lets go of the picture that is on its way.
pub fn stop_sending() {
    #[cfg(feature = "hydrate")]
    script::stop();
}

fn too_large(most: usize) -> ApiError {
    let most = if most.is_multiple_of(1_000_000) {
        format!("{} MB", most / 1_000_000)
    } else {
        format!("{} MiB", most >> 20)
    };
    let sentence = super::t_with("alert.large_picture", &[("size", &most)]);
    ApiError::new(super::ErrorCode::PictureTooLarge, sentence)
}
