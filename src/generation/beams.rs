//! Beam search, and its variant that draws.
//!
//! Source: transformers' `_beam_search`, whose arithmetic is kept to the letter: scores are
//! f32, and what must not be chosen gets -1e9 added instead of being left out.

use super::logits::log_softmax;
use super::pass::Pass;
use super::rules::{PassLogits, Rules, log_probability};
use super::sampler::Sampler;
use super::top_k::top_k;
use super::{EarlyStopping, FinishReason, GeneratedToken, GenerationError, GenerationOptions, Sequence};

/// The score of what must not be chosen, or is not there yet.
const NEVER: f32 = -1e9;

/// A search among as many beams as the options say.
pub(super) struct BeamSearch {
    num_beams: usize,
    num_return_sequences: usize,
    length_penalty: f64,
    early_stopping: EarlyStopping,
    sampler: Option<Sampler>,
    prompt_length: usize,
    /// The unfinished hypotheses, the best first.
    running: Vec<Hypothesis>,
    /// The best hypotheses that ended, or what stands in for them, the best first.
    finished: Vec<Hypothesis>,
    /// Once untrue, no running beam is expected to become better than the finished ones.
    can_improve: bool,
    /// The answers, once the search is over.
    outcome: Option<Vec<Sequence>>,
}

#[derive(Clone)]
struct Hypothesis {
    /// What stands before the answer, and the answer.
    ids: Vec<u32>,
    tokens: Vec<GeneratedToken>,
    score: f32,
    finish_reason: Option<FinishReason>,
    /// Its row in the model, before its last token is read.
    parent: usize,
    /// Whether it stands among the finished ones by right: one that merely fills a place does not.
    is_finished: bool,
}

impl Hypothesis {
    fn empty(ids_before: &[u32], score: f32) -> Self {
        Self {
            ids: ids_before.to_vec(),
            tokens: Vec::new(),
            score,
            finish_reason: None,
            parent: 0,
            is_finished: false,
        }
    }

    fn with(&self, parent: usize, token: GeneratedToken, score: f32, rules: &Rules) -> Self {
        let mut ids = self.ids.clone();
        ids.push(token.id);
        let mut tokens = self.tokens.clone();
        tokens.push(token);
        Self {
            finish_reason: rules.finish_reason(&ids),
            ids,
            tokens,
            score,
            parent,
            is_finished: false,
        }
    }

    fn ends_here(&self) -> bool {
        self.finish_reason.is_some()
    }
}

impl BeamSearch {
    pub fn new(ids_before: &[u32], options: &GenerationOptions, seed: Option<u64>) -> Self {
        let num_beams = options.num_beams;
        // All beams begin alike, so only the first may be gone on from.
        let first_score = |beam| if beam == 0 { 0.0 } else { NEVER };
        let outcome = (options.max_new_tokens == 0).then(|| {
            vec![Sequence {
                tokens: Vec::new(),
                finish_reason: FinishReason::Length,
                score: None,
            }]
        });
        Self {
            num_beams,
            num_return_sequences: options.num_return_sequences,
            length_penalty: options.length_penalty,
            early_stopping: options.early_stopping,
            sampler: seed.map(|seed| Sampler::new(seed, 0)),
            prompt_length: ids_before.len(),
            running: (0..num_beams)
                .map(|beam| Hypothesis::empty(ids_before, first_score(beam)))
                .collect(),
            finished: vec![Hypothesis::empty(ids_before, NEVER); num_beams],
            can_improve: true,
            outcome,
        }
    }

    /// One more token in every beam; when the search is over, all tokens of the best answer.
    pub fn take(&mut self, logits: &PassLogits, rules: &Rules) -> Result<Vec<GeneratedToken>, GenerationError> {
        if self.outcome.is_some() {
            return Ok(Vec::new());
        }
        let candidates = self.candidates(logits, rules)?;
        let has_running = candidates.iter().any(|candidate| !candidate.ends_here());
        self.keep_running(&candidates);
        self.take_finished(candidates);
        self.check_early_stop(rules);
        let is_full = self.is_full() && self.early_stopping == EarlyStopping::True;
        if self.can_improve && has_running && !is_full {
            return Ok(Vec::new());
        }
        let sequences = self.conclude();
        let tokens = sequences[0].tokens.clone();
        self.outcome = Some(sequences);
        Ok(tokens)
    }

    /// The last token of every beam.
    pub fn pass(&self) -> Option<Pass> {
        let last = |beam: &Hypothesis| beam.ids.last().copied();
        // Behind the prompt all beams have one row.
        let parent = |beam: &Hypothesis| if beam.tokens.len() == 1 { 0 } else { beam.parent };
        self.outcome.is_none().then(|| Pass {
            parents: self.running.iter().map(parent).collect(),
            tokens: self.running.iter().filter_map(last).collect(),
        })
    }

