//! What a host has made his own of the page, by flags.

use super::accent::Accent;
use super::page::Examples;
use crate::api::Branding;

/// All of it; the default is Glimpse as it is.
#[derive(Clone, Debug, Default)]
pub struct Customization {
    /// The page's name, and what it says of itself.
    pub branding: Branding,
    /// The colour of buttons and marks.
    pub accent: Option<Accent>,
    /// The pictures to try.
    pub examples: Examples,
}
