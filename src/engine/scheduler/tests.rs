//! The scheduler with a model that is made up, and that fails as it is told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use proptest::prelude::*;

mod measured;

use super::*;
use crate::blip2::passes::KvUsage;
use crate::engine::model::Looks;
use crate::engine::prompt::SentPrompt;
use crate::engine::queue::{QueueSender, queue};
use crate::engine::warm_up::warm_up;
use crate::engine::{ClientKey, Events, Instruction, QueueLimits, Submission};
use crate::generation::{Beginning, FinishReason, Needs};
use crate::models::Checkpoint;
use crate::processor::{Picture, Processor};

const VOCABULARY: usize = 300;
const LAYERS: usize = 3;
const BLOCKS: usize = 40;

/// What happened, seen from outside the scheduler.
#[derive(Default)]
struct Seen {
    /// Of each decoding pass, the pictures whose answers went on.
    passes: Vec<Vec<u8>>,
    encoded: Vec<u8>,
    sequences: usize,
    most_rows: usize,
    /// Layers of pictures and passes, by whose picture they were.
    steps: Vec<(Step, u8)>,
    /// What becomes of questions that arrived on the way.
    arrived: Vec<Events>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Layer,
    Pass,
}

/// Questions that come after so many layers of pictures, and after how many the last visitor goes.
struct Arriving {
    queue: QueueSender<Job>,
    questions: Vec<(usize, Submission)>,
    end: usize,
}

/// A model whose next token depends on the picture and on what was read.
#[derive(Default)]
struct MadeUp {
    seen: Arc<Mutex<Seen>>,
    /// Pictures whose answers break the pass that they are in, and after how many tokens.
    breaking: HashMap<u8, usize>,
    /// Answers that nobody wants any more after so many passes.
    leaving: Vec<(usize, Events)>,
    /// Its next pass says that it has begun, and goes on when it is told to.
    halt: Option<(Sender<()>, Receiver<()>)>,
    arriving: Option<Arriving>,
    layers: usize,
}

struct Read {
    picture: u8,
    tokens: Vec<u32>,
    prompt: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.seen.lock().expect("nothing panics with it").sequences -= 1;
    }
}

impl Read {
    fn new(picture: u8, tokens: Vec<u32>, prompt: usize, seen: &Arc<Mutex<Seen>>) -> Self {
        seen.lock().expect("nothing panics with it").sequences += 1;
        Self {
            picture,
            tokens,
            prompt,
            seen: Arc::clone(seen),
        }
    }

    fn logits(&self) -> RowLogits {
        let sum = self
            .tokens
            .iter()
            .fold(u32::from(self.picture), |sum, token| sum * 31 % 9973 + token);
        let logit = |token| ((token * 7919 + sum * 104_729) % 1009) as f32 / 100.0;
        RowLogits::All((0..VOCABULARY as u32).map(logit).collect())
    }
}

type Outcome<T> = Result<T, GenerationError>;

impl Looks for MadeUp {
    type Encoded = u8;
    type Looking = (u8, usize);

    fn begin_picture(&mut self, picture: &Picture) -> Outcome<(u8, usize)> {
        let number = picture.rgb[0];
        self.seen.lock().expect("nothing panics with it").encoded.push(number);
        Ok((number, 0))
    }

    fn look_on(&mut self, looking: &mut (u8, usize)) -> Outcome<Option<u8>> {
        looking.1 += 1;
        self.layers += 1;
        let mut seen = self.seen.lock().expect("nothing panics with it");
        seen.steps.push((Step::Layer, looking.0));
        if let Some(Arriving { queue, questions, end }) = &mut self.arriving {
            for (_, question) in questions.extract_if(.., |(after, _)| *after <= self.layers) {
                let events = Job::submit(question, queue).expect("there is a place");
                seen.arrived.push(events);
            }
            if *end <= self.layers {
                self.arriving = None;
            }
        }
        Ok((looking.1 == LAYERS).then_some(looking.0))
    }

    fn encoded_bytes(&self) -> u64 {
        1
    }
}

impl Model for MadeUp {
    type Reading = usize;
    type Sequence = Read;

    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Outcome<Beginning> {
        Ok(Beginning {
            ids_before: prompt_ids.to_vec(),
            eos_token_ids: vec![2],
            max_length: prompt_ids.len() + options.max_new_tokens,
        })
    }

    fn picture_tokens(&self) -> usize {
        4
    }

    fn reads_in_parts(&self) -> bool {
        true
    }

    fn known(&self, _: PictureId, _: &[u32]) -> usize {
        0
    }

