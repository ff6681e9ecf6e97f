//! How far a long piece of work is, told to whoever wants to know.

use std::sync::Arc;

/// Hears of downloads and of loading.
pub trait Progress: Send + Sync {
    /// Work on `total` bytes begins (0 where nobody knows how many); it ends when what is given
    /// is dropped. `what` says what is done, as in `loading blip2-opt-2.7b`.
    fn begin(&self, what: &str, total: u64) -> Box<dyn Task>;
}

/// One piece of work.
pub trait Task: Send + Sync {
    /// So many bytes more are done.
    fn add(&self, bytes: u64);
    /// So many bytes are done in all, whatever was said before.
    fn set(&self, bytes: u64);
}

/// Tells nobody.
pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) -> Box<dyn Task> {
        Box::new(Silent)
    }
}

impl Task for Silent {
    fn add(&self, _: u64) {}
    fn set(&self, _: u64) {}
}
