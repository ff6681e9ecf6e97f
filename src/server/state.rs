//! What all requests share.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRef;
use leptos::config::LeptosOptions;
use tokio::sync::Semaphore;

use super::answers::Answers;
use super::limits::Limits;
use super::memory::MemoryBudget;
use crate::api::{ModelInfo, PageLimits};
use crate::engine::Engine;
use crate::remote::Fetcher;
use crate::store::LegacyStore as Store;

/// How many pictures are decoded at the same time; others wait.
const DECODERS: usize = 2;

/// How many pictures are fetched from addresses at the same time, at most.
const FETCHES: u64 = 16;

/// As many as leave room for other bodies, each holding as much as a picture may have.
fn fetches(limits: &Limits) -> usize {
    let fit = limits.picture_memory / 4 / (limits.picture.max_bytes as u64).max(1);
    // Not more than the constant.
    fit.clamp(1, FETCHES) as usize
}

/// Where `cargo leptos watch` tells the page to reload, as Cargo.toml says.
const RELOAD_PORT: u32 = 7861;

/// Cheap to clone: everything in it is shared.
#[derive(Clone)]
pub struct AppState {
    pub leptos: LeptosOptions,
    pub shared: Arc<Shared>,
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

impl FromRef<AppState> for Arc<Shared> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.shared)
    }
}

pub struct Shared {
    pub engine: Arc<dyn Engine>,
    pub store: Arc<Store>,
    pub answers: Answers,
    pub limits: Limits,
    /// What visitors make us hold, and how many pictures are decoded at the same time.
    pub memory: MemoryBudget,
    /// Fetches pictures from addresses, where that is allowed.
    pub fetcher: Option<Fetcher>,
    /// Fetches that may begin, since each holds a thread.
    pub fetching: Arc<Semaphore>,
}

impl AppState {
    pub fn new(
        engine: Arc<dyn Engine>,
        store: Store,
        limits: Limits,
        fetcher: Option<Fetcher>,
        address: SocketAddr,
    ) -> Self {
        // Set here rather than read from Cargo.toml, so that the program runs anywhere.
        let leptos = LeptosOptions::builder()
            .output_name("glimpse")
            .site_root("target/site")
            .site_addr(address)
            .reload_port(RELOAD_PORT)
            .build();
        let store = Arc::new(store);
        let answers = Answers::new(Arc::clone(&store), limits.answer_time, limits.grace);
        Self {
            leptos,
            shared: Arc::new(Shared {
                engine,
                store,
                answers,
                limits,
                memory: MemoryBudget::new(limits.picture_memory, DECODERS),
                fetcher,
                fetching: Arc::new(Semaphore::new(fetches(&limits))),
            }),
        }
    }
}

impl Shared {
    pub fn model_info(&self) -> ModelInfo {
        let model = self.engine.description();
        ModelInfo {
            name: model.name.clone(),
            device: model.device.clone(),
            dtype: model.dtype.clone(),
            is_demo: model.is_demo,
        }
    }

    pub fn page_limits(&self) -> PageLimits {
        PageLimits {
            upload_bytes: self.limits.picture.max_bytes,
            question_chars: self.limits.question_chars,
        }
    }
}