    /// The best continuations of all beams, or drawn ones, in their order: so many that as
    /// many as there are beams do not end with an end token.
    fn candidates(&mut self, logits: &PassLogits, rules: &Rules) -> Result<Vec<Hypothesis>, GenerationError> {
        let mut scores = Vec::new();
        let mut rows = Vec::new();
        for (number, beam) in self.running.iter().enumerate() {
            let row = logits.all_of(number)?;
            rows.push(row);
            let log_probs = rules.process(&beam.ids, log_softmax(row.0));
            scores.extend(log_probs.iter().map(|log_prob| log_prob + beam.score));
        }
        let count = (1 + rules.stopping.num_eos_tokens()).max(2) * self.num_beams;
        let places = match &mut self.sampler {
            Some(sampler) => sampler.draw_several(&scores, count)?,
            None => top_k(&scores, count),
        };
        let vocabulary = scores.len() / self.num_beams;
        let candidate = |place: usize| {
            let (parent, id) = (place / vocabulary, (place % vocabulary) as u32);
            let (logits, log_sum) = rows[parent];
            let token = rules.token(id, log_probability(logits, log_sum, id));
            self.running[parent].with(parent, token, scores[place], rules)
        };
        Ok(places.into_iter().map(candidate).collect())
    }

    /// `_get_running_beams_for_next_iteration`: the best that did not end.
    fn keep_running(&mut self, candidates: &[Hypothesis]) {
        let penalty = |ends: bool| if ends { NEVER } else { 0.0 };
        let scores: Vec<f32> = candidates
            .iter()
            .map(|candidate| candidate.score + penalty(candidate.ends_here()))
            .collect();
        let keep = |place: usize| Hypothesis {
            score: scores[place],
            ..candidates[place].clone()
        };
        self.running = top_k(&scores, self.num_beams).into_iter().map(keep).collect();
    }

    /// `_update_finished_beams`: what ended among the best, as many as there are beams, takes
    /// its place among the finished ones.
    fn take_finished(&mut self, candidates: Vec<Hypothesis>) {
        let is_full = self.is_full() && self.early_stopping == EarlyStopping::True;
        let mut merged = std::mem::take(&mut self.finished);
        for (rank, mut candidate) in candidates.into_iter().enumerate() {
            candidate.is_finished = candidate.ends_here() && rank < self.num_beams;
            candidate.score /= self.penalty_of(candidate.ids.len());
            for forbidden in [is_full, !self.can_improve, !candidate.is_finished] {
                candidate.score += if forbidden { NEVER } else { 0.0 };
            }
            merged.push(candidate);
        }
        let scores: Vec<f32> = merged.iter().map(|hypothesis| hypothesis.score).collect();
        let best = top_k(&scores, self.num_beams);
        self.finished = best.into_iter().map(|place| merged[place].clone()).collect();
    }

    /// `_check_early_stop_heuristic`: whether the best running beam, at the length that suits
    /// it, beats the worst finished one.
    fn check_early_stop(&mut self, rules: &Rules) {
        let length = if self.early_stopping == EarlyStopping::Never && self.length_penalty > 0.0 {
            rules.stopping.max_length()
        } else {
            self.running[0].ids.len()
        };
        let best_possible = self.running[0].score / self.penalty_of(length);
        let worst = self.finished.iter().map(|h| h.score).fold(f32::INFINITY, f32::min);
        let beats = |h: &Hypothesis| best_possible > if h.is_finished { worst } else { NEVER };
        self.can_improve = self.can_improve && self.finished.iter().any(beats);
    }

    fn is_full(&self) -> bool {
        self.finished.iter().all(|hypothesis| hypothesis.is_finished)
    }

    /// What a score is divided by at a length, prompt included.
    fn penalty_of(&self, length: usize) -> f32 {
        ((length - self.prompt_length) as f64).powf(self.length_penalty) as f32
    }

    /// The best finished hypotheses; those that merely fill a place are no answers, unless
    /// there is no other.
    fn conclude(&self) -> Vec<Sequence> {
        let returned = self.finished.iter().take(self.num_return_sequences);
        let finished = returned.filter(|hypothesis| hypothesis.is_finished);
        let mut sequences: Vec<Sequence> = finished.map(sequence).collect();
        if sequences.is_empty() {
            sequences.push(sequence(&self.running[0]));
        }
        sequences
    }

    /// All answers, once the search is over.
    pub fn sequences(&self) -> &[Sequence] {
        self.outcome.as_deref().unwrap_or(&[])
    }

    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.outcome.as_ref().map(|sequences| sequences[0].finish_reason)
    }
}

fn sequence(hypothesis: &Hypothesis) -> Sequence {
    Sequence {
        tokens: hypothesis.tokens.clone(),
        finish_reason: hypothesis.finish_reason.unwrap_or(FinishReason::Length),
        score: Some(hypothesis.score),
    }
}
