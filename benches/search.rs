//! Times the exact search among pictures' vectors: `cargo bench --features ssr --bench search`, with
//! `-- 50000 256` for so many pictures and numbers of a vector. The CPU should be idle; a million
//! vectors of 256 numbers take a gigabyte.

use std::time::Instant;

use glimpse::nn::nearest::nearest;

/// Pictures, and numbers of a vector of BLIP's.
const DEFAULT: [usize; 2] = [1_000_000, 256];

/// The first warms up.
const RUNS: usize = 4;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [pictures, width] = numbers.try_into().unwrap_or(DEFAULT);
    let numbers: Vec<f32> = (0..pictures * width)
        .map(|number| (number % 977) as f32 / 977.0)
        .collect();
    let text = numbers[..width].to_vec();
    let named: Vec<(&str, &[f32])> = numbers.chunks_exact(width).map(|vector| ("a", vector)).collect();
    let mut took: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(nearest(&named, &text, 10));
            start.elapsed().as_secs_f64() * 1e3
        })
        .skip(1)
        .collect();
    took.sort_by(f64::total_cmp);
    println!(
        "{pictures} vectors of {width}: {:.0} ms, median of {}",
        took[took.len() / 2],
        took.len()
    );
}
