//! What came of it, counted: `_stats.json`.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::policy::{Policy, passes};
use super::row::{Origin, Row, ScoredText};
use super::{CapfiltError, whole_file};

/// Bars of a histogram.
pub const BARS: usize = 40;

/// Of the web's texts, or of the synthetic ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TextStats {
    /// All of them.
    pub texts: u64,
    /// Those that say nothing.
    pub empty: u64,
    /// Those with scores.
    pub scored: u64,
    /// Those whose match is below the threshold.
    pub noisy: u64,
    pub kept: u64,
    /// How many have each match, from 0 to 1, and each cosine, from -1 to 1.
    pub match_histogram: Vec<u64>,
    pub cosine_histogram: Vec<u64>,
}

impl TextStats {
    fn add(&mut self, text: &ScoredText, threshold: f32) {
        self.texts += 1;
        self.empty += u64::from(super::web_text::is_empty(&text.text));
        if let Some(matching) = text.matching {
            self.scored += 1;
            self.noisy += u64::from(!passes(text, threshold));
            count(&mut self.match_histogram, matching);
        }
        if let Some(cosine) = text.cosine {
            count(&mut self.cosine_histogram, (cosine + 1.0) / 2.0);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.texts += other.texts;
        self.empty += other.empty;
        self.scored += other.scored;
        self.noisy += other.noisy;
        self.kept += other.kept;
        for (own, others) in [
            (&mut self.match_histogram, &other.match_histogram),
            (&mut self.cosine_histogram, &other.cosine_histogram),
        ] {
            own.resize(BARS, 0);
            own.iter_mut().zip(others).for_each(|(own, other)| *own += other);
        }
    }

    /// The share of scored texts that are noisy.
    pub fn noise_ratio(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.noisy as f64 / self.scored as f64)
    }

    fn json(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["noise_ratio"] = self.noise_ratio().into();
        value
    }
}

/// Counts a number from 0 to 1 in its bar.
fn count(histogram: &mut Vec<u64>, number: f32) {
    histogram.resize(BARS, 0);
    histogram[((number.clamp(0.0, 1.0) * BARS as f32) as usize).min(BARS - 1)] += 1;
}

/// What came of pictures and their texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    pub pictures: u64,
    /// Those with an error in place of scores.
    pub unreadable: u64,
    /// Those whose bytes another one before them in the shard has.
    pub duplicates: u64,
    /// Those that have a text left.
    pub kept: u64,
    pub web: TextStats,
    pub synthetic: TextStats,
    /// How was decided, once it was, and what counts as noisy.
    pub policy: Option<&'static str>,
    pub threshold: f32,
}

impl Stats {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        self.pictures += other.pictures;
        self.unreadable += other.unreadable;
        self.duplicates += other.duplicates;
        self.kept += other.kept;
        self.web.merge(&other.web);
        self.synthetic.merge(&other.synthetic);
        (self.policy, self.threshold) = (other.policy, other.threshold);
    }

    /// As it stands in a file. Nothing of time is in it, so that the same input gives the same bytes.
    pub fn json(&self) -> Value {
        // With the digits that it was typed with.
        let threshold: f64 = self.threshold.to_string().parse().unwrap_or_default();
        let mut value = json!({
            "pictures": self.pictures,
            "unreadable": self.unreadable,
            "duplicates": self.duplicates,
            "threshold": threshold,
            "web": self.web.json(),
            "synthetic": self.synthetic.json(),
        });
        if let Some(policy) = self.policy {
            value["policy"] = policy.into();
            value["kept"] = self.kept.into();
        }
        value
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, path: &Path) -> Result<(), CapfiltError> {
        let text = serde_json::to_string_pretty(&self.json()).map_err(|error| CapfiltError::unwritable(path, error))?;
        whole_file::write_bytes(path, (text + "\n").as_bytes())
    }
}

/// Counts the rows of a shard.
pub struct Counter {
    pub stats: Stats,
    /// Halves of hashes, which are enough to tell pictures apart.
    seen: HashSet<u128>,
}

impl Counter {
    /// Of rows that nothing is decided of yet, or that were selected by a policy.
    pub fn new(policy: Option<Policy>, threshold: f32) -> Self {
        Self {
            stats: Stats {
                policy: policy.map(Policy::name),
                threshold,
                ..Stats::default()
            },
            seen: HashSet::new(),
        }
    }

    /// Counts a row.
    pub fn add(&mut self, row: &Row) {
        let stats = &mut self.stats;
        stats.pictures += 1;
        let half = row
            .sha256
            .as_deref()
            .and_then(|hash| u128::from_str_radix(hash.get(..32)?, 16).ok());
        if half.is_some_and(|half| !self.seen.insert(half)) {
            stats.duplicates += 1;
        }
        stats.unreadable += u64::from(row.error.is_some());
        stats.web.add(&row.web, stats.threshold);
        for text in &row.synthetic {
            stats.synthetic.add(text, stats.threshold);
        }
        let Some(choice) = &row.choice else { return };
        stats.kept += u64::from(choice.kept);
        for text in &choice.texts {
            match text.from {
                Origin::Web => stats.web.kept += 1,
                Origin::Synthetic => stats.synthetic.kept += 1,
            }
        }
    }
}
