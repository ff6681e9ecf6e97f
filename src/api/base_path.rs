//! Where the page is below its host, and every address of the page made from it.

use leptos::prelude::*;

/// Nothing where the page has its host to itself, else a path such as `/glimpse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// Reads a path as people write it: with or without a `/` at either end.
    ///
    /// None where it is more than plain names with `/` between them.
    pub fn read(path: &str) -> Option<Self> {
        let inner = path.trim().trim_matches('/');
        if inner.is_empty() {
            return Some(Self::default());
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let is_name = |name: &str| !name.is_empty() && name != "." && name != ".." && name.bytes().all(is_plain);
        inner.split('/').all(is_name).then(|| Self(["/", inner].concat()))
    }

    /// The base of the page that is being rendered.
    #[cfg(feature = "ssr")]
    pub fn current() -> Self {
        use_context().unwrap_or_default()
    }

    /// The base of the page that is shown, as the server has written it on `html`.
    #[cfg(not(feature = "ssr"))]
    pub fn current() -> Self {
        let html = document().document_element();
        Self(
            html.and_then(|html| html.get_attribute("data-base"))
                .unwrap_or_default(),
        )
    }

    /// The address of something of ours, whose path begins with a `/`.
    pub fn at(&self, path: &str) -> String {
        [&self.0, path].concat()
    }

    /// What is left of a path below this one; none where it is elsewhere.
    pub fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&self.0)? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }

    /// Without a `/` at its end; empty where the page has its host to itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_path_of_plain_names() {
        let read = |path: &str| Base::read(path).map(|base| base.0);
        for (written, base) in [
            ("/glimpse", "/glimpse"),
            ("glimpse/", "/glimpse"),
            ("/a/b-c_d.e~f/", "/a/b-c_d.e~f"),
            ("/", ""),
            ("", ""),
            ("//", ""),
        ] {
            assert_eq!(read(written).as_deref(), Some(base), "{written}");
        }
        for wrong in [
            "/a//b",
            "/../a",
            "/a/.",
            "/a b",
            "/a?b",
            "/a\"b",
            "/a%2fb",
            "http://x/a",
            "/é",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_below_the_base_and_are_found_there() {
        let (host, below) = (Base::default(), Base("/glimpse".into()));
        assert_eq!(
            (host.at("/c/1"), below.at("/c/1")),
            ("/c/1".into(), "/glimpse/c/1".into())
        );
        assert_eq!(below.below("/glimpse/c/1"), Some("/c/1"));
        assert_eq!(
            (below.below("/glimpse"), below.below("/glimpse/")),
            (Some("/"), Some("/"))
        );
        assert_eq!((below.below("/glimpses"), below.below("/")), (None, None));
        assert_eq!((host.below("/c/1"), host.below("/")), (Some("/c/1"), Some("/")));
    }
}
