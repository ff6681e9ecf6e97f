//! What changes the logits before a token is chosen.
//!
//! Source: transformers' `_get_logits_processor`, whose order is kept: repetition penalty,
//! no-repeat n-gram, minimal length, and, where tokens are drawn, temperature, top-k, top-p.
//! All of it is computed in f32, as there. BLIP-2 hands the prompt's ids to OPT beside their
//! embeddings, so the first two see the prompt, picture tokens included; of T5 they see the
//! decoder's start token and the answer.

use super::GenerationOptions;

/// All rules of one answer.
pub struct LogitsProcessors {
    repetition_penalty: f32,
    no_repeat_ngram_size: usize,
    /// End tokens are not taken before the sequence, prompt included, is this long.
    min_length: usize,
    eos_token_ids: Vec<u32>,
    warpers: Option<Warpers>,
}

/// The rules for drawing.
struct Warpers {
    temperature: f32,
    top_k: usize,
    top_p: f64,
    min_tokens_to_keep: usize,
}

impl LogitsProcessors {
    /// The rules of an answer behind `prompt_length` ids.
    pub fn new(options: &GenerationOptions, prompt_length: usize, eos_token_ids: &[u32]) -> Self {
        // Beams must find a way on that does not end: one token more than there are end tokens.
        let min_tokens_to_keep = if options.num_beams > 1 {
            eos_token_ids.len().max(1) + 1
        } else {
            1
        };
        Self {
            repetition_penalty: options.repetition_penalty as f32,
            no_repeat_ngram_size: options.no_repeat_ngram_size,
            min_length: options
                .min_length
                .max(prompt_length.saturating_add(options.min_new_tokens)),
            eos_token_ids: eos_token_ids.to_vec(),
            warpers: options.do_sample.then_some(Warpers {
                temperature: options.temperature as f32,
                top_k: options.top_k,
                top_p: options.top_p,
                min_tokens_to_keep,
            }),
        }
    }

    /// Whether [`LogitsProcessors::apply`] leaves the scores of the token behind so many ids as they are.
    pub fn change_nothing(&self, length: usize) -> bool {
        let ends_early = length < self.min_length && !self.eos_token_ids.is_empty();
        self.repetition_penalty == 1.0 && self.no_repeat_ngram_size == 0 && !ends_early && self.warpers.is_none()
    }

    /// Changes the `scores` of the token behind `ids`, which are prompt and answer so far.
    /// Scores are logits, or for beams log-probabilities, one a token of the vocabulary.
    pub fn apply(&self, ids: &[u32], scores: &mut [f32]) {
        if self.repetition_penalty != 1.0 {
            penalise_repetition(self.repetition_penalty, ids, scores);
        }
        if self.no_repeat_ngram_size > 0 {
            ban_repeated_ngrams(self.no_repeat_ngram_size, ids, scores);
        }
        if ids.len() < self.min_length {
            self.eos_token_ids.iter().for_each(|id| ban(*id, scores));
        }
        if let Some(warpers) = &self.warpers {
            warpers.apply(scores);
        }
    }
}

impl Warpers {
    fn apply(&self, scores: &mut [f32]) {
        if self.temperature != 1.0 {
            scores.iter_mut().for_each(|score| *score /= self.temperature);
        }
        if self.top_k > 0 {
            keep_top_k(self.top_k.max(self.min_tokens_to_keep), scores);
        }
        if self.top_p < 1.0 {
            keep_top_p(self.top_p, self.min_tokens_to_keep, scores);
        }
    }
}

/// Ids beyond the vocabulary cannot be generated anyway.
fn ban(id: u32, scores: &mut [f32]) {
    if let Some(score) = scores.get_mut(id as usize) {
        *score = f32::NEG_INFINITY;
    }
}

/// `RepetitionPenaltyLogitsProcessor` (Keskar et al. 2019, CTRL): once for each token, however often it came.
fn penalise_repetition(penalty: f32, ids: &[u32], scores: &mut [f32]) {
    let mut seen = ids.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
    }
}

/// `NoRepeatNGramLogitsProcessor`: bans what followed each earlier occurrence of the last `size - 1` tokens.
fn ban_repeated_ngrams(size: usize, ids: &[u32], scores: &mut [f32]) {
    if ids.len() < size {
        return;
    }
    let prefix = &ids[ids.len() + 1 - size..];
    for window in ids.windows(size) {
        if window[..size - 1] == *prefix {
            ban(window[size - 1], scores);
        }
    }
}

