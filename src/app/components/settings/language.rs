//! The language of the page. A form of its own, which works without JavaScript; a script in the page's head sends
//! it as soon as something else is chosen.

/// What is in the form, as HTML: the server alone draws it, and no browser draws it anew.
#[cfg(feature = "ssr")]
pub fn fields() -> String {
    use crate::api::{LANGUAGE_FIELD, Language, drawn};

    let current = Language::current();
    let option = |language: Language| {
        let (code, name, tag) = (language.code(), language.name(), language.tag());
        let selected = if language == current { " selected" } else { "" };
        format!(r#"<option value="{code}" lang="{tag}"{selected}>{name}</option>"#)
    };
    let (label, apply) = (drawn("setting.language"), drawn("setting.apply"));
    let options: String = Language::ALL.into_iter().map(option).collect();
    format!(
        r#"<label><span>{label}</span><select name="{LANGUAGE_FIELD}" id="language" autocomplete="off">{options}</select></label><noscript><button type="submit">{apply}</button></noscript>"#
    )
}

#[cfg(not(feature = "ssr"))]
pub fn fields() -> &'static str {
    ""
}