    fn new_sequence(&self, _: PictureId, _: &[u32]) -> Read {
        Read::new(0, Vec::new(), 0, &self.seen)
    }

    fn fork(&self, sequence: &Read) -> Read {
        Read::new(sequence.picture, sequence.tokens.clone(), sequence.prompt, &self.seen)
    }

    fn read_of_prompt(&self, sequence: &Read) -> usize {
        sequence.tokens.len()
    }

    fn begin_reading(&mut self, parts: &mut [Part<Self>]) -> Outcome<usize> {
        for part in parts {
            part.sequence.picture = *part.picture.expect("it was encoded");
        }
        Ok(0)
    }

    fn read_on(&mut self, reading: &mut usize) -> Outcome<bool> {
        *reading += 1;
        Ok(*reading == LAYERS)
    }

    fn finish_reading(&mut self, _: usize, parts: &mut [Part<Self>], _: &[Needs]) -> Outcome<Vec<Option<RowLogits>>> {
        let finish = |part: &mut Part<Self>| {
            let start = part.sequence.tokens.len();
            part.sequence.tokens.extend(&part.ids[start..start + part.tokens]);
            part.sequence.prompt = part.ids.len();
            (part.sequence.tokens.len() == part.ids.len()).then(|| part.sequence.logits())
        };
        Ok(parts.iter_mut().map(finish).collect())
    }

    fn decode(&mut self, rows: &mut [&mut Read], tokens: &[u32], _: &[Needs]) -> Outcome<Vec<RowLogits>> {
        let mut seen = self.seen.lock().expect("nothing panics with it");
        seen.passes.push(rows.iter().map(|row| row.picture).collect());
        seen.steps.extend(rows.iter().map(|row| (Step::Pass, row.picture)));
        seen.most_rows = seen.most_rows.max(rows.len());
        let passes = seen.passes.len();
        drop(seen);
        self.leaving.retain(|(after, _)| *after > passes);
        if let Some((begun, go_on)) = self.halt.take() {
            begun.send(()).expect("somebody waits for it");
            go_on.recv().expect("somebody says so");
        }
        let breaks = |row: &&&mut Read| {
            let written = row.tokens.len() - row.prompt;
            self.breaking.get(&row.picture).is_some_and(|after| written >= *after)
        };
        assert!(rows.iter().find(breaks).is_none(), "the model was told to break");
        let read = |(row, token): (&mut &mut Read, &u32)| {
            row.tokens.push(*token);
            row.logits()
        };
        Ok(rows.iter_mut().zip(tokens).map(read).collect())
    }

    fn most_blocks(&self, prompt: usize, beginning: &Beginning, rows: usize) -> usize {
        (prompt + rows * (beginning.max_length - beginning.ids_before.len())).div_ceil(16)
    }

    fn usage(&self) -> KvUsage {
        KvUsage {
            blocks: BLOCKS,
            held: 0,
            kept: 0,
        }
    }

    fn block_bytes(&self) -> u64 {
        1
    }
}

fn processor() -> Processor {
    let checkpoint = Checkpoint::demo().expect("it is part of the program");
    checkpoint.processor().expect("it is part of the program")
}

/// A question about the picture of this number.
fn question(number: u8, options: GenerationOptions) -> Submission {
    Submission {
        client: ClientKey::from(u128::from(number)),
        network: None,
        deadline: None,
        picture: Arc::new(picture(number)),
        instruction: Instruction::question(format!("what is {number}?")),
        options,
        stop_strings: Vec::new(),
    }
}

fn options(max_new_tokens: usize) -> GenerationOptions {
    GenerationOptions {
        max_new_tokens,
        ..GenerationOptions::default()
    }
}

/// What becomes of all questions: tokens and how it ended, where somebody waited.
type Ended = Option<Result<Vec<Vec<u32>>, String>>;

/// Asks all at once, of which some leave after so many passes.
fn run(
    processor: &Processor,
    questions: Vec<(Submission, Option<usize>)>,
    breaking: HashMap<u8, usize>,
    rows: usize,
) -> (Vec<Ended>, Seen) {
    let limits = QueueLimits {
        waiting: 1000,
        waiting_per_client: 1000,
    };
    let (sender, queue) = queue(limits);
    let (mut leaving, mut waiting) = (Vec::new(), Vec::new());
    for (question, leaves) in questions {
        let events = Job::submit(question, &sender).expect("there is a place");
        match leaves {
            Some(after) => {
                leaving.push((after, events));
                waiting.push(None);
            }
            None => waiting.push(Some(events)),
        }
    }
    drop(sender);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let model = MadeUp {
        seen: Arc::clone(&seen),
        breaking,
        leaving,
        ..MadeUp::default()
    };
    let limits = BatchLimits {
        rows,
        ..BatchLimits::default()
    };
    let watch = Arc::new(StepWatch::new(limits.max_gap));
    scheduler(model, processor, queue, limits, watch).run();
    let ended = waiting.into_iter().map(|events| events.map(how_it_ended)).collect();
    let seen = std::mem::take(&mut *seen.lock().expect("nothing panics with it"));
    (ended, seen)
}

