//! The HTML document around the page: its name, its icons, its style.

use leptos::html;
use leptos::nonce::use_nonce;
use leptos::prelude::*;

use crate::api::{Base, Branding, FileAddress, Language, PageStyle, THEME, Theme, WORDS_ID, t};

/// Keeps the language that was chosen where there are no cookies too, as in frames of other sites, and sends the
/// choice as soon as it is made. Before the page is seen, so that it is not seen in two languages.
const KEEPS_LANGUAGE: &str = r#"{
  const html = document.documentElement, address = new URL(location), asked = address.searchParams
  const key = "glimpse-language", code = html.lang.split("-")[0]
  try {
    const kept = localStorage.getItem(key)
    if (asked.has("language")) {
      localStorage.setItem(key, code)
      asked.delete("language")
      history.replaceState(null, "", address)
    } else if (kept && kept !== code) {
      asked.set("language", kept)
      location.replace(address)
    }
  } catch {}
  addEventListener("change", ({ target }) => target.id === "language" && target.form.submit())
}"#;

/// The colours of the page's ground in light and in dark (`style/_tokens.scss`), for what the browser draws around it.
pub const GROUNDS: [&str; 2] = ["#fcfbf9", "#141517"];

/// Before anything is drawn: in a frame a choice of light or dark may be in storage, where no cookie comes along.
fn theme_script() -> String {
    format!(
        "try{{const t=localStorage.getItem('{THEME}');if(t&&document.documentElement.dataset.theme!==t)document.documentElement.dataset.theme=t}}catch{{}}"
    )
}

/// What the browser draws around the page has this colour, where the query holds.
fn frame_colour(colour: &'static str, media: &'static str) -> impl IntoView {
    html::meta().name("theme-color").content(colour).attr("media", media)
}

/// The document, with the page as its body.
pub fn document<V: IntoView>(options: LeptosOptions, page: impl FnOnce() -> V) -> impl IntoView {
    let base = Base::current();
    let root = base.as_str().to_owned();
    let Branding { title, description, .. } = use_context().unwrap_or_default();
    let PageStyle(style) = use_context().unwrap_or_default();
    let FileAddress(hashed) = use_context().unwrap_or(FileAddress(str::to_owned));
    let file = |path: &str| base.at(&hashed(path));
    let css = format!("{root}/{}/glimpse.css", options.site_pkg_dir);
    let (theme, language) = (Theme::current(), Language::current());
    let [light, dark] = GROUNDS;
    let [in_light, in_dark] = theme.frame_media();
    view! {
        <!DOCTYPE html>
        <html lang=language.tag() dir=language.direction() data-base=base.as_str().to_owned() data-theme=Some(theme.name()).filter(|name| !name.is_empty())>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <title>{title}</title>
                <meta name="description" content=description.unwrap_or_else(|| t("page.description").to_owned())/>
                <meta name="color-scheme" content="light dark"/>
                {frame_colour(light, in_light)}
                {frame_colour(dark, in_dark)}
                <script nonce=use_nonce() inner_html=theme_script()></script>
                <script nonce=use_nonce() inner_html=KEEPS_LANGUAGE></script>
                <link rel="icon" href=file("/favicon.ico") sizes="32x32"/>
                <link rel="icon" href=file("/favicon.svg") type="image/svg+xml"/>
                <link rel="apple-touch-icon" href=file("/icons/apple-touch-icon.png")/>
                <link rel="manifest" href=base.at("/manifest.webmanifest")/>
                <link rel="stylesheet" href=css/>
                {style.map(|style| view! { <style nonce=use_nonce() inner_html=style></style> })}
                // Data; a nonce as the others have, so that whoever counts finds none without.
                <script type="application/json" nonce=use_nonce() id=WORDS_ID inner_html=language.words_of_page()></script>
                // The WebAssembly's loader asks for it: here, so that it is on its way before.
                <link rel="modulepreload" href=format!("{root}/{}/picture.js", options.site_pkg_dir)/>
                <AutoReload options=options.clone()/>
                <HydrationScripts options root/>
            </head>
            <body>
                {page()}
            </body>
        </html>
    }
}
