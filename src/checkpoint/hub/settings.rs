//! What the environment says about the hub; the variables are those of `huggingface_hub`.

use std::path::PathBuf;

/// Where the hub is, where its files are kept, and who asks.
#[derive(Clone)]
pub struct HubSettings {
    /// `HF_ENDPOINT`, without a slash at its end, nor a name and password, which are not sent.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, or `hub` within `HF_HOME`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or the file that `hf auth login` writes.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: nothing but the cache is asked.
    pub offline: bool,
}

impl HubSettings {
    /// Reads the environment, and the token's file. What is not set, or empty, has the default of
    /// `huggingface_hub`.
    pub fn from_env() -> Self {
        let home = home();
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            endpoint: without_password(endpoint.trim().trim_end_matches('/')),
            cache: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| home.join("hub")),
            token: token(&home),
            offline: is_true(if variable("HF_HUB_OFFLINE").is_some() {
                "HF_HUB_OFFLINE"
            } else {
                "TRANSFORMERS_OFFLINE"
            }),
        }
    }
}

/// `HF_HOME`, or where it is by default.
fn home() -> PathBuf {
    let cache = || path("XDG_CACHE_HOME").unwrap_or_else(|| user_home().join(".cache"));
    path("HF_HOME").unwrap_or_else(|| cache().join("huggingface"))
}

fn user_home() -> PathBuf {
    // Where nobody is at home, the working directory must do.
    std::env::home_dir().unwrap_or_default()
}

fn token(home: &std::path::Path) -> Option<String> {
    if let Some(token) = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")) {
        return clean(&token);
    }
    if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return None;
    }
    let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
    clean(&std::fs::read_to_string(file).ok()?)
}

/// An endpoint stands in errors and in the log.
fn without_password(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.find('/').unwrap_or(rest.len());
            let start = rest[..host].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[start..])
        }
        None => endpoint.into(),
    }
}

/// A token without the line break that its file or variable may end with; nothing that
/// could not stand in a header is a token.
fn clean(token: &str) -> Option<String> {
    let token = token.trim();
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.to_string())
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// A variable that holds a path, which may begin with the user's folder.
fn path(name: &str) -> Option<PathBuf> {
    let value = PathBuf::from(std::env::var_os(name).filter(|value| !value.is_empty())?);
    Some(match value.strip_prefix("~") {
        Ok(rest) => user_home().join(rest),
        Err(_) => value,
    })
}

/// What Python takes for true.
fn is_true(name: &str) -> bool {
    variable(name).is_some_and(|value| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
}
