//! What happens to questions, counted: for programs that watch the server, by the macros of
//! `metrics` (`server::ops::metrics` lists every name), and minute by minute for the last hour.
//!
//! Nothing of a visitor is in it: codes and numbers only.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, histogram};

use super::Result;
use crate::chat::{Completion, Error, FinishReason};

/// Minutes that are kept.
pub const MINUTES: usize = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts; the same for all who share it.
pub struct Activity {
    began: Instant,
    /// The latest last; a minute in which nothing happened is left out.
    minutes: Mutex<VecDeque<(u64, Minute)>>,
}

/// What happened within a minute.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    /// Questions that ended, one way or the other.
    pub answered: u32,
    /// By their visitors.
    pub stopped: u32,
    /// Nobody followed them any more, or the process ended.
    pub interrupted: u32,
    /// Not taken into the queue, mostly for a limit.
    pub refused: u32,
    /// Of the model, or on our side.
    pub failed: u32,
    /// Tokens of answers.
    pub tokens: u64,
    /// From the question to the first token.
    pub first_tokens: Durations,
}

impl Minute {
    /// All questions that ended within it.
    pub fn questions(&self) -> u32 {
        self.answered + self.stopped + self.interrupted + self.refused + self.failed
    }

    /// Adds what happened within another minute.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.stopped += other.stopped;
        self.interrupted += other.interrupted;
        self.refused += other.refused;
        self.failed += other.failed;
        self.tokens += other.tokens;
        self.first_tokens.add(&other.first_tokens);
    }
}

/// The last hour, in minutes.
#[derive(Clone, Debug)]
pub struct LastHour {
    /// [`MINUTES`] of them; the last is the one that is not over yet.
    pub minutes: Vec<Minute>,
    /// How much of that one has passed.
    pub of_the_last: Duration,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            minutes: Mutex::default(),
        }
    }
}

impl Activity {
    /// A question was not taken.
    pub fn refused(&self, error: &Error) {
        counter!("glimpse_questions_total", "outcome" => "refused", "code" => error.code()).increment(1);
        self.note(|minute| minute.refused += 1);
    }

    /// The model has begun with a question that had waited so long.
    pub fn begun(&self, waited: Duration) {
        histogram!("glimpse_queue_wait_seconds").record(waited);
    }

    /// A token of an answer has come; the first, so long after the question, or a further one.
    pub fn token(&self, first_after: Option<Duration>) {
        counter!("glimpse_tokens_generated_total").increment(1);
        if let Some(after) = first_after {
            histogram!("glimpse_time_to_first_token_seconds").record(after);
        }
        self.note(|minute| {
            minute.tokens += 1;
            if let Some(after) = first_after {
                minute.first_tokens.record(after);
            }
        });
    }

    /// An answer has ended.
    pub fn ended(&self, end: &Result<Completion>) {
        let completion = match end {
            Ok(completion) => completion,
            Err(error) => {
                counter!("glimpse_questions_total", "outcome" => "failed", "code" => error.code()).increment(1);
                return self.note(|minute| minute.failed += 1);
            }
        };
        let (outcome, of): (_, fn(&mut Minute) -> &mut u32) = match completion.finish_reason {
            FinishReason::Stop | FinishReason::Length => ("answered", |minute| &mut minute.answered),
            FinishReason::Cancelled => ("stopped", |minute| &mut minute.stopped),
            FinishReason::Interrupted => ("interrupted", |minute| &mut minute.interrupted),
        };
        counter!("glimpse_questions_total", "outcome" => outcome).increment(1);
        if outcome == "answered" && completion.generated_tokens > 1 {
            histogram!("glimpse_time_per_token_seconds").record(completion.timings.per_token / 1e3);
        }
        self.note(|minute| *of(minute) += 1);
    }

    /// A picture of so many bytes was put in, and kept or not.
    pub fn uploaded(&self, bytes: u64, is_kept: bool) {
        let outcome = if is_kept { "kept" } else { "refused" };
        counter!("glimpse_uploads_total", "outcome" => outcome).increment(1);
        counter!("glimpse_upload_bytes_total").increment(bytes);
    }

    /// How long it has been counted.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// The last hour.
    pub fn last_hour(&self) -> LastHour {
        self.hour_at(self.began.elapsed())
    }

    fn hour_at(&self, elapsed: Duration) -> LastHour {
        let now = minute_of(elapsed);
        let mut minutes = vec![Minute::default(); MINUTES];
        for (number, minute) in self.lock().iter() {
            let back = usize::try_from(now.saturating_sub(*number)).unwrap_or(MINUTES);
            if back < MINUTES {
                minutes[MINUTES - 1 - back] = minute.clone();
            }
        }
        LastHour {
            minutes,
            of_the_last: Duration::from_secs(elapsed.as_secs() % MINUTE.as_secs()),
        }
    }