/// `TopKLogitsWarper`: tokens as likely as the last of the `k` stay as well.
fn keep_top_k(k: usize, scores: &mut [f32]) {
    if k >= scores.len() {
        return;
    }
    let mut sorted = scores.to_vec();
    let (_, least, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    let least = *least;
    for score in scores.iter_mut().filter(|score| **score < least) {
        *score = f32::NEG_INFINITY;
    }
}

/// `TopPLogitsWarper` (Holtzman et al. 2020, nucleus sampling): from the least likely up,
/// tokens go while their sum is at most `1 - top_p`.
fn keep_top_p(top_p: f64, min_tokens_to_keep: usize, scores: &mut [f32]) {
    // The order of equal ones is torch's: its sort on the CPU is stable.
    let mut ascending: Vec<usize> = (0..scores.len()).collect();
    ascending.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let sorted: Vec<f32> = ascending.iter().map(|id| scores[*id]).collect();
    // Summed in f64 and rounded each time, as torch's cumsum; compared in f32, as a Python number is.
    let (threshold, mut sum) = ((1.0 - top_p) as f32, 0f64);
    let removable = ascending.len().saturating_sub(min_tokens_to_keep);
    for (id, probability) in ascending.iter().zip(softmax(&sorted)).take(removable) {
        sum += f64::from(probability);
        if sum as f32 > threshold {
            break;
        }
        scores[*id] = f32::NEG_INFINITY;
    }
}

/// `torch.softmax` in f32. Not finite where no score is.
pub fn softmax(scores: &[f32]) -> Vec<f32> {
    let maximum = maximum(scores);
    let mut probabilities: Vec<f32> = scores.iter().map(|score| (score - maximum).exp()).collect();
    let sum = probabilities.iter().map(|p| f64::from(*p)).sum::<f64>() as f32;
    probabilities.iter_mut().for_each(|p| *p /= sum);
    probabilities
}

/// `torch.log_softmax` in f32.
pub fn log_softmax(scores: &[f32]) -> Vec<f32> {
    let maximum = maximum(scores);
    let sum: f64 = scores.iter().map(|score| f64::from((score - maximum).exp())).sum();
    let log_sum = sum.ln() as f32;
    scores.iter().map(|score| (score - maximum) - log_sum).collect()
}

/// The logarithm of the sum of exponentials, in f64, for log-probabilities that are reported.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let maximum = f64::from(maximum(logits));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - maximum).exp()).sum();
    maximum + sum.ln()
}

fn maximum(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: f32 = f32::NEG_INFINITY;

    fn processed(options: GenerationOptions, ids: &[u32], scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        LogitsProcessors::new(&options, 2, &[0]).apply(ids, &mut scores);
        scores
    }

    #[test]
    fn a_repeated_token_is_penalised_once_and_away_from_zero_on_either_side() {
        let options = GenerationOptions {
            repetition_penalty: 2.0,
            ..GenerationOptions::default()
        };
        let scores = processed(options, &[1, 2, 2, 99], &[4.0, 4.0, -4.0, -4.0]);
        assert_eq!(scores, [4.0, 2.0, -8.0, -4.0]);
    }

    #[test]
    fn an_ngram_that_was_there_is_not_completed_again() {
        let options = |size| GenerationOptions {
            no_repeat_ngram_size: size,
            ..GenerationOptions::default()
        };
        let ids = [1, 2, 3, 1, 2];
        assert_eq!(processed(options(3), &ids, &[1.0; 4]), [1.0, 1.0, 1.0, GONE]);
        assert_eq!(processed(options(1), &ids, &[1.0; 4]), [1.0, GONE, GONE, GONE]);
        assert_eq!(processed(options(6), &ids, &[1.0; 4]), [1.0; 4]);
    }

    #[test]
    fn the_end_waits_for_the_fewest_tokens() {
        let options = GenerationOptions {
            min_new_tokens: 2,
            ..GenerationOptions::default()
        };
        assert_eq!(processed(options.clone(), &[5, 5, 5], &[1.0; 2]), [GONE, 1.0]);
        assert_eq!(processed(options, &[5, 5, 5, 5], &[1.0; 2]), [1.0; 2]);
    }

    #[test]
    fn top_k_keeps_what_is_as_likely_as_the_last() {
        let mut scores = [1.0, 3.0, 2.0, 2.0, 0.0];
        keep_top_k(2, &mut scores);
        assert_eq!(scores, [GONE, 3.0, 2.0, 2.0, GONE]);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_it() {
        let mut scores = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
        keep_top_p(0.75, 1, &mut scores);
        assert_eq!(scores.map(f32::is_finite), [true, true, false, false]);
        keep_top_p(0.0, 1, &mut scores);
        assert_eq!(scores.map(f32::is_finite), [true, false, false, false]);
    }

    #[test]
    fn log_probabilities_survive_large_logits() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        assert!((log_softmax(&[1000.0, 1000.0])[0] + 2f32.ln()).abs() < 1e-6);
    }
}
