//! What the hub's refusals mean.

use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode};

use super::client::text;
use super::error::HubError;
use super::{HubId, HubSettings};

/// Puts refusals of one file into sentences.
pub struct Refusals<'a> {
    pub settings: &'a HubSettings,
    pub id: &'a HubId,
    pub file: &'a str,
}

impl Refusals<'_> {
    /// What is wrong with an answer, and after how many seconds trying again may help.
    ///
    /// The codes are those of `hf_raise_for_status`.
    pub fn of(&self, response: &Response<Body>) -> Option<(HubError, Option<u64>)> {
        let status = response.status();
        // A range behind the end is none: the caller has all of the file already.
        if status.is_success() || status.is_redirection() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return None;
        }
        let wait = asked_to_wait(response.headers());
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = wait.unwrap_or(1);
            return Some((self.too_many(seconds), Some(seconds)));
        }
        let passes = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
        Some((self.final_error(response), passes.then(|| wait.unwrap_or(1))))
    }

    fn final_error(&self, response: &Response<Body>) -> HubError {
        let (id, endpoint) = (self.id.name.clone(), self.settings.endpoint.clone());
        let code = text(response.headers(), "x-error-code").unwrap_or_default();
        let message = text(response.headers(), "x-error-message").unwrap_or_default();
        let status = response.status().as_u16();
        match (response.status(), code.as_str()) {
            (_, "RevisionNotFound") => HubError::NoRevision {
                id,
                revision: self.id.revision.clone(),
            },
            (_, "EntryNotFound") => HubError::NoFile {
                id,
                file: self.file.into(),
            },
            (_, "GatedRepo") => HubError::Gated { id, endpoint, status },
            (StatusCode::UNAUTHORIZED, _) if message.starts_with("Invalid") => HubError::BadToken { endpoint, status },
            (StatusCode::FORBIDDEN, _) => HubError::Forbidden { id, endpoint, status },
            (_, "RepoNotFound") | (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, _) => {
                HubError::NoRepository { id, endpoint, status }
            }
            (status, _) => self.unexpected(status),
        }
    }

    fn too_many(&self, seconds: u64) -> HubError {
        HubError::TooManyRequests {
            endpoint: self.settings.endpoint.clone(),
            seconds,
            hint: if self.settings.token.is_none() {
                ", or set HF_TOKEN"
            } else {
                ""
            },
        }
    }

    /// The error for an answer that makes no sense.
    pub fn unexpected(&self, status: StatusCode) -> HubError {
        HubError::Status {
            endpoint: self.settings.endpoint.clone(),
            status: status.as_u16(),
            what: format!("{}/{}", self.id.name, self.file),
        }
    }
}

/// Seconds to wait: `Retry-After: 55`, or as the hub counts, `RateLimit: "resolvers";r=0;t=55`
/// with no requests left until then.
fn asked_to_wait(headers: &HeaderMap) -> Option<u64> {
    let retry_after = || text(headers, "retry-after")?.trim().parse::<u64>().ok();
    let seconds = until_reset(&text(headers, "ratelimit").unwrap_or_default()).or_else(retry_after)?;
    Some(seconds.max(1))
}

fn until_reset(rate_limit: &str) -> Option<u64> {
    let number = |name: &str| {
        let mut parts = rate_limit.split(';').map(str::trim);
        parts
            .find_map(|part| part.strip_prefix(name)?.trim_start().strip_prefix('='))?
            .trim()
            .parse::<u64>()
            .ok()
    };
    number("t").filter(|_| number("r") == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_own_count_says_how_long_to_wait() {
        assert_eq!(until_reset("\"resolvers\";r=0;t=55"), Some(55));
        assert_eq!(until_reset("\"api\"; r = 0 ; t = 7"), Some(7));
        for other in ["", "\"api\";r=12;t=55", "\"api\";r=0", "\"api\";r=0;t=soon"] {
            assert_eq!(until_reset(other), None, "{other}");
        }
    }
}
