//! Pages that are made here, without the page's own scripts and styles: a sentence outside of it,
//! and what the server does.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use super::{assets, csp};
use crate::api::{Base, Language};

/// A page. Nothing in it is escaped: whoever makes one has escaped what is not our own.
pub struct PlainPage<'a> {
    /// Where our addresses begin.
    pub base: &'a Base,
    /// In which it is written, title and body.
    pub language: Language,
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
            language,
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
        let (lang, direction) = (language.tag(), language.direction());
        let icon = base.at(&assets::address("/favicon.svg"));
        let html = format!(
            r#"<!DOCTYPE html>
<html lang="{lang}" dir="{direction}">
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
        let headers = [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag())),
        ];
        (headers, Html(html)).into_response()
    }
}
