//! `Content-Security-Policy`: what a page of ours may load, and run.
//!
//! Nothing from elsewhere, and nothing inline but what carries the number that this one answer
//! was given (its nonce). Any page may show ours in a frame: that is how demos are embedded.

use axum::http::HeaderValue;

/// Of an answer in which nothing is inline.
pub fn strict() -> HeaderValue {
    policy("", "")
}

/// Of a page that the router renders, whose scripts Leptos gives this nonce; its own style may have it too.
pub fn with_scripts(nonce: &str, has_style: bool) -> HeaderValue {
    let source = format!(" 'nonce-{nonce}'");
    let styles = if has_style { &*source } else { "" };
    policy(&source, styles)
}

/// Of a page with a style of its own, and maybe a script, and the nonce that these have to carry.
pub fn with_style(has_script: bool) -> (HeaderValue, String) {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let source = format!(" 'nonce-{nonce}'");
    let scripts = if has_script { &*source } else { "" };
    (policy(scripts, &source), nonce)
}

/// Of a document that is only read: no scripts at all, and the nonce that its style has to carry.
pub fn of_document() -> (HeaderValue, String) {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy =
        format!("default-src 'none'; img-src 'self'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'");
    // The nonce is hexadecimal.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    (policy, nonce)
}

fn policy(scripts: &str, styles: &str) -> HeaderValue {
    // While developing, the page also listens for `cargo leptos watch`.
    let more = if cfg!(debug_assertions) {
        "; connect-src 'self' ws:"
    } else {
        ""
    };
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src 'self'{styles}; \
         img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'{more}"
    );
    // A nonce that is no header value is none of Leptos's: then nothing may be loaded.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
