//! What came of it, counted: `_stats.json`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::policy::{Policy, passes};
use super::row::{Origin, Row, ScoredText, hashed};
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
    fn none() -> Self {
        Self {
            match_histogram: vec![0; BARS],
            cosine_histogram: vec![0; BARS],
            ..Self::default()
        }
    }

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

/// Pictures of rows, each counted once: one with several texts has a row for each.
#[derive(Default)]
pub struct PictureCount {
    pub pictures: u64,
    pub unreadable: u64,
    pub kept: u64,
    /// What is known of those that may come again.
    told: HashMap<u128, Told>,
}

#[derive(Clone, Copy, Default)]
struct Told {
    is_unreadable: bool,
    is_kept: bool,
}

impl PictureCount {
    /// Counts the picture of a row; says whether it is there for the first time.
    pub fn add(&mut self, row: &Row, is_kept: bool) -> bool {
        let id = row.shared_picture();
        let before = id.and_then(|id| self.told.get(&id).copied());
        let told = before.unwrap_or_default();
        let is_unreadable = row.error.is_some();
        self.pictures += u64::from(before.is_none());
        self.unreadable += u64::from(is_unreadable && !told.is_unreadable);
        self.kept += u64::from(is_kept && !told.is_kept);
        if let Some(id) = id {
            let now = Told {
                is_unreadable: is_unreadable || told.is_unreadable,
                is_kept: is_kept || told.is_kept,
            };
            self.told.insert(id, now);
        }
        before.is_none()
    }
}

/// Counts the rows of a shard, or of all.
pub struct Counter {
    pub stats: Stats,
    pictures: PictureCount,
    /// Drawn texts of pictures that may come again, which are kept.
    kept: HashSet<u128>,
    /// Halves of the hashes of pictures, which are enough to tell them apart; of all shards together they would
    /// fill the memory.
    seen: Option<HashSet<u128>>,
}

impl Counter {
    /// Of the rows of a shard that nothing is decided of yet, or that were selected by a policy.
    pub fn new(policy: Option<Policy>, threshold: f32) -> Self {
        let (web, synthetic) = (TextStats::none(), TextStats::none());
        Self {
            stats: Stats {
                policy: policy.map(Policy::name),
                threshold,
                web,
                synthetic,
                ..Stats::default()
            },
            pictures: PictureCount::default(),
            kept: HashSet::new(),
            seen: Some(HashSet::new()),
        }
    }

    /// Of the rows of all shards, which tell of their duplicates themselves.
    pub fn of_all(policy: Policy, threshold: f32) -> Self {
        Self {
            seen: None,
            ..Self::new(Some(policy), threshold)
        }
    }

    /// Counts a row; says whether its picture is there for the first time.
    pub fn add(&mut self, row: &Row) -> bool {
        let is_kept = row.choice.as_ref().is_some_and(|choice| choice.kept);
        let is_first = self.pictures.add(row, is_kept);
        let stats = &mut self.stats;
        (stats.pictures, stats.unreadable) = (self.pictures.pictures, self.pictures.unreadable);
        stats.kept = self.pictures.kept;
        stats.web.add(&row.web, stats.threshold);
        if is_first {
            let hash = row.sha256.as_deref();
            let half = hash.and_then(|hash| u128::from_str_radix(hash.get(..32)?, 16).ok());
            let seen = half.zip(self.seen.as_mut());
            stats.duplicates += u64::from(seen.is_some_and(|(half, seen)| !seen.insert(half)));
            for text in &row.synthetic {
                stats.synthetic.add(text, stats.threshold);
            }
        }
        for text in row.choice.iter().flat_map(|choice| &choice.texts) {
            match text.from {
                Origin::Web => stats.web.kept += 1,
                Origin::Synthetic => {
                    let id = row.shared_picture();
                    let id = id.map(|id| hashed(&[&id.to_le_bytes(), text.text.as_bytes()]));
                    stats.synthetic.kept += u64::from(id.is_none_or(|id| self.kept.insert(id)));
                }
            }
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::capfilt::row::{Choice, KeptText};

    fn row(key: &str, image_id: Option<u64>, keeps: Option<Origin>) -> Row {
        let scored = |text: &str| ScoredText {
            text: text.into(),
            matching: Some(0.9),
            cosine: None,
        };
        let kept = |from| KeptText {
            text: "drawn".into(),
            from,
            matching: Some(0.9),
        };
        let mut row = Row {
            key: key.into(),
            sha256: Some("ab".repeat(32)),
            web: scored(key),
            synthetic: vec![scored("drawn")],
            ..Row::default()
        };
        if let Some(id) = image_id {
            row.fields.insert("image_id".into(), json!(id));
        }
        row.choice = Some(Choice {
            kept: keeps.is_some(),
            texts: keeps.map(kept).into_iter().collect(),
        });
        row
    }

    #[test]
    fn a_picture_with_several_texts_is_one_picture() {
        let mut counter = Counter::new(Some(Policy::Replace), 0.5);
        let of_coco = [
            row("70", Some(1), None),
            row("71", Some(2), Some(Origin::Synthetic)),
            row("72", Some(1), Some(Origin::Synthetic)),
            row("73", Some(1), Some(Origin::Synthetic)),
            row("74", Some(1), Some(Origin::Web)),
        ];
        let first: Vec<bool> = of_coco.iter().map(|row| counter.add(row)).collect();
        assert_eq!(first, [true, true, false, false, false]);
        let stats = &counter.stats;
        assert_eq!((stats.pictures, stats.kept, stats.duplicates), (2, 2, 1));
        assert_eq!((stats.web.texts, stats.web.kept), (5, 1));
        assert_eq!((stats.synthetic.texts, stats.synthetic.kept), (2, 2));
        // Of a record with a list of texts, and of rows that are each a picture's own.
        let mut counter = Counter::new(Some(Policy::Paper), 0.5);
        for key in ["a#0", "a#1", "b", "c"] {
            counter.add(&row(key, None, Some(Origin::Synthetic)));
        }
        let stats = &counter.stats;
        assert_eq!((stats.pictures, stats.kept, stats.duplicates), (3, 3, 2));
        assert_eq!((stats.synthetic.texts, stats.synthetic.kept), (3, 3));
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_one_too() {
        let mut count = PictureCount::default();
        for key in ["70", "71"] {
            let row = Row {
                error: Some("gone".into()),
                ..row(key, Some(1), None)
            };
            count.add(&row, false);
        }
        assert_eq!((count.pictures, count.unreadable, count.kept), (1, 1, 0));
    }
}
