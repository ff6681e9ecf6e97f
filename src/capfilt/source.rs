//! The input that scores were made of, read again for its pictures.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::input::{self, Form, PictureSource, ReadOptions, Unit, units};
use super::report::{Examples, Pictures};
use super::score::SettingsFile;
use super::select::SelectOptions;
use super::shards::{PART_ROWS, ShardRange, number_of, part_name, place_of_part};
use super::{CapfiltError, picture};
use crate::remote::{FetchLimits, Fetcher};

/// Where the pictures are.
pub struct Source {
    /// With the name of each one's first part.
    units: Vec<(Unit, String)>,
    is_alone: bool,
    read: ReadOptions,
}

impl Source {
    /// The input that scores were made of, if it is still there.
    pub fn find(settings: &SettingsFile) -> Option<Self> {
        let units = units(&settings.input).ok()?;
        let is_alone = units.len() == 1;
        let named = units.into_iter().map(|unit| {
            let name = part_name(&unit, 0, is_alone);
            (unit, name)
        });
        Some(Self {
            units: named.collect(),
            is_alone,
            read: ReadOptions {
                picture_folder: settings.picture_folder.clone(),
                max_bytes: usize::MAX,
                is_again: true,
            },
        })
    }

    /// A part's place among those that are shared out among workers, as the first step counts them.
    pub fn place_of(&self, part: &str, shards: ShardRange) -> Option<usize> {
        let (unit, _) = self.unit_of(part)?;
        if !unit.is_shard() {
            let index = self.units.iter().position(|(other, _)| other.name == unit.name)?;
            return Some(place_of_part(index, number_of(part)?));
        }
        let mut chosen = self
            .units
            .iter()
            .filter(|(unit, _)| shards.contains(number_of(&unit.name)));
        chosen.position(|(other, _)| other.name == unit.name)
    }

    /// The first file.
    pub fn first(&self) -> Option<&Unit> {
        self.units.first().map(|(unit, _)| unit)
    }

    /// Whether a part is of this input.
    pub fn has(&self, part: &str) -> bool {
        self.unit_of(part).is_some()
    }

    /// Where a part's rows are: the unit, and the place of the first in it.
    fn unit_of(&self, part: &str) -> Option<(&Unit, u64)> {
        self.units.iter().find_map(|(unit, first)| {
            if unit.is_shard() || first == part {
                return (first == part).then_some((unit, 0));
            }
            let number = number_of(part)?;
            (part_name(unit, number, self.is_alone) == part).then_some((unit, number * PART_ROWS))
        })
    }

    /// The bytes of pictures of a part, in order; of those at addresses where it `fetches`. `wants` hears of each
    /// by its place in the part and by its key, and says for which row it is wanted. Of a folder whose pictures
    /// have become others it hears of those too that stood before the part.
    ///
    /// # Errors
    /// The part's file cannot be read.
    pub fn each_picture(
        &self,
        part: &str,
        options: &SelectOptions,
        fetches: bool,
        wants: &mut dyn FnMut(Option<u64>, &str) -> Option<u64>,
        each: &mut dyn FnMut(u64, Result<Vec<u8>, String>) -> ControlFlow<()>,
    ) -> Result<(), CapfiltError> {
        let Some((unit, first)) = self.unit_of(part) else {
            return Ok(());
        };
        let fetcher = Fetcher::new(options.reach.clone(), FetchLimits::new(options.limits.max_bytes));
        let read = ReadOptions {
            max_bytes: options.limits.max_bytes,
            ..self.read.clone()
        };
        let mut place = 0;
        unit.read(&read, &mut |sample: input::Sample, _| {
            let within = u64::checked_sub(place, first);
            place += 1;
            let is_here = fetches || !matches!(sample.picture, PictureSource::Address(_));
            let is_looked_at = is_here && (within.is_some() || unit.form == Form::Folder);
            match is_looked_at.then(|| wants(within, &sample.key)).flatten() {
                Some(row) => each(row, picture::read(sample.picture, &fetcher, options.limits.max_bytes)),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// The pictures of examples, as far as that means neither reading very much nor fetching.
    pub fn pictures(&self, examples: &Examples, options: &SelectOptions) -> Pictures {
        let mut pictures = Pictures::default();
        let places = examples.places();
        let parts: BTreeSet<&str> = places.iter().map(|(part, ..)| *part).collect();
        let mut left = MOST_READ_FOR_REPORT;
        for part in parts {
            // Those of the parts that there is time for, rather than none.
            let extent = self.unit_of(part).map_or(0, |(unit, _)| unit.extent());
            if extent > left {
                continue;
            }
            left -= extent;
            let wanted: Vec<(u64, &str)> = places
                .iter()
                .filter(|(other, ..)| *other == part)
                .map(|(_, place, key)| (*place, *key))
                .collect();
            let Some(last) = wanted.iter().map(|(place, _)| *place).max() else {
                continue;
            };
            let mut wants = |place: Option<u64>, key: &str| place.filter(|place| wanted.contains(&(*place, key)));
            // A picture that cannot be shown is left out of the report.
            let _ = self.each_picture(part, options, false, &mut wants, &mut |place, bytes| {
                if let Ok(bytes) = bytes {
                    pictures.add(part, place, &bytes, &options.limits);
                }
                match place < last {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
        }
        pictures
    }
}

/// Bytes of inputs that are read again for the report's pictures.
const MOST_READ_FOR_REPORT: u64 = 4 << 30;