fn scheduler<M: Model + Send>(
    model: M,
    processor: &Processor,
    queue: Queue<Job>,
    limits: BatchLimits,
    watch: Arc<StepWatch>,
) -> Scheduler<'_, M> {
    let prompts = Prompts {
        processor: &processor.text,
        is_demo: false,
        room_for_turns: &|_| 500,
    };
    let (health, metrics) = (Arc::new(DeviceHealth::new(true)), ModelMetrics::new("test"));
    Scheduler::new(model, prompts, queue, limits, health, watch, metrics)
}

fn how_it_ended(mut events: Events) -> Result<Vec<Vec<u32>>, String> {
    let mut streamed = Vec::new();
    let mut ends = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Score(_) => {}
            Event::Token { token, .. } => streamed.push(token.id),
            Event::Done(summary) => {
                let ids = |answer: &crate::engine::WrittenAnswer| {
                    answer.sequence.tokens.iter().map(|token| token.id).collect()
                };
                let answers: Vec<Vec<u32>> = summary.answers.iter().map(ids).collect();
                assert_eq!(answers[0], streamed, "what was streamed is the first answer");
                assert!(matches!(
                    summary.finish_reason,
                    FinishReason::Stop | FinishReason::Length
                ));
                ends.push(Ok(answers));
            }
            Event::Failed(error) => ends.push(Err(error.to_string())),
        }
    }
    assert_eq!(ends.len(), 1, "it ends once");
    ends.remove(0)
}

#[test]
fn answers_go_on_together_and_are_those_of_each_alone() {
    let processor = processor();
    let beams = GenerationOptions {
        num_beams: 3,
        ..options(12)
    };
    let drawn = GenerationOptions {
        do_sample: true,
        seed: Some(5),
        num_return_sequences: 2,
        ..options(15)
    };
    let all = [options(20), beams, drawn, options(1), options(0)];
    let asked = |number: usize| (question(number as u8, all[number].clone()), None);
    let (together, seen) = run(&processor, (0..all.len()).map(asked).collect(), HashMap::new(), 16);
    assert!(seen.most_rows >= 1 + 3 + 2, "{} rows", seen.most_rows);
    assert_eq!(seen.sequences, 0, "all that was held is given back");
    for (number, together) in together.iter().enumerate() {
        let (alone, _) = run(&processor, vec![asked(number)], HashMap::new(), 16);
        assert_eq!(&alone[0], together);
    }
}

#[test]
fn who_breaks_the_model_fails_alone() {
    let processor = processor();
    let asked = |broken| {
        let questions = (1..=4).map(|picture| (question(picture, options(20)), None)).collect();
        run(&processor, questions, broken, 16)
    };
    let (sound, _) = asked(HashMap::new());
    let (ended, seen) = asked(HashMap::from([(3, 5)]));
    assert_eq!(ended[2], Some(Err(EngineError::Panicked.to_string())));
    for other in [0, 1, 3] {
        assert_eq!(ended[other], sound[other]);
    }
    assert_eq!(seen.sequences, 0);
}

#[test]
fn who_has_gone_is_in_no_further_pass() {
    let questions = vec![(question(1, options(100)), Some(7)), (question(2, options(40)), None)];
    let (ended, seen) = run(&processor(), questions, HashMap::new(), 16);
    assert!(matches!(ended[1], Some(Ok(_))));
    let last = seen
        .passes
        .iter()
        .rposition(|pass| pass.contains(&1))
        .expect("it began");
    // It goes in the seventh pass.
    assert!(last < 7, "pass {}", last + 1);
    assert_eq!(seen.sequences, 0);
}

#[test]
fn a_picture_is_encoded_once_however_many_ask_about_it() {
    let questions = [1, 2, 1, 1, 2].map(|picture| (question(picture, options(5)), None));
    let (_, seen) = run(&processor(), questions.into(), HashMap::new(), 16);
    assert_eq!(seen.encoded, [1, 2]);
}

