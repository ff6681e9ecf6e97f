//! `GET /setup`: a first page for whoever runs the server, on this machine alone: which model answers, which others
//! fit and how to have them, how to make the page one's own, and how to serve others.
//!
//! Whoever else asks is refused: by another machine, by another name, and through any proxy, trusted or not, since
//! a proxy asks from this machine for everybody.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::status::{escaped, list};
use crate::api::{Base, Language};
use crate::engine::Description;
use crate::models::auto::{Machine, QUICK_BYTES, licence};
use crate::models::inventory::parameters;
use crate::models::memory_estimate::MemoryEstimate;
use crate::models::{DtypeChoice, ModelConfig, cached, known, readable_bytes};
use crate::server::client_address::{ClientAddress, Proxied};
use crate::server::errors::{self, Reader};
use crate::server::host_and_origin::asks_this_machine;
use crate::server::plain_page::PlainPage;
use crate::server::state::AppState;
use crate::service::Service;

const SENTENCE: &str = "This page is for whoever runs this server, on its own machine. Open it there, as http://localhost with the server's port.";

const STYLE: &str = "\
body { max-width: 46rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem }
p { margin: .5rem 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0 }
dt { color: color-mix(in srgb, CanvasText 75%, Canvas) }
dd { margin: 0; overflow-wrap: anywhere }
dl + dl { margin-top: 1rem }
details { border-top: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); padding: .5rem 0 }
summary { cursor: pointer }
summary small { display: block; padding-inline-start: 1rem; color: color-mix(in srgb, CanvasText 75%, Canvas); font-size: .875rem }
.command { display: flex; gap: .5rem; align-items: start; margin: .5rem 0 }
pre { flex: 1; min-width: 0; margin: 0; padding: .5rem .75rem; overflow-x: auto; border-radius: .5rem; background: color-mix(in srgb, CanvasText 8%, Canvas); font: .875rem/1.5 ui-monospace, monospace }
button { font: inherit; font-size: .875rem; padding: .25rem .75rem; border: 1px solid GrayText; border-radius: 1rem; background: none; color: inherit; cursor: pointer }
.flags { grid-template-columns: minmax(0, max-content) minmax(0, 1fr) }
code { font-family: ui-monospace, monospace; font-size: .9375em }";

/// Copies a command; without it they are marked and copied by hand.
const SCRIPT: &str = "\
for (const pre of navigator.clipboard ? document.querySelectorAll('pre') : []) {
  const button = document.createElement('button')
  button.textContent = 'Copy'
  button.setAttribute('aria-label', 'Copy: ' + pre.textContent.trim())
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(pre.textContent.trim())
    button.textContent = 'Copied'
    setTimeout(() => { button.textContent = 'Copy' }, 2000)
  })
  pre.after(button)
}";

/// Where the server listens, and what fits there.
pub struct Installation {
    pub address: SocketAddr,
    /// Whether nobody else reaches it.
    pub is_local: bool,
    /// As it was before a model was loaded; none where its device was not there.
    pub machine: Option<Machine>,
}

/// Whether a request comes from this machine, by one of its own names, and through nobody.
pub fn is_for(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let ClientAddress(address) = ClientAddress::of(extensions);
    is_loopback(address)
        && extensions
            .get::<Proxied>()
            .is_none_or(|proxied| *proxied == Proxied::default())
        && asks_this_machine(headers)
        && !headers.keys().any(|name| is_a_proxys(name.as_str()))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether proxies write this header.
fn is_a_proxys(name: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-original-host",
    ];
    name.starts_with("x-forwarded") || OTHERS.contains(&name)
}

/// Refuses everybody else.
pub async fn guard(request: Request<Body>, next: Next) -> Response {
    if is_for(request.headers(), request.extensions()) {
        return next.run(request).await;
    }
    let reader = Reader::of(request.headers(), request.extensions());
    // As what it stands in front of.
    Language::English.speak(|| errors::page(StatusCode::FORBIDDEN, "Not from here", SENTENCE, &reader))
}

pub async fn serve(State(state): State<AppState>, request: Request) -> Response {
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let installation = Arc::clone(&state.installation);
    let service = Arc::clone(&state.service);
    // It looks into the cache of downloads.
    let body = tokio::task::spawn_blocking({
        let base = base.clone();
        move || body(&base, &service, &installation)
    });
    let Ok(body) = body.await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let page = PlainPage {
        base: &base,
        language: Language::English,
        title: "Set up Glimpse",
        head: "",
        style: STYLE,
        script: SCRIPT,
        body: &body,
    };
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (headers, page).into_response()
}

