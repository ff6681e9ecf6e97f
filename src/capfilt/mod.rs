//! CapFilt: a captioner and a filter that clean pairs of pictures and texts from the web.
//!
//! Source: Li et al. 2022, *BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language
//! Understanding and Generation* (arXiv 2201.12086), section 3.3; its code for this was never released. For
//! each picture the captioner draws texts, and the filter tells of the web's text and of each drawn one
//! how likely it belongs to the picture; noisy ones are dropped.
//!
//! Two steps, that can run apart: `score` needs the models and writes one [`Row`] a picture; `select`
//! decides by the scores, needs no model, and can be done again with another policy. Read the files in
//! this order:
//!
//! 1. `row`: what is known of a picture. `web_text`: how a text is prepared before it is compared.
//! 2. `input`: pairs in all their forms, as a stream of samples. `shards`: who reads which of them.
//! 3. `picture`: bytes from files, archives and addresses, decoded ahead of the models.
//! 4. `captioner` and `filter`: the two models.
//! 5. `pipeline`: reading, decoding, captions and scores, all at once and in order. `memory`: what is known
//!    of pictures that are there more than once. `score`: the step.
//! 6. `journal`: rows as they come, so that a run that was killed goes on. `whole_file`: files that are
//!    there whole or not at all. `lock`: one process at a time writes them.
//! 7. `policy` and `select`: which texts are kept. `output`: rows in all their forms. `source`: the input's
//!    pictures, read again for forms that have them and for the report.
//! 8. `stats` and `report`: what came of it.

mod captioner;
mod error;
mod filter;
mod input;
mod journal;
mod lock;
mod memory;
mod output;
mod perceptual_hash;
mod picture;
mod pipeline;
mod policy;
mod report;
mod row;
mod score;
mod select;
mod shards;
mod source;
mod stats;
mod web_text;
mod whole_file;

pub use captioner::CaptionOptions;
pub use error::CapfiltError;
pub use output::OutputForm;
pub use policy::Policy;
pub use row::{Choice, KeptText, Origin, Row, ScoredText};
pub use score::{Advance, Models, ScoreOptions, SettingsFile, check_input, score};
pub use select::{SelectOptions, Selected, select};
pub use shards::{ShardRange, Worker};
pub use stats::{Stats, TextStats};
pub use web_text::prepared;
