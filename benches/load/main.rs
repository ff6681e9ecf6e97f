//! Many visitors at a time: `make load VISITORS=64 SECONDS=120 SEED=1`, or
//! `cargo bench --features ssr --bench load -- --visitors 64 --seconds 120 --seed 1`, and
//! `--model DIR`, `-- ARGUMENTS OF SERVE` for another model than the demo's.
//!
//! A `glimpse serve` of its own gets visitors who, as a seed has it, put pictures in and ask about
//! them in several turns (greedy, sampled from a seed, by beams), read to the end, press Stop, lose
//! the connection and take the answer up again, load the page again in the middle, or go away. Then
//! a fresh server is asked the same with nobody else there. It fails (exit status 1) where
//!
//! - an answer is not the one that is given alone, or what came of a stopped one no beginning of it;
//! - a visitor sees anything of another's, or his own picture or conversation is not as he left it;
//! - an event, an answer or a turn is lost, or a request fails that should not: all but a refusal
//!   that says that there is too much to do now;
//! - memory (resident, of `/proc`) at the end is more than 15 % and 50 MB above what it was after
//!   a third of the time, or descriptors stay open after the last visitor.
//!
//! The last line is an object of figures, to be compared with those of another run. Times are those
//! that visitors see, through HTTP on one machine; those of beam search are not among them. Linux.

mod client;
mod plan;
mod report;
mod server;
mod visitor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;

use client::Client;
use plan::Plan;
use report::Report;
use server::{Sample, Server};
use visitor::{Observed, Shared, Visitor};

pub type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

/// Between two looks at the server's memory and descriptors.
const LOOK: Duration = Duration::from_millis(200);

/// For how long connections may close after the last visitor has gone: the server closes one that
/// is silent after 10 seconds.
const CLOSING: Duration = Duration::from_secs(15);

/// Descriptors that a server may open for itself as it goes.
pub const OWN_DESCRIPTORS: usize = 16;

#[derive(Parser)]
pub struct Arguments {
    /// Visitors at the same time
    #[arg(long, default_value_t = 64)]
    visitors: usize,
    /// Seconds for which they ask
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// What they do
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A checkpoint folder, or a model's id [default: the demo model]
    #[arg(long)]
    model: Option<String>,
    /// The program to serve with
    #[arg(long, default_value = env!("CARGO_BIN_EXE_glimpse"))]
    program: PathBuf,
    /// Further arguments of `glimpse serve`, such as its device
    #[arg(last = true)]
    serve: Vec<String>,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> AnyResult<ExitCode> {
    let arguments = Arguments::parse();
    let plans = Arc::new(plan::all()?);
    let (mut report, observed) = ask_all_at_once(&arguments, &plans)?;
    eprintln!("asking the same alone ...");
    compare(&arguments, &plans, &observed, &mut report)?;
    report.print();
    Ok(match report.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The visitors, and what they were answered.
fn ask_all_at_once(arguments: &Arguments, plans: &Arc<Vec<Plan>>) -> AnyResult<(Report, Observed)> {
    let server = Server::start(arguments)?;
    // What a server opens and allocates for its first visitor is no leak.
    visitor::ask_alone(
        &Client::new(server.address(), u64::MAX),
        &plans[0],
        plans[0].turns.len(),
    )?;
    let shared = Arc::new(Shared::default());
    let began = Instant::now();
    let end = began + Duration::from_secs(arguments.seconds);
    let mut samples = vec![server.sample(began)?];
    let is_over = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..arguments.visitors)
        .map(|number| {
            let visitor = Visitor::new(number, arguments.seed, server.address(), plans, &shared);
            std::thread::spawn(move || visitor.ask_until(end))
        })
        .collect();
    let watching = {
        let is_over = Arc::clone(&is_over);
        let process = server.process();
        std::thread::spawn(move || watch(&process, began, &is_over))
    };
    for visitor in visitors {
        // A panic is told by the thread, and counts as a fault.
        if visitor.join().is_err() {
            shared.fault("a visitor's thread panicked".into());
        }
    }
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    samples.extend(watching.join().unwrap_or_default());
    let model = Client::new(server.address(), u64::MAX).model()?;
    samples.push(settled(&server, began, samples[0].descriptors)?);
    let observed = shared.observed();
    let mut report = Report::new(arguments, &shared, &samples, took, model);
    report.warnings = server.warnings()?;
    Ok((report, observed))
}

/// Looks at the server again and again.
fn watch(process: &server::Process, began: Instant, is_over: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        // One that has ended has failed its visitors, which they say.
        samples.extend(process.sample(began));
        std::thread::sleep(LOOK);
    }
    samples
}

/// The server when its connections have closed.
fn settled(server: &Server, began: Instant, at_first: usize) -> AnyResult<Sample> {
    let deadline = Instant::now() + CLOSING;
    loop {
        let sample = server.sample(began)?;
        if sample.descriptors <= at_first + OWN_DESCRIPTORS || Instant::now() >= deadline {
            return Ok(sample);
        }
        std::thread::sleep(LOOK);
    }
}

/// Asks a server that knows nothing yet what was asked, one after the other.
fn compare(arguments: &Arguments, plans: &[Plan], observed: &Observed, report: &mut Report) -> AnyResult<()> {
    let server = Server::start(arguments)?;
    for (number, plan) in plans.iter().enumerate() {
        let turns = observed.keys().filter(|key| key.0 == number).map(|key| key.1 + 1).max();
        let Some(turns) = turns else { continue };
        let client = Client::new(server.address(), number as u64);
        for (turn, alone) in visitor::ask_alone(&client, plan, turns)?.into_iter().enumerate() {
            for given in observed.get(&(number, turn)).into_iter().flatten() {
                report.compare(plan, turn, given, &alone);
            }
        }
    }
    Ok(())
}
