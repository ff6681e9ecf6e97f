//! What came of it, in words and in one line of figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::server::Sample;
use crate::visitor::{Given, Shared};
use crate::{Arguments, OWN_DESCRIPTORS};

/// How many faults are told in words.
const TOLD: usize = 20;

/// How much more memory may be resident at the end than after a third of the time.
const GROWTH: f64 = 1.15;
const GROWTH_BYTES: f64 = 50e6;

pub struct Report {
    visitors: usize,
    seconds: f64,
    seed: u64,
    model: Value,
    requests: usize,
    whole: usize,
    stopped: usize,
    taken_up: usize,
    left: usize,
    tokens: u64,
    /// Milliseconds.
    first: Quantiles,
    between: Quantiles,
    errors: BTreeMap<String, usize>,
    memory: Memory,
    descriptors: Descriptors,
    compared: usize,
    differing: usize,
    pub faults: Vec<String>,
    /// What the server said of them.
    pub warnings: Vec<String>,
}

/// Megabytes that were resident.
struct Memory {
    at_first: f64,
    after_a_third: f64,
    at_last: f64,
    most: f64,
}

struct Descriptors {
    at_first: usize,
    most: usize,
    at_last: usize,
}

#[derive(Clone, Copy)]
struct Quantiles([f64; 3]);

impl Quantiles {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let last = seconds.len().saturating_sub(1);
        Self([0.5, 0.95, 0.99].map(|share| {
            let at = (last as f64 * share).round() as usize;
            seconds.get(at).map_or(0.0, |seconds| seconds * 1e3)
        }))
    }

    fn json(self) -> Value {
        let [p50, p95, p99] = self.0.map(rounded);
        json!({"p50": p50, "p95": p95, "p99": p99})
    }

    fn words(self) -> String {
        let [p50, p95, p99] = self.0;
        format!("{p50:.1} / {p95:.1} / {p99:.1} ms (p50 / p95 / p99)")
    }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

impl Memory {
    fn of(samples: &[Sample], took: Duration) -> Self {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        // The middle one of a tenth of the time: no moment of it counts for all.
        let around = |share: f64| {
            let within = |sample: &&Sample| {
                let at = sample.at.as_secs_f64() / took.as_secs_f64();
                (share..=share + 0.1).contains(&at)
            };
            let mut all: Vec<u64> = samples.iter().filter(within).map(|sample| sample.memory).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().map_or(0.0, megabytes)
        };
        Self {
            at_first: samples.first().map_or(0.0, |sample| megabytes(sample.memory)),
            after_a_third: around(1.0 / 3.0),
            at_last: around(0.9),
            most: samples
                .iter()
                .map(|sample| megabytes(sample.memory))
                .fold(0.0, f64::max),
        }
    }

    fn has_grown(&self) -> bool {
        self.at_last > self.after_a_third * GROWTH + GROWTH_BYTES / 1e6
    }
}

impl Report {
    pub fn new(arguments: &Arguments, shared: &Shared, samples: &[Sample], took: Duration, model: Value) -> Self {
        let mut seen = shared.lock();
        let mut report = Self {
            visitors: arguments.visitors,
            seconds: took.as_secs_f64(),
            seed: arguments.seed,
            model,
            requests: seen.requests,
            whole: seen.whole,
            stopped: seen.stopped,
            taken_up: seen.taken_up,
            left: seen.left,
            tokens: seen.tokens,
            first: Quantiles::of(std::mem::take(&mut seen.first)),
            between: Quantiles::of(std::mem::take(&mut seen.between)),
            errors: seen.errors.clone(),
            memory: Memory::of(samples, took),
            descriptors: Descriptors {
                at_first: samples.first().map_or(0, |sample| sample.descriptors),
                most: samples
                    .iter()
                    .map(|sample| sample.descriptors)
                    .max()
                    .unwrap_or_default(),
                at_last: samples.last().map_or(0, |sample| sample.descriptors),
            },
            compared: 0,
            differing: 0,
            faults: std::mem::take(&mut seen.faults),
            warnings: Vec::new(),
        };
        report.look_for_leaks();
        report
    }

