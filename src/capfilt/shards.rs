//! Who reads which shards: without coordination, so that jobs of a cluster can run it.

use std::fmt;
use std::str::FromStr;

use super::input::Unit;

/// `--worker i/n`: one of `n` workers, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    pub index: usize,
    pub count: usize,
}

impl Default for Worker {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Worker {
    /// Whether the shard of this place in the list is this worker's.
    pub fn takes(&self, place: usize) -> bool {
        place % self.count == self.index
    }
}

impl FromStr for Worker {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write which worker of how many, as 0/8: from 0, and below the second number";
        let (index, count) = text.split_once('/').ok_or(wrong)?;
        let [index, count] = [index, count].map(|number| number.trim().parse::<usize>().map_err(|_| wrong));
        let (index, count) = (index?, count?);
        match index < count {
            true => Ok(Self { index, count }),
            false => Err(wrong),
        }
    }
}

/// `--shards 000..999`: shards by number, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRange {
    pub first: u64,
    pub last: u64,
}

impl Default for ShardRange {
    fn default() -> Self {
        Self {
            first: 0,
            last: u64::MAX,
        }
    }
}

impl ShardRange {
    /// Whether a shard is among them. One without a number is where all are.
    pub fn contains(&self, number: Option<u64>) -> bool {
        match number {
            Some(number) => (self.first..=self.last).contains(&number),
            None => *self == Self::default(),
        }
    }
}

impl fmt::Display for ShardRange {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}..{}", self.first, self.last)
    }
}

impl FromStr for ShardRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write the first and the last number, as 000..999";
        let text = text.trim().trim_start_matches('{').trim_end_matches('}');
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let [first, last] = [first, last].map(|number| number.trim().parse::<u64>().map_err(|_| wrong));
        let (first, last) = (first?, last?);
        match first <= last {
            true => Ok(Self { first, last }),
            false => Err(wrong),
        }
    }
}

/// Rows of a part, of an input that is not cut into shards.
pub const PART_ROWS: u64 = 10_000;

/// What a part of an input is called: a shard by its own name, of a file alone its parts by number, and of
/// several files by both.
pub fn part_name(unit: &Unit, part: u64, is_alone: bool) -> String {
    match (unit.is_shard(), is_alone) {
        (true, _) => unit.name.clone(),
        (false, true) => format!("{part:05}"),
        (false, false) => format!("{}-{part:05}", unit.name),
    }
}

/// A part's place among those that are shared out: by the file's place and its own number in it, so that
/// nobody has to read what stands before it.
pub fn place_of_part(unit: usize, number: u64) -> usize {
    unit.wrapping_add(number as usize)
}

/// The number that a shard's name ends with.
pub fn number_of(name: &str) -> Option<u64> {
    let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    name[letters.len()..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_one_workers() {
        let workers: Vec<Worker> = (0..3)
            .map(|index| format!("{index}/3").parse().expect("it is one"))
            .collect();
        for place in 0..20 {
            assert_eq!(workers.iter().filter(|worker| worker.takes(place)).count(), 1);
        }
        for wrong in ["", "3", "3/3", "0/0", "-1/2", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Worker>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_are_named_by_the_number_that_they_end_with() {
        let range: ShardRange = "007..012".parse().expect("it is one");
        let inside = |name: &str| range.contains(number_of(name));
        assert!(inside("00007") && inside("laion-12") && !inside("00013") && !inside("pairs"));
        assert!(ShardRange::default().contains(None));
        assert_eq!("{000..999}".parse(), Ok(ShardRange { first: 0, last: 999 }));
        assert_eq!("5".parse(), Ok(ShardRange { first: 5, last: 5 }));
        for wrong in ["", "9..1", "a..b", "1.."] {
            assert!(wrong.parse::<ShardRange>().is_err(), "{wrong}");
        }
    }
}