fn body(base: &Base, service: &Service, installation: &Installation) -> String {
    let models = models();
    let home = base.at("/");
    let status = base.at("/status");
    [
        &format!(
            r#"<p><a href="{home}">Open Glimpse</a> · <a href="{status}">What it does</a></p>
<p>This page is shown on this machine alone. Visitors have no way to it.</p>
"#
        ),
        "<h2>What answers</h2>\n",
        &running(service, &models, installation.machine.as_ref()),
        "<h2>Other models</h2>\n",
        &others(service, &models, installation.machine.as_ref()),
        "<h2>A page of your own</h2>\n",
        OWN_PAGE,
        "<h2>For others</h2>\n",
        &for_others(installation),
    ]
    .concat()
}

/// A model that could answer.
struct Candidate {
    id: String,
    config: ModelConfig,
    is_downloaded: bool,
}

/// The published ones, and what else was downloaded.
fn models() -> Vec<Candidate> {
    let mut here = cached();
    let mut all = Vec::new();
    for known in known() {
        let copy = here.iter().position(|cached| cached.id == known.id);
        let copy = copy.map(|index| here.remove(index));
        all.push(Candidate {
            is_downloaded: copy.as_ref().is_some_and(|copy| copy.is_complete),
            id: known.id.to_owned(),
            config: copy.map_or(known.config, |copy| copy.config),
        });
    }
    all.extend(here.into_iter().map(|other| Candidate {
        id: other.id,
        config: other.config,
        is_downloaded: other.is_complete,
    }));
    all
}

/// Those that answer now.
fn running(service: &Service, models: &[Candidate], machine: Option<&Machine>) -> String {
    let one = |description: &Description| {
        let name = match description.is_demo {
            true => "the small demo model, which knows drawn scenes and simple shapes, not photos".to_owned(),
            false => description.name.clone(),
        };
        let mut pairs = vec![
            ("Model", name),
            ("What it does", description.purpose.does().to_owned()),
            ("Device", description.device.clone()),
            ("Dtype", description.dtype.clone()),
        ];
        let known = models.iter().find(|model| model.id == description.name);
        if let (Some(known), Some(machine)) = (known, machine)
            && let Ok(dtype) = description.dtype.parse::<DtypeChoice>()
            && let Some(needed) = machine.needed(&known.config, dtype)
        {
            pairs.push(("Memory", memory(&needed)));
        }
        list(&pairs)
    };
    let mut text: String = service.models().map(|engine| one(engine.description())).collect();
    if let Some(limit) = machine.and_then(|machine| machine.limit.as_ref()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<p>Before a model was loaded, {limit}.</p>");
    }
    text
}

fn memory(needed: &MemoryEstimate) -> String {
    format!(
        "{} ({} of weights, {} to work)",
        readable_bytes(needed.total()),
        readable_bytes(needed.weights),
        readable_bytes(needed.working)
    )
}

/// What else fits, and what does not.
fn others(service: &Service, models: &[Candidate], machine: Option<&Machine>) -> String {
    let Some(machine) = machine else {
        return "<p>What fits here could not be found out. <code>glimpse models</code> lists what there is.</p>\n"
            .into();
    };
    let runs = |model: &&Candidate| service.models().any(|engine| engine.description().name == model.id);
    let (mut fitting, mut too_large) = (String::new(), Vec::new());
    for model in models.iter().filter(|model| !runs(model)) {
        match machine.fit(&model.config) {
            Some((dtype, needed)) => fitting.push_str(&candidate(model, machine, dtype, &needed)),
            None => too_large.push(escaped(&model.id)),
        }
    }
    let fitting = match fitting.as_str() {
        "" => "<p>None of the published models fits here.</p>\n".to_owned(),
        _ => format!(
            "<p>These fit this machine. A command ends the server that runs first (Ctrl-C), then starts it with that model; several <code>--model</code> are a choice for visitors.</p>\n{fitting}"
        ),
    };
    let too_large = match too_large.as_slice() {
        [] => String::new(),
        ids => format!(
            "<details><summary>Too large for this machine: {}</summary>\n<p>{}</p>\n</details>\n",
            ids.len(),
            ids.join(", ")
        ),
    };
    fitting + &too_large
}

