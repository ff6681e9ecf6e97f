//! How the page calls the server: as Leptos does, except that a reply from something between
//! the two is known by its status. Proxies answer with web pages, which tell a visitor nothing.

use futures::{Sink, Stream};
use leptos::server_fn::Bytes;
use leptos::server_fn::client::{Client, browser::BrowserClient};
use leptos::server_fn::request::browser::BrowserRequest;
use leptos::server_fn::response::{ClientRes, browser::BrowserResponse};

use super::{ApiError, Base, ErrorCode, LANGUAGE_HEADER, t, t_with};

/// Has the page's calls sent below this base. To be said once, before the first of them.
pub fn set_base(base: &Base) {
    let url: &'static str = Box::leak(base.as_str().into());
    // It was said before: then the page is the same.
    let _ = leptos::server_fn::client::try_set_server_url(url);
}

/// Carries the visitor's secret.
pub const VISITOR_HEADER: &str = "x-glimpse-visitor";

thread_local! {
    static VISITOR: std::cell::OnceCell<String> = const { std::cell::OnceCell::new() };
}

/// Has the page's calls carry the visitor's secret, 32 hexadecimal digits. To be said once,
/// before the first of them.
pub fn set_visitor(secret: String) {
    // It was said before: then the visitor is the same.
    VISITOR.with(|visitor| drop(visitor.set(secret)));
}

/// What sends the page's calls.
pub struct PageClient;

impl Client<ApiError> for PageClient {
    type Request = BrowserRequest;
    type Response = Reply;

    fn send(request: BrowserRequest) -> impl Future<Output = Result<Reply, ApiError>> + Send {
        VISITOR.with(|visitor| {
            if let Some(secret) = visitor.get() {
                request.headers().set(VISITOR_HEADER, secret);
            }
        });
        request.headers().set(LANGUAGE_HEADER, t("language"));
        let sent = <BrowserClient as Client<ApiError>>::send(request);
        async move { sent.await.map(Reply) }
    }

    fn open_websocket(
        path: &str,
    ) -> impl Future<
        Output = Result<
            (
                impl Stream<Item = Result<Bytes, Bytes>> + Send + 'static,
                impl Sink<Bytes> + Send + 'static,
            ),
            ApiError,
        >,
    > + Send {
        <BrowserClient as Client<ApiError>>::open_websocket(path)
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        <BrowserClient as Client<ApiError>>::spawn(future);
    }
}

/// A reply, from our server or from something in front of it.
pub struct Reply(BrowserResponse);

/// The response as Leptos sees it, for our kind of error.
fn as_leptos(response: &BrowserResponse) -> &impl ClientRes<ApiError> {
    response
}

impl ClientRes<ApiError> for Reply {
    fn try_into_string(self) -> impl Future<Output = Result<String, ApiError>> + Send {
        self.0.try_into_string()
    }

    /// An error's body is read here, and by its status where it is none of ours.
    fn try_into_bytes(self) -> impl Future<Output = Result<Bytes, ApiError>> + Send {
        let status = ClientRes::<ApiError>::status(&self.0);
        let body = ClientRes::<ApiError>::try_into_bytes(self.0);
        async move {
            let body = body.await;
            if status < 400 {
                return body;
            }
            let body = body.map_err(|_| by_status(status))?;
            if serde_json::from_slice::<ApiError>(&body).is_err() {
                return Err(by_status(status));
            }
            Ok(body)
        }
    }

    fn try_into_stream(self) -> Result<impl Stream<Item = Result<Bytes, Bytes>> + Send + Sync + 'static, ApiError> {
        self.0.try_into_stream()
    }

    fn status(&self) -> u16 {
        as_leptos(&self.0).status()
    }

    fn status_text(&self) -> String {
        as_leptos(&self.0).status_text()
    }

    fn location(&self) -> String {
        as_leptos(&self.0).location()
    }

    fn has_redirect(&self) -> bool {
        as_leptos(&self.0).has_redirect()
    }
}

/// The visitor's secret, as [`set_visitor`] was told.
#[cfg(feature = "hydrate")]
pub(super) fn visitor() -> String {
    VISITOR.with(|visitor| visitor.get().cloned().unwrap_or_default())
}

/// What a status means that did not come from our server.
pub(super) fn by_status(status: u16) -> ApiError {
    let (kind, sentence) = match status {
        401 | 403 | 407 => (ErrorCode::BadRequest, t("alert.login")),
        408 | 502..=504 | 520..=524 => (ErrorCode::Unreachable, t("alert.not_now")),
        413 => (ErrorCode::TooLargeForProxy, t("alert.proxy_limit")),
        429 => (ErrorCode::QueueFull, t("alert.many_requests")),
        _ => {
            let sentence = t_with("alert.status", &[("status", &status.to_string())]);
            return ApiError::new(ErrorCode::Internal, sentence);
        }
    };
    ApiError::new(kind, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_status_gets_its_sentence() {
        let said = [
            (401, ErrorCode::BadRequest, "login"),
            (413, ErrorCode::TooLargeForProxy, "the limit is the proxy's"),
            (429, ErrorCode::QueueFull, "too many requests"),
            (502, ErrorCode::Unreachable, "cannot be reached right now"),
            (503, ErrorCode::Unreachable, "cannot be reached right now"),
            (504, ErrorCode::Unreachable, "cannot be reached right now"),
            (524, ErrorCode::Unreachable, "cannot be reached right now"),
            (418, ErrorCode::Internal, "could not be read (status 418)"),
        ];
        for (status, kind, words) in said {
            let error = by_status(status);
            assert_eq!(error.code, kind, "{status}");
            assert!(error.message.contains(words), "{status}: {error}");
        }
    }
}
