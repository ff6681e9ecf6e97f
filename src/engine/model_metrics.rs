//! What a model's thread notes of its work, each with the model's name (`server::ops::metrics` lists
//! every name).

use std::sync::Arc;

use metrics::{counter, gauge, histogram};

/// Notes for one model. What it holds is nothing any more when this is dropped.
pub struct ModelMetrics {
    model: Arc<str>,
}

/// What a model holds at a moment.
#[derive(Clone, Copy, Default)]
pub struct Held {
    /// Blocks of the KV cache that requests hold, and those that nobody does.
    pub used_blocks: usize,
    pub free_blocks: usize,
    /// Bytes of blocks that are kept for whoever begins likewise.
    pub prefix_bytes: u64,
    /// Bytes of encoded pictures.
    pub picture_bytes: u64,
}

/// What is kept for whoever asks alike.
#[derive(Clone, Copy)]
pub enum Cache {
    /// Encoded pictures.
    Picture,
    /// Keys and values of how prompts begin.
    Prefix,
}

impl Cache {
    fn name(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Prefix => "prefix",
        }
    }
}

impl ModelMetrics {
    pub fn new(model: &str) -> Self {
        Self { model: model.into() }
    }

    pub fn held(&self, held: Held) {
        let blocks = |state: &'static str| gauge!("glimpse_kv_blocks", "model" => self.label(), "state" => state);
        blocks("used").set(held.used_blocks as f64);
        blocks("free").set(held.free_blocks as f64);
        let cache = |cache: Cache| gauge!("glimpse_cache_bytes", "model" => self.label(), "cache" => cache.name());
        cache(Cache::Prefix).set(held.prefix_bytes as f64);
        cache(Cache::Picture).set(held.picture_bytes as f64);
    }

    /// Something was looked for in a cache.
    pub fn looked_up(&self, cache: Cache, is_there: bool) {
        let name = if is_there {
            "glimpse_cache_hits_total"
        } else {
            "glimpse_cache_misses_total"
        };
        counter!(name, "model" => self.label(), "cache" => cache.name()).increment(1);
    }

    /// So many sequences go through the model together.
    pub fn batch(&self, rows: usize) {
        histogram!("glimpse_batch_rows", "model" => self.label()).record(rows as f64);
    }

    fn label(&self) -> Arc<str> {
        Arc::clone(&self.model)
    }
}

impl Drop for ModelMetrics {
    fn drop(&mut self) {
        self.held(Held::default());
    }
}