#[test]
fn what_does_not_fit_waits_or_is_refused_and_others_are_answered() {
    let processor = processor();
    let large = |rows| GenerationOptions {
        num_beams: rows,
        ..options(100)
    };
    let questions = vec![
        (question(1, large(5)), None),
        (question(2, large(5)), None),
        (question(3, large(90)), None),
        (question(4, options(3)), None),
    ];
    let (ended, seen) = run(&processor, questions, HashMap::new(), 6);
    assert!(seen.most_rows <= 6, "{} rows", seen.most_rows);
    let is_answered: Vec<bool> = ended.iter().map(|ended| matches!(ended, Some(Ok(_)))).collect();
    assert_eq!(is_answered, [true, true, false, true]);
    assert!(
        matches!(&ended[2], Some(Err(error)) if error.contains("fewer beams")),
        "{:?}",
        ended[2]
    );
}

#[test]
fn a_pass_that_hangs_is_told_with_whose_it_is_and_ends_nothing() {
    let processor = processor();
    let (sender, queue) = queue(QueueLimits {
        waiting: 9,
        waiting_per_client: 9,
    });
    let ask = |id: &str, picture| {
        let id = RequestId::parse(id).expect("it is plain");
        let asked = id.scope(async { Job::submit(question(picture, options(3)), &sender) });
        futures::executor::block_on(asked).expect("there is a place")
    };
    let events = [ask("first", 1), ask("second", 2)];
    drop(sender);
    let (begun, has_begun) = channel();
    let (go_on, goes_on) = channel();
    let model = MadeUp {
        halt: Some((begun, goes_on)),
        ..MadeUp::default()
    };
    let limits = BatchLimits::default();
    let watch = Arc::new(StepWatch::new(limits.max_gap));
    let scheduler = scheduler(model, &processor, queue, limits, Arc::clone(&watch));
    std::thread::scope(|threads| {
        threads.spawn(|| scheduler.run());
        has_begun.recv().expect("it begins");
        let now = Instant::now();
        let later = |seconds| watch.report(now + Duration::from_secs(seconds));
        let told = later(6).expect("it hangs");
        let ids: Vec<&str> = told.requests.iter().map(|id| id.as_str()).collect();
        assert_eq!((told.work, told.rows, ids), (Work::Tokens, 2, vec!["first", "second"]));
        assert_eq!(later(7), None, "it was told a moment ago");
        assert!(later(60).is_some(), "it still hangs");
        assert_eq!(watch.steps().slow, 1);
        go_on.send(()).expect("it waits");
    });
    assert_eq!(watch.steps().running, None);
    assert!(events.into_iter().all(|events| how_it_ended(events).is_ok()));
}

/// The picture of this number, as the model sees it.
fn picture(number: u8) -> Picture {
    Picture {
        width: 1,
        height: 1,
        rgb: vec![number; 3],
    }
}

/// Encodes these pictures ahead, while questions about others arrive after so many layers, until a last
/// layer.
fn warm(pictures: &[u8], arriving: &[(usize, u8)], end: usize) -> Seen {
    let processor = processor();
    let (queue, questions) = queue(QueueLimits {
        waiting: 9,
        waiting_per_client: 9,
    });
    let seen = Arc::new(Mutex::new(Seen::default()));
    let arriving = arriving.iter();
    let model = MadeUp {
        seen: Arc::clone(&seen),
        arriving: Some(Arriving {
            queue,
            questions: arriving
                .map(|(after, number)| (*after, question(*number, options(4))))
                .collect(),
            end,
        }),
        ..MadeUp::default()
    };
    let limits = BatchLimits::default();
    let watch = Arc::new(StepWatch::new(limits.max_gap));
    let pictures: Vec<Picture> = pictures.iter().map(|number| picture(*number)).collect();
    scheduler(model, &processor, questions, limits, watch)
        .warm(Box::new(pictures.into_iter()))
        .run();
    let mut seen = std::mem::take(&mut *seen.lock().expect("nothing panics with it"));
    for events in seen.arrived.drain(..) {
        assert!(how_it_ended(events).is_ok());
    }
    seen
}

#[test]
fn who_asks_about_a_picture_that_was_encoded_ahead_finds_it_ready() {
    let seen = warm(&[1, 2, 1], &[(6, 1)], 6);
    assert_eq!(seen.encoded, [1, 2]);
    let layers = seen.steps.iter().filter(|(step, _)| *step == Step::Layer);
    assert_eq!(layers.count(), 2 * LAYERS);
    assert!(seen.passes.iter().all(|pass| pass == &[1]) && !seen.passes.is_empty());
}