    fn note(&self, what: impl FnOnce(&mut Minute)) {
        self.note_at(self.began.elapsed(), what);
    }

    fn note_at(&self, elapsed: Duration, what: impl FnOnce(&mut Minute)) {
        let now = minute_of(elapsed);
        let mut minutes = self.lock();
        // Whoever waited for the lock over the end of a minute counts in the next.
        if minutes.back().is_none_or(|(number, _)| *number < now) {
            minutes.push_back((now, Minute::default()));
            if minutes.len() > MINUTES {
                minutes.pop_front();
            }
        }
        if let Some((_, minute)) = minutes.back_mut() {
            what(minute);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Minute)>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute_of(elapsed: Duration) -> u64 {
    elapsed.as_secs() / MINUTE.as_secs()
}

/// Many durations, each known to a tenth of itself: from a millisecond to an hour and more.
#[derive(Clone, Debug)]
pub struct Durations {
    counts: [u32; Self::CLASSES],
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            counts: [0; Self::CLASSES],
        }
    }
}

impl Durations {
    const CLASSES: usize = 80;
    /// Seconds of the first class, and how much longer each is than the one before.
    const SHORTEST: f64 = 1e-3;
    const FACTOR: f64 = 1.22;

    pub fn record(&mut self, duration: Duration) {
        let steps = (duration.as_secs_f64() / Self::SHORTEST).max(1.0).ln() / Self::FACTOR.ln();
        // Not below 0, and what is too long is cut off.
        let class = (steps.round() as usize).min(Self::CLASSES - 1);
        self.counts[class] += 1;
    }

    fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// Seconds that this share of them took at most; none where there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u32 = self.counts.iter().sum();
        let wanted = (f64::from(all) * share).ceil().max(1.0);
        let mut sum = 0;
        let class = self.counts.iter().position(|count| {
            sum += count;
            f64::from(sum) >= wanted
        })?;
        Some(Self::SHORTEST * Self::FACTOR.powf(class as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Timings;

    fn completion(finish_reason: FinishReason) -> Result<Completion> {
        Ok(Completion {
            finish_reason,
            timings: Timings::default(),
            prompt_tokens: 1,
            generated_tokens: 2,
            prompt: String::new(),
            further_texts: Vec::new(),
            seed: None,
        })
    }

    #[test]
    fn a_question_counts_once_by_how_it_ended() {
        let activity = Activity::default();
        for reason in [
            FinishReason::Stop,
            FinishReason::Length,
            FinishReason::Cancelled,
            FinishReason::Interrupted,
        ] {
            activity.ended(&completion(reason));
        }
        activity.ended(&Err(Error::TooSlow { seconds: 1 }));
        activity.refused(&Error::QuestionEmpty);
        let hour = activity.last_hour();
        let mut all = Minute::default();
        hour.minutes.iter().for_each(|minute| all.add(minute));
        let counts = (all.answered, all.stopped, all.interrupted, all.refused, all.failed);
        assert_eq!((counts, all.questions()), ((2, 1, 1, 1, 1), 6));
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let activity = Activity::default();
        let at = |minute: u64| MINUTE * u32::try_from(minute).expect("it is small");
        for minute in 0..90 {
            activity.note_at(at(minute), |noted| noted.tokens = minute);
        }
        let tokens: Vec<u64> = activity.hour_at(at(89)).minutes.iter().map(|m| m.tokens).collect();
        assert_eq!(tokens, (30..90).collect::<Vec<_>>());
        let later = activity.hour_at(at(100) + Duration::from_secs(7));
        assert_eq!(later.minutes[MINUTES - 12].tokens, 89);
        assert_eq!(later.minutes[MINUTES - 11].tokens, 0, "nothing happened since");
        assert_eq!(later.of_the_last, Duration::from_secs(7));
        assert!(activity.lock().len() <= MINUTES);
    }

    #[test]
    fn quantiles_are_right_to_a_tenth() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        (1..=100).for_each(|n| durations.record(Duration::from_millis(10 * n)));
        for (share, seconds) in [(0.5, 0.5), (0.95, 0.95)] {
            let found = durations.quantile(share).expect("there are some");
            assert!((found / seconds - 1.0).abs() < 0.11, "{share}: {found}");
        }
        durations.record(Duration::from_secs(1 << 30));
        durations.record(Duration::ZERO);
        assert!(durations.quantile(1.0).is_some_and(f64::is_finite));
    }
}
