//! Who else may read the conversation on the page.

use leptos::prelude::*;

/// What is known of it.
#[derive(Clone, Copy)]
pub struct SharingState {
    /// The address that was just made, whole. The server does not keep it, and cannot say it again.
    pub address: RwSignal<Option<String>>,
    /// At how many addresses the conversation can be read.
    pub count: RwSignal<usize>,
}

impl SharingState {
    pub fn new() -> Self {
        Self {
            address: RwSignal::new(None),
            count: RwSignal::new(0),
        }
    }

    /// Knows nothing, of another conversation.
    pub fn forget(self) {
        self.address.set(None);
        self.count.set(0);
    }
}
