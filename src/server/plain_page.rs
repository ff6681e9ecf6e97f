//! Pages that are made here, without the page's own scripts and styles: a sentence outside of it,
//! and what the server does.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::{assets, csp};
use crate::api::Base;

/// A page. Nothing in it is escaped: whoever makes one has escaped what is not our own.
pub struct PlainPage<'a> {
    /// Where our addresses begin.
    pub base: &'a Base,
    pub title: &'a str,
    /// Beside what every page has.
    pub head: &'a str,
    /// Beside colours, which every page has.
    pub style: &'a str,
    /// Runs when all else is there; empty where there is none.
    pub script: &'a str,
    /// Behind the title.
    pub body: &'a str,
}

impl IntoResponse for PlainPage<'_> {
    fn into_response(self) -> Response {
        let (policy, nonce) = csp::with_style(!self.script.is_empty());
        let Self {
            base,
            title,
            head,
            style,
            script,
            body,
        } = self;
        let script = match script {
            "" => String::new(),
            script => format!("<script nonce=\"{nonce}\">\n{script}\n</script>\n"),
        };
        let icon = base.at(&assets::address("/favicon.svg"));
        let html = format!(
            r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{head}
<title>{title} · Glimpse</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<style nonce="{nonce}">
html {{ background: Canvas; color: CanvasText }}
h1 {{ font-size: 1.5rem }}
a {{ color: #0f6f68 }}
@media (prefers-color-scheme: dark) {{ a {{ color: #58c4b6 }} }}
{style}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
{script}</body>
</html>
"#
        );
        ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
    }
}