#[test]
fn who_asks_while_pictures_are_encoded_ahead_waits_for_a_layer_at_most() {
    let seen = warm(&[1, 2], &[(2, 7)], 9);
    let of_others: Vec<usize> = (0..seen.steps.len()).filter(|at| seen.steps[*at].1 != 7).collect();
    let of_the_visitor = seen.steps.len() - of_others.len();
    assert!(of_the_visitor > LAYERS, "{:?}", seen.steps);
    // Two layers, all of the visitor's, and then the rest.
    let rest = 2 + of_the_visitor;
    let expected: Vec<usize> = [0, 1].into_iter().chain(rest..rest + 4).collect();
    assert_eq!(of_others, expected, "{:?}", seen.steps);
}

#[test]
fn what_is_half_encoded_is_whole_for_who_asks_about_it() {
    let seen = warm(&[1, 2], &[(2, 1)], 6);
    assert_eq!(seen.encoded, [1, 2]);
    let first = seen.steps.iter().take(LAYERS);
    assert!(first.eq(&[(Step::Layer, 1); LAYERS]), "{:?}", seen.steps);
    assert!(seen.steps[LAYERS..].starts_with(&[(Step::Pass, 1)]), "{:?}", seen.steps);
}

#[test]
fn no_more_is_encoded_ahead_than_is_kept() {
    let processor = processor();
    let (visitors, questions) = queue(QueueLimits {
        waiting: 9,
        waiting_per_client: 9,
    });
    let seen = Arc::new(Mutex::new(Seen::default()));
    let model = MadeUp {
        seen: Arc::clone(&seen),
        ..MadeUp::default()
    };
    // An eighth is for what the language model sees of pictures.
    let limits = BatchLimits {
        picture_cache: 8 * 2,
        ..BatchLimits::default()
    };
    let watch = Arc::new(StepWatch::new(limits.max_gap));
    let scheduler = scheduler(model, &processor, questions, limits, Arc::clone(&watch))
        .warm(Box::new([1, 2, 3].into_iter().map(picture)));
    std::thread::scope(|threads| {
        threads.spawn(|| scheduler.run());
        let mut events = Job::submit(question(7, options(2)), &visitors).expect("there is a place");
        while !matches!(events.blocking_recv(), Some(Event::Done(_)) | None) {}
        // Behind an answer it is idle when nothing is left to be encoded.
        while watch.steps().running.is_some() {
            std::thread::yield_now();
        }
        drop(visitors);
    });
    let encoded = std::mem::take(&mut seen.lock().expect("nothing panics with it").encoded);
    assert!(
        encoded.contains(&7) && encoded.contains(&1) && !encoded.contains(&3),
        "{encoded:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever comes: every question ends once, in an answer that is the same alone or in a failure
    /// of its own, and nothing that was held is lost.
    #[test]
    fn every_question_ends_once_and_nothing_is_lost(
        asked in proptest::collection::vec((0..6u8, 0..25usize, 1..4usize, proptest::option::weighted(0.2, 1..30usize)), 1..14),
        breaking in proptest::collection::hash_map(0..6u8, 0..10usize, 0..2),
        rows in 1..12usize,
    ) {
        let processor = processor();
        let question = |(picture, tokens, beams, leaves): &(u8, usize, usize, Option<usize>)| {
            let options = GenerationOptions { num_beams: *beams, ..options(*tokens) };
            (question(*picture, options), *leaves)
        };
        let (ended, seen) = run(&processor, asked.iter().map(question).collect(), breaking.clone(), rows);
        prop_assert_eq!(seen.sequences, 0);
        for (asked, ended) in asked.iter().zip(ended) {
            let Some(ended) = ended else { continue };
            match ended {
                Ok(answers) => {
                    let alone = run(&processor, vec![(question(asked).0, None)], HashMap::new(), 16).0;
                    prop_assert_eq!(alone[0].clone(), Some(Ok(answers)));
                }
                Err(_) => prop_assert!(breaking.contains_key(&asked.0)),
            }
        }
    }
}

#[test]
fn an_answer_before_the_first_takes_the_ways_of_one_and_of_many_and_leaves_nothing() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut model = MadeUp {
        seen: Arc::clone(&seen),
        ..MadeUp::default()
    };
    let prompt = SentPrompt {
        text: String::new(),
        ids: (0..7).collect(),
        instruction: Vec::new(),
    };
    warm_up(&mut model, &picture(9), &prompt).expect("nothing is wrong with the model");
    let seen = seen.lock().expect("nothing panics with it");
    let rows: Vec<usize> = seen.passes.iter().map(Vec::len).collect();
    assert_eq!(rows, [1, 1, 1, 3, 3, 3]);
    assert_eq!((&seen.encoded[..], seen.sequences), (&[9][..], 0));
}