fn candidate(model: &Candidate, machine: &Machine, dtype: DtypeChoice, needed: &MemoryEstimate) -> String {
    let id = escaped(&model.id);
    let download = match model.is_downloaded {
        true => "downloaded".to_owned(),
        false => format!("{} to download", readable_bytes(4 * parameters(&model.config))),
    };
    let pace = match machine.device.is_cpu() && needed.weights > QUICK_BYTES {
        true => ", slow on a processor",
        false => "",
    };
    let flag = match dtype {
        DtypeChoice::Auto => String::new(),
        DtypeChoice::Format(format) => format!(" --dtype {}", format.name()),
    };
    let fetch = match model.is_downloaded {
        true => String::new(),
        false => command(&format!("glimpse fetch {id}")),
    };
    format!(
        "<details><summary>{id}<small>{}; {download}, {} of memory{pace}; licence: {}</small></summary>\n{fetch}{}</details>\n",
        model.config.purpose().does(),
        readable_bytes(needed.total()),
        licence(&model.id),
        command(&format!("glimpse serve --model {id}{flag}")),
    )
}

/// Something to type, escaped already.
fn command(text: &str) -> String {
    format!("<div class=\"command\"><pre>{text}</pre></div>\n")
}

const OWN_PAGE: &str = r#"<div class="command"><pre>glimpse serve --title "Birds of Kent" --accent tomato --examples birds/</pre></div>
<dl class="flags">
<dt><code>--title</code></dt><dd>what the page is called</dd>
<dt><code>--description</code></dt><dd>what it says of itself where it welcomes a visitor</dd>
<dt><code>--notice</code></dt><dd>a quiet line, such as “Pictures are deleted every night.”</dd>
<dt><code>--accent</code></dt><dd>the colour of buttons and marks</dd>
<dt><code>--examples</code></dt><dd>a folder of pictures to try; What_is_this.jpg is asked that, cat.jpg is described</dd>
</dl>
<p>Each may be an environment variable too, such as <code>GLIMPSE_TITLE</code>. <code>glimpse serve --help</code> has all of them.</p>
"#;

fn for_others(installation: &Installation) -> String {
    let port = installation.address.port();
    let now = match installation.is_local {
        true => "Now this machine alone reaches it. To let the network in:",
        false => "Other machines reach it already, as far as their network lets them. It is started so:",
    };
    [
        &format!("<p>{now}</p>\n"),
        &command(&format!("glimpse serve --addr 0.0.0.0:{port}")),
        "<p>On the internet a reverse proxy stands before it, which speaks https and passes on the host and who asks (<code>deploy/nginx.conf</code> is an example):</p>\n",
        &command(&format!("glimpse serve --addr 127.0.0.1:{port} --public-url https://demo.example --trusted-proxies 127.0.0.1")),
        "<p>So that conversations outlive the server:</p>\n",
        &command(&format!("glimpse serve --addr 127.0.0.1:{port} --data ~/glimpse")),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::client_address::{Network, TrustedProxies};

    /// Whether a request from `peer` with these headers sees the page, where 127.0.0.1 is a trusted proxy.
    fn sees(peer: &str, headers: &[(&str, &str)]) -> bool {
        let network: Network = "127.0.0.1".parse().expect("it is an address");
        let proxies: TrustedProxies = [network].into_iter().collect();
        let mut request = axum::http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("it is a request");
        proxies.identify(&mut request, SocketAddr::new(peer.parse().expect(peer), 4711));
        is_for(request.headers(), request.extensions())
    }

    #[test]
    fn whoever_sits_at_the_machine_sees_it() {
        for (peer, host) in [
            ("127.0.0.1", "localhost:7860"),
            ("127.0.0.1", "127.0.0.1:7860"),
            ("::1", "[::1]:7860"),
            ("::ffff:127.0.0.1", "localhost"),
        ] {
            assert!(sees(peer, &[("host", host)]), "{peer} {host}");
        }
    }

    #[test]
    fn other_machines_and_other_names_do_not() {
        for peer in ["192.0.2.1", "10.0.0.1", "172.17.0.1", "fe80::1", "2001:db8::1"] {
            assert!(!sees(peer, &[("host", "localhost:7860")]), "{peer}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.5:7860",
            "demo.lan",
            "",
        ] {
            assert!(!sees("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!sees("127.0.0.1", &[]), "a request that names no host");
    }

    #[test]
    fn nobody_does_through_a_proxy_not_even_a_trusted_one() {
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", ""),
            ("x-forwarded-host", "localhost"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-prefix", "/demo"),
            ("x-forwarded-port", "80"),
            ("forwarded", "for=127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("via", "1.1 somebody"),
            ("cf-connecting-ip", "127.0.0.1"),
        ] {
            for peer in ["127.0.0.1", "::1"] {
                assert!(
                    !sees(peer, &[("host", "localhost"), (name, value)]),
                    "{peer} {name}: {value}"
                );
            }
        }
    }
}
