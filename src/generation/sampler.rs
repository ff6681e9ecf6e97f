//! Drawing tokens by their probabilities.
//!
//! The draws come from ChaCha12, seeded with the question's seed, and one stream of it for
//! each answer: the same seed gives the same answer, whatever else is computed at that time.
//! torch's own random numbers are not reproduced; the distribution is.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::GenerationError;
use super::logits::softmax;
use super::top_k::top_k;

/// The random numbers of one answer.
pub(super) struct Sampler {
    random: ChaCha12Rng,
}

impl Sampler {
    pub fn new(seed: u64, answer: usize) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(answer as u64);
        Self { random }
    }

    /// One token, by the softmax of its scores.
    pub fn draw(&mut self, scores: &[f32]) -> Result<u32, GenerationError> {
        let probabilities = probabilities(scores)?;
        let sum: f64 = probabilities.iter().map(|p| f64::from(*p)).sum();
        let mut left = self.random.random::<f64>() * sum;
        let mut drawn = 0;
        for (id, probability) in (0u32..).zip(&probabilities).filter(|(_, p)| **p > 0.0) {
            drawn = id;
            left -= f64::from(*probability);
            if left < 0.0 {
                break;
            }
        }
        Ok(drawn)
    }

    /// `count` places, none twice, in the order in which they are drawn by the softmax of
    /// their scores. As torch's `multinomial` does it, by a race of exponential clocks
    /// (Efraimidis and Spirakis 2006); places without a chance come last.
    pub fn draw_several(&mut self, scores: &[f32], count: usize) -> Result<Vec<usize>, GenerationError> {
        let mut keys = probabilities(scores)?;
        for key in keys.iter_mut().filter(|key| **key > 0.0) {
            let clock = -(1.0 - self.random.random::<f64>()).ln();
            // A clock of 0 would be infinitely early, for more than one at once.
            *key = (f64::from(*key) / clock.max(1e-30)) as f32;
        }
        Ok(top_k(&keys, count))
    }
}

fn probabilities(scores: &[f32]) -> Result<Vec<f32>, GenerationError> {
    let probabilities = softmax(scores);
    if probabilities.iter().any(|p| !p.is_finite()) {
        return Err(GenerationError::NothingToDraw);
    }
    Ok(probabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 20_000;
    /// The 99.9th percentile of chi-squared with 7 degrees of freedom.
    const CRITICAL_7: f64 = 24.32;

    fn scores() -> Vec<f32> {
        let probabilities = [0.30f32, 0.22, 0.0, 0.17, 0.12, 0.09, 0.06, 0.0, 0.03, 0.01];
        probabilities.iter().map(|p| p.ln()).collect()
    }

    fn chi_squared(counts: &[usize], expected: &[f64]) -> f64 {
        let terms = counts.iter().zip(expected).filter(|(_, expected)| **expected > 0.0);
        terms
            .map(|(count, expected)| (*count as f64 - expected).powi(2) / expected)
            .sum()
    }

    fn expected() -> Vec<f64> {
        softmax(&scores())
            .iter()
            .map(|p| f64::from(*p) * DRAWS as f64)
            .collect()
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let mut counts = [0usize; 10];
        let mut sampler = Sampler::new(11, 0);
        for _ in 0..DRAWS {
            counts[sampler.draw(&scores()).expect("there are chances") as usize] += 1;
        }
        assert_eq!((counts[2], counts[7]), (0, 0), "what has no chance is never drawn");
        let statistic = chi_squared(&counts, &expected());
        assert!(statistic < CRITICAL_7, "chi-squared {statistic}, {counts:?}");
    }

    #[test]
    fn the_first_of_several_is_drawn_as_often_as_it_is_likely() {
        let (mut firsts, mut seconds) = ([0usize; 10], [0usize; 10]);
        let mut sampler = Sampler::new(12, 0);
        for _ in 0..DRAWS {
            let drawn = sampler.draw_several(&scores(), 3).expect("there are chances");
            assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
            firsts[drawn[0]] += 1;
            seconds[drawn[1]] += 1;
        }
        let statistic = chi_squared(&firsts, &expected());
        assert!(statistic < CRITICAL_7, "chi-squared {statistic}, {firsts:?}");
        // The second: by what is left after each possible first.
        let p: Vec<f64> = softmax(&scores()).iter().map(|p| f64::from(*p)).collect();
        let second = |i: usize| {
            (0..10)
                .filter(|j| *j != i)
                .map(|j| p[j] * p[i] / (1.0 - p[j]))
                .sum::<f64>()
        };
        let expected: Vec<f64> = (0..10).map(|i| second(i) * DRAWS as f64).collect();
        let statistic = chi_squared(&seconds, &expected);
        assert!(statistic < CRITICAL_7, "chi-squared {statistic}, {seconds:?}");
    }

    #[test]
    fn a_seed_gives_the_same_draws_and_another_stream_others() {
        let draws = |seed, answer| {
            let mut sampler = Sampler::new(seed, answer);
            let draw = |_| sampler.draw(&scores()).expect("there are chances");
            (0..50).map(draw).collect::<Vec<u32>>()
        };
        assert_eq!(draws(5, 0), draws(5, 0));
        assert_ne!(draws(5, 0), draws(5, 1));
        assert_ne!(draws(5, 0), draws(6, 0));
    }

    #[test]
    fn no_token_left_is_an_error() {
        let drawn = Sampler::new(1, 0).draw(&[f32::NEG_INFINITY; 3]);
        assert!(matches!(drawn, Err(GenerationError::NothingToDraw)));
    }
}
