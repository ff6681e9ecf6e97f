//! Light, dark, or as the visitor's system has it.

/// How the page looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system has it.
    #[default]
    Automatic,
    Light,
    Dark,
}

/// The cookie and the storage's key that keep a choice.
pub const THEME: &str = "glimpse-theme";

impl Theme {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Automatic, Self::Light, Self::Dark];

    /// As cookies, storage and `html[data-theme]` have it; empty is none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What is no theme's name is the system's.
    pub fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|theme| theme.name() == name).unwrap_or_default()
    }

    /// That of the page that is being rendered.
    #[cfg(feature = "ssr")]
    pub fn current() -> Self {
        leptos::prelude::use_context().unwrap_or_default()
    }

    /// That of the page that is shown.
    #[cfg(not(feature = "ssr"))]
    pub fn current() -> Self {
        let html = leptos::prelude::document().document_element();
        let name = html.and_then(|html| html.get_attribute("data-theme"));
        Self::named(&name.unwrap_or_default())
    }

    /// For which of the system's two looks a colour of the browser's own frame counts, of a page in light and of
    /// one in dark: media queries.
    pub fn frame_media(self) -> [&'static str; 2] {
        match self {
            Self::Automatic => ["(prefers-color-scheme: light)", "(prefers-color-scheme: dark)"],
            Self::Light => ["all", "not all"],
            Self::Dark => ["not all", "all"],
        }
    }
}
