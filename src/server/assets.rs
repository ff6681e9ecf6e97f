//! The files of the page: WebAssembly, scripts, styles and example pictures, inside the
//! program, compressed when it was built.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

use super::errors::{self, Reader};
use crate::api::t;

/// What `make page` leaves in `target/site`. In a debug build it is read from there at
/// run time, so that `cargo leptos watch` shows changes at once.
#[derive(RustEmbed)]
#[folder = "target/site/"]
#[allow_missing = true]
struct Site;

/// Of what has the hash of its bytes in its address: it is never another thing.
pub const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Encodings in the order in which they are preferred, with the ending of their files.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// `GET /pkg/…`, `/examples/…` and the other files of the page.
pub async fn serve(path: Result<Path<String>, PathRejection>, request: Request) -> Response {
    // No file has a name that is no text.
    let found = path.ok().and_then(|Path(path)| file(&path, &request));
    found.unwrap_or_else(|| {
        let reader = Reader::of(request.headers(), request.extensions());
        let (title, sentence) = (t("plain.not_found"), t("plain.nothing_here"));
        errors::page(StatusCode::NOT_FOUND, title, sentence, &reader)
    })
}

/// The folder of the page's code and style, with the hash of all that is in it: a page loads what it was built
/// with, and has it from then on.
pub fn package() -> &'static str {
    static PACKAGE: LazyLock<String> = LazyLock::new(|| {
        if IS_READ_EACH_TIME {
            return PACKAGE_FOLDER.to_owned();
        }
        let is_of_it =
            |name: &str| name.starts_with(PACKAGE_FOLDER) && !name.ends_with(".br") && !name.ends_with(".gz");
        let files = Site::iter()
            .filter(|name| is_of_it(name))
            .filter_map(|name| Site::get(&name));
        let all: Vec<u8> = files.flat_map(|file| file.metadata.sha256_hash()).collect();
        format!("{PACKAGE_FOLDER}/{}", hex(&Sha256::digest(all)[..HASH_BYTES]))
    });
    &PACKAGE
}

/// The address of another of the page's files, with its hash; the path begins with `/`.
pub fn address(path: &str) -> String {
    match Site::get(path.trim_start_matches('/')) {
        Some(file) if !IS_READ_EACH_TIME => format!("{path}?{}", version(&file)),
        _ => path.to_owned(),
    }
}

fn version(file: &EmbeddedFile) -> String {
    format!("v={}", hex(&file.metadata.sha256_hash()[..HASH_BYTES]))
}

const PACKAGE_FOLDER: &str = "pkg";

/// Enough that no two builds have the same.
const HASH_BYTES: usize = 8;

/// A debug build's files may be others a moment later.
const IS_READ_EACH_TIME: bool = cfg!(debug_assertions);

/// One of the page's files, as small as the browser takes it.
fn file(path: &str, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let within = path.strip_prefix(package()).and_then(|rest| rest.strip_prefix('/'));
    let by_folder = within
        .filter(|_| !IS_READ_EACH_TIME)
        .map(|name| [PACKAGE_FOLDER, "/", name].concat());
    let path = by_folder.as_deref().unwrap_or(path);
    let plain = Site::get(path)?;
    let is_hashed = by_folder.is_some() || request.uri().query() == Some(&*version(&plain));
    let tag = format!("\"{}\"", hex(&plain.metadata.sha256_hash()[..16]));
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return Some((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mime = plain.metadata.mimetype().to_string();
    let (file, encoding) = smallest(path, plain, headers);
    let mut response = Response::new(Body::from(file.data));
    let response_headers = response.headers_mut();
    let mut set = |name, value: &str| {
        // Hexadecimal, fixed words and MIME types are header values.
        if let Ok(value) = value.parse() {
            response_headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, &mime);
    set(header::ETAG, &tag);
    // Without its hash it is asked for again after an update, and answered with a 304 until then.
    set(header::CACHE_CONTROL, if is_hashed { IMMUTABLE } else { "no-cache" });
    set(header::VARY, "accept-encoding");
    if let Some(encoding) = encoding {
        set(header::CONTENT_ENCODING, encoding);
    }
    Some(response)
}

/// Whether the page was there when this program was built.
pub fn has_page() -> bool {
    Site::get("pkg/glimpse.js").is_some()
}

/// The text of one of the page's files.
pub fn text(path: &str) -> Option<String> {
    Site::get(path).and_then(|file| String::from_utf8(file.data.into_owned()).ok())
}

/// The bytes of one of the page's files.
pub fn bytes(path: &str) -> Option<Vec<u8>> {
    Site::get(path).map(|file| file.data.into_owned())
}

fn smallest(path: &str, plain: EmbeddedFile, headers: &HeaderMap) -> (EmbeddedFile, Option<&'static str>) {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let accepts = |encoding: &str| {
        accepted.split(',').any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            parts.next() == Some(encoding) && parts.next().is_none_or(|q| !matches!(q, "q=0" | "q=0.0"))
        })
    };
    ENCODINGS
        .into_iter()
        .filter(|(encoding, _)| accepts(encoding))
        .find_map(|(encoding, ending)| Site::get(&format!("{path}{ending}")).map(|file| (file, Some(encoding))))
        .unwrap_or((plain, None))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
