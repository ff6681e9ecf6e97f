//! Hosting below a path of a host (`--root-path`), behind a proxy that strips the path from what
//! it passes on, or does not.

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Request, Uri};

use crate::api::Base;

/// Paths of our own: a request for one of them, from which a proxy has stripped the root path
/// already, must not look as if it had not.
const OWN: [&str; 13] = [
    "/api/page",
    "/ask",
    "/c",
    "/examples",
    "/favicon.ico",
    "/favicon.svg",
    "/healthz",
    "/js",
    "/metrics",
    "/pictures",
    "/pkg",
    "/readyz",
    "/status",
];

/// What a proxy calls the path that it has stripped.
const PREFIX: &str = "x-forwarded-prefix";

/// Where the host has put us, if he has said so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RootPath(Option<Base>);

impl std::str::FromStr for RootPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base = Base::read(text).ok_or("write it as /glimpse: names of letters, digits and -._~ between /")?;
        if is_own(&base) {
            return Err("this is the beginning of an address of the page itself: choose another one, as /glimpse");
        }
        Ok(Self(Some(base)))
    }
}

impl RootPath {
    /// Adds to a request where our addresses begin, a [`Base`], and takes that off its path. A
    /// proxy's word counts where nothing was set and the proxy is trusted.
    pub fn place<B>(&self, request: &mut Request<B>, is_trusted: bool) {
        let base = match &self.0 {
            Some(base) => base.clone(),
            None if is_trusted => told(request.headers()).unwrap_or_default(),
            None => Base::default(),
        };
        if let Some(uri) = below(&base, request.uri()) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(base);
    }
}

/// What proxies have stripped, each a part.
fn told(headers: &HeaderMap) -> Option<Base> {
    let lines = headers.get_all(PREFIX).into_iter();
    let parts: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    let all = parts?.join(",");
    let whole: String = all
        .split(',')
        .flat_map(|part| ["/", part.trim().trim_matches('/')])
        .collect();
    Base::read(&whole).filter(|base| !is_own(base))
}

fn is_own(base: &Base) -> bool {
    let is_above = |path: &str| base.below(path).is_some();
    !base.as_str().is_empty() && OWN.into_iter().any(is_above)
}

/// The same address without the base; none where it has it not.
fn below(base: &Base, uri: &Uri) -> Option<Uri> {
    if base.as_str().is_empty() {
        return None;
    }
    let path = base.below(uri.path())?;
    let text = uri
        .query()
        .map_or_else(|| path.to_owned(), |query| [path, "?", query].concat());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and base that a request has in the end.
    fn placed(root: &str, prefix: Option<&str>, is_trusted: bool, path: &str) -> (String, String) {
        let root = match root {
            "" => RootPath::default(),
            root => root.parse().expect(root),
        };
        let mut request = Request::builder().uri(path);
        if let Some(prefix) = prefix {
            request = request.header(PREFIX, prefix);
        }
        let mut request = request.body(()).expect(path);
        root.place(&mut request, is_trusted);
        let base = request.extensions().get::<Base>().expect("every request has one");
        (request.uri().to_string(), base.as_str().to_owned())
    }

    #[test]
    fn a_root_path_is_taken_off_where_the_proxy_has_not() {
        for (path, seen) in [
            ("/glimpse/c/1?q=/glimpse", "/c/1?q=/glimpse"),
            ("/c/1", "/c/1"),
            ("/glimpse", "/"),
            ("/glimpse/", "/"),
            ("/", "/"),
            ("/glimpses/c/1", "/glimpses/c/1"),
            ("http://demo.example/glimpse/c/1", "http://demo.example/c/1"),
        ] {
            assert_eq!(
                placed("/glimpse", None, false, path),
                (seen.into(), "/glimpse".into()),
                "{path}"
            );
        }
        assert_eq!(placed("", None, true, "/c/1"), ("/c/1".into(), "".into()));
    }

    #[test]
    fn a_trusted_proxy_tells_the_path() {
        let told = |prefix| placed("", Some(prefix), true, "/c/1").1;
        assert_eq!(told("/demo/glimpse/"), "/demo/glimpse");
        assert_eq!(told("/demo, /glimpse"), "/demo/glimpse");
        for wrong in ["/a\"b", "https://evil.example", "/c"] {
            assert_eq!(told(wrong), "", "{wrong}");
        }
        assert_eq!(placed("", Some("/evil"), false, "/c/1").1, "", "anybody can write it");
        assert_eq!(placed("/glimpse", Some("/other"), true, "/c/1").1, "/glimpse");
        assert_eq!(placed("", Some("/demo"), true, "/demo/c/1").0, "/c/1");
    }

    #[test]
    fn a_root_path_is_no_path_of_ours() {
        for wrong in ["/c", "/api", "api/page", "/pkg/", "/a b"] {
            assert!(wrong.parse::<RootPath>().is_err(), "{wrong}");
        }
        assert_eq!("/".parse(), Ok(RootPath(Some(Base::default()))));
        assert!("/api/glimpse".parse::<RootPath>().is_ok());
    }
}