    fn look_for_leaks(&mut self) {
        if self.memory.has_grown() {
            self.faults.push(format!(
                "memory grew from {:.0} MB after a third of the time to {:.0} MB",
                self.memory.after_a_third, self.memory.at_last
            ));
        }
        let Descriptors { at_first, at_last, .. } = self.descriptors;
        if at_last > at_first + OWN_DESCRIPTORS {
            self.faults.push(format!(
                "{at_last} descriptors are open after the last visitor, and {at_first} were before"
            ));
        }
        if self.whole == 0 {
            self.faults.push("no question was answered".into());
        }
    }

    /// Compares what was given among others with what is given alone.
    pub fn compare(&mut self, plan: &Plan, turn: usize, given: (&Given, &usize), alone: &Given) {
        let (given, &times) = given;
        let is_same = match given.is_whole {
            true => given == alone,
            false => alone.text.starts_with(&given.text),
        };
        self.compared += times;
        if !is_same {
            self.differing += times;
            let asked = &plan.turns[turn];
            self.faults.push(format!(
                "{times} times picture {} was answered {:?} {:?}, and alone {:?} {:?}, to {:?} with {}",
                plan.picture + 1,
                given.text,
                given.further,
                alone.text,
                alone.further,
                asked.question.unwrap_or_default(),
                asked.settings
            ));
        }
    }

    /// Says it all; the line for programs last.
    pub fn print(&self) {
        let Self {
            memory, descriptors, ..
        } = self;
        let a_second = |count: f64| count / self.seconds;
        println!(
            "{} visitors, {:.0} seconds: {} requests; {} answers ({:.1} a second), {:.1} tokens a second",
            self.visitors,
            self.seconds,
            self.requests,
            self.whole,
            a_second(self.whole as f64),
            a_second(self.tokens as f64)
        );
        println!(
            "besides, {} were stopped, {} left; {} were taken up again",
            self.stopped, self.left, self.taken_up
        );
        println!("time to the first token {}", self.first.words());
        println!("time per token {}", self.between.words());
        println!("errors: {:?}", self.errors);
        println!(
            "resident: {:.0} MB at first, {:.0} after a third, {:.0} at last, {:.0} at most",
            memory.at_first, memory.after_a_third, memory.at_last, memory.most
        );
        println!(
            "descriptors: {} at first, {} at most, {} at last",
            descriptors.at_first, descriptors.most, descriptors.at_last
        );
        println!(
            "{} answers compared with the same alone, {} differ",
            self.compared, self.differing
        );
        for fault in self.faults.iter().take(TOLD) {
            println!("FAULT: {fault}");
        }
        if self.faults.len() > TOLD {
            println!("... and {} more", self.faults.len() - TOLD);
        }
        if !self.faults.is_empty() {
            self.warnings
                .iter()
                .take(TOLD)
                .for_each(|line| println!("the server: {line}"));
        }
        println!("{}", self.json());
    }

    fn json(&self) -> Value {
        let Self {
            memory, descriptors, ..
        } = self;
        json!({
            "visitors": self.visitors, "seconds": rounded(self.seconds), "seed": self.seed, "model": self.model,
            "requests": self.requests, "answers": self.whole, "stopped": self.stopped, "left": self.left,
            "taken_up": self.taken_up,
            "answers_per_second": rounded(self.whole as f64 / self.seconds),
            "tokens_per_second": rounded(self.tokens as f64 / self.seconds),
            "first_token_ms": self.first.json(), "per_token_ms": self.between.json(),
            "errors": self.errors,
            "resident_mb": {"first": rounded(memory.at_first), "third": rounded(memory.after_a_third),
                            "last": rounded(memory.at_last), "most": rounded(memory.most)},
            "descriptors": {"first": descriptors.at_first, "most": descriptors.most, "last": descriptors.at_last},
            "compared": self.compared, "differing": self.differing, "faults": self.faults.len(),
        })
    }
}
