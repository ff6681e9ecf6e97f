//! Which of many pictures are nearest to a text: every one is compared, exactly, on all cores.
//!
//! An approximate index (HNSW), a second file that every search would have to load, is not worth what it
//! misses at the sizes that folders have: `cargo bench --features ssr --bench search` measures a million.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::embedding::cosine;

/// A picture with its cosine, ordered by it, then by name: the better one is the greater.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked<'a> {
    pub cosine: f32,
    pub name: &'a str,
}

impl Eq for Ranked<'_> {}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cosine
            .total_cmp(&other.cosine)
            .then_with(|| other.name.cmp(self.name))
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best of many, and no more than are wanted: the worst of them is on top.
struct Best<'a> {
    most: usize,
    heap: BinaryHeap<Reverse<Ranked<'a>>>,
}

impl<'a> Best<'a> {
    fn new(most: usize) -> Self {
        Self {
            most,
            heap: BinaryHeap::new(),
        }
    }

    fn with(mut self, ranked: Ranked<'a>) -> Self {
        if self.heap.len() < self.most {
            self.heap.push(Reverse(ranked));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && ranked > worst.0
        {
            *worst = Reverse(ranked);
        }
        self
    }

    fn with_all(self, other: Self) -> Self {
        other
            .heap
            .into_iter()
            .fold(self, |best, Reverse(ranked)| best.with(ranked))
    }

    /// The best first.
    fn in_order(self) -> Vec<Ranked<'a>> {
        let reversed = self.heap.into_sorted_vec();
        reversed.into_iter().map(|Reverse(ranked)| ranked).collect()
    }
}

/// Of named vectors, `[vectors of a picture, width]` each, those that are nearest to a text's, the nearest
/// first and no more than `most`.
pub fn nearest<'a>(pictures: &[(&'a str, &[f32])], text: &[f32], most: usize) -> Vec<Ranked<'a>> {
    let best = pictures
        .par_iter()
        .fold(
            || Best::new(most),
            |best, (name, vectors)| {
                best.with(Ranked {
                    cosine: cosine(vectors, text),
                    name,
                })
            },
        )
        .reduce(|| Best::new(most), Best::with_all);
    best.in_order()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order_however_they_come() {
        let names = ["a", "b", "c", "d", "e"];
        let cosines = [0.1, 0.5, 0.5, -0.2, 0.9];
        let ranked = |places: &[usize]| {
            places.iter().fold(Best::new(3), |best, place| {
                best.with(Ranked {
                    cosine: cosines[*place],
                    name: names[*place],
                })
            })
        };
        let best = |best: Best<'static>| best.in_order().iter().map(|ranked| ranked.name).collect::<String>();
        assert_eq!(best(ranked(&[0, 1, 2, 3, 4])), "ebc");
        assert_eq!(best(ranked(&[4, 3, 2, 1, 0])), "ebc");
        assert_eq!(best(ranked(&[3, 2]).with_all(ranked(&[0, 1, 4]))), "ebc");
        assert_eq!(best(ranked(&[3])), "d");
    }
}
