//! The proxy that the environment names, for whoever fetches at his own machine.

use ureq::Proxy;
use url::Url;

use super::address;

/// The proxy for an address, by the variables that curl reads: `https_proxy` or `http_proxy`,
/// then `all_proxy`, and none for the hosts of `no_proxy`.
pub fn for_address(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    let either = |name: &str| {
        // A web server sets HTTP_PROXY from a visitor's header: only the small form counts.
        let large = (name != "http_proxy").then(|| variable(&name.to_uppercase())).flatten();
        variable(name).or(large).filter(|value| !value.trim().is_empty())
    };
    // This machine itself is reached without, as Go's programs do: a proxy would look at home.
    if is_loopback(url) {
        return None;
    }
    let own = if url.scheme() == "https" {
        "https_proxy"
    } else {
        "http_proxy"
    };
    let proxy = either(own).or_else(|| either("all_proxy"))?;
    if either("no_proxy").is_some_and(|list| is_exempt(&address::host(url), &list)) {
        return None;
    }
    match Proxy::new(proxy.trim()) {
        Ok(proxy) => Some(proxy),
        Err(_) => {
            // What it says may be a password.
            tracing::warn!("the proxy that {own} or all_proxy names is no address, and is not used");
            None
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = address::host(url);
    address::place(url).is_some_and(|place| place.ip().is_loopback()) || host.eq_ignore_ascii_case("localhost")
}

/// Whether a list names a host, or a domain that it is in.
fn is_exempt(host: &str, list: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    list.split(',').map(str::trim).any(|entry| {
        let name = entry
            .trim_start_matches("*.")
            .trim_start_matches('.')
            .trim_matches(['[', ']']);
        let inside = host
            .len()
            .checked_sub(name.len())
            .and_then(|at| host.split_at_checked(at));
        entry == "*"
            || (!name.is_empty()
                && inside.is_some_and(|(before, end)| {
                    end.eq_ignore_ascii_case(name) && (before.is_empty() || before.ends_with('.'))
                }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(address: &str, variables: &[(&str, &str)]) -> Option<String> {
        let url = Url::parse(address).expect("it is an address");
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let found = for_address(&url, |name| value(name).map(|(_, value)| value.to_string()));
        found.map(|proxy| proxy.host().to_string())
    }

    #[test]
    fn the_environment_names_a_proxy_as_for_curl() {
        let both = [("http_proxy", "http://a:1"), ("HTTPS_PROXY", "b:2")];
        assert_eq!(proxy("http://x.example/", &both).as_deref(), Some("a"));
        assert_eq!(proxy("https://x.example/", &both).as_deref(), Some("b"));
        assert_eq!(proxy("http://x.example/", &[("HTTP_PROXY", "a:1")]), None);
        assert_eq!(
            proxy("http://x.example/", &[("all_proxy", "c:1")]).as_deref(),
            Some("c")
        );
        assert_eq!(proxy("http://127.0.0.1:8080/", &both), None);
        assert_eq!(proxy("http://localhost/", &both), None);
        for list in ["*", "example", ".x.example", "y, x.example", "X.example"] {
            assert_eq!(
                proxy("http://x.example/", &[both[0], ("no_proxy", list)]),
                None,
                "{list}"
            );
        }
        for list in ["", "y.example", "ample", "ax.example"] {
            assert!(
                proxy("http://x.example/", &[both[0], ("no_proxy", list)]).is_some(),
                "{list}"
            );
        }
    }
}
