//! Which models a running server has loaded.

use std::fmt;
use std::time::Duration;

use super::addr::Listen;
use super::ask::harmless;
use super::running_server::RunningServer;
use crate::server::{ModelState, ModelStates};

/// A server tells it at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server says of its models; its text is a sentence or a list.
pub enum LoadedModels {
    /// Nobody listens there.
    NoServer {
        reason: String,
    },
    /// Somebody does, who does not say it.
    Untold {
        reason: String,
    },
    Told {
        address: String,
        models: Vec<ModelState>,
    },
}

impl LoadedModels {
    /// Asks the server there.
    pub fn ask(addr: &Listen) -> Self {
        let server = match RunningServer::find(addr.addresses(), PATIENCE) {
            Ok(server) => server,
            Err(reason) => return Self::NoServer { reason },
        };
        let address = server.address.to_string();
        let untold = |reason: &str| Self::Untold {
            reason: format!("{address} {reason}"),
        };
        match server.get("/status") {
            Err(error) => untold(&format!("does not answer: {error}")),
            Ok((Some(200), said)) => match body(&said).and_then(|body| serde_json::from_slice(body).ok()) {
                Some(ModelStates { models }) => Self::Told { address, models },
                None => untold("is no Glimpse, or another version of it"),
            },
            Ok((Some(503), _)) => untold("is not ready"),
            Ok((Some(403), _)) => untold("tells it to those alone whom its host has named (--metrics-from)"),
            Ok((status, _)) => match status {
                Some(status) => untold(&format!("answers {status} to /status")),
                None => untold("is no Glimpse"),
            },
        }
    }

    /// What it says of each; nothing where it says nothing.
    pub fn models(&self) -> &[ModelState] {
        match self {
            Self::Told { models, .. } => models,
            Self::NoServer { .. } | Self::Untold { .. } => &[],
        }
    }
}

impl fmt::Display for LoadedModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer { reason } => write!(f, "Loaded: none; no server answers at {reason}."),
            Self::Untold { reason } => write!(f, "Loaded: unknown; the server at {reason}."),
            Self::Told { address, models } => {
                write!(f, "Loaded by the server at {address}:")?;
                for model in models {
                    let ModelState {
                        name, dtype, device, ..
                    } = model;
                    let line = format!("{name}: {} ({dtype} on {device})", model.told());
                    write!(f, "\n    {}", harmless(&line))?;
                }
                Ok(())
            }
        }
    }
}

/// What follows the head of an answer.
fn body(said: &[u8]) -> Option<&[u8]> {
    let end = said.windows(4).position(|part| part == b"\r\n\r\n")?;
    said.get(end + 4..)
}
