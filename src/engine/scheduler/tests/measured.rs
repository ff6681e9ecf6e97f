//! What questions take of the demo model, in passes and in blocks.

use super::*;
use crate::checkpoint::Source;
use crate::cpu::WeightFormat;
use crate::engine::model::Blip2Model;
use crate::models::{self, DtypeChoice, ModelRequest, OpenModel};

/// The real model, with what is seen of it.
struct Measured<'a> {
    model: Blip2Model<'a>,
    seen: Arc<Mutex<Use>>,
    /// Answers that nobody wants any more after so many passes.
    leaving: Vec<(usize, Events)>,
}

#[derive(Default)]
struct Use {
    /// Of each pass the rows, and the blocks that are held behind it.
    passes: Vec<(usize, usize)>,
    most_held: usize,
    /// How many passes there were before each picture was begun.
    pictures: Vec<usize>,
}

impl Measured<'_> {
    fn note(&self) -> std::sync::MutexGuard<'_, Use> {
        let mut seen = self.seen.lock().expect("nothing panics with it");
        seen.most_held = seen.most_held.max(self.model.usage().held);
        seen
    }
}

impl<'a> Looks for Measured<'a> {
    type Encoded = <Blip2Model<'a> as Looks>::Encoded;
    type Looking = <Blip2Model<'a> as Looks>::Looking;

    fn begin_picture(&mut self, picture: &Picture) -> Outcome<Self::Looking> {
        let mut seen = self.note();
        let passes = seen.passes.len();
        seen.pictures.push(passes);
        drop(seen);
        self.model.begin_picture(picture)
    }

    fn look_on(&mut self, looking: &mut Self::Looking) -> Outcome<Option<Self::Encoded>> {
        self.model.look_on(looking)
    }

    fn encoded_bytes(&self) -> u64 {
        self.model.encoded_bytes()
    }
}

impl<'a> Model for Measured<'a> {
    type Reading = <Blip2Model<'a> as Model>::Reading;
    type Sequence = <Blip2Model<'a> as Model>::Sequence;

    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Outcome<Beginning> {
        self.model.beginning(prompt_ids, options)
    }

    fn picture_tokens(&self) -> usize {
        self.model.picture_tokens()
    }

    fn reads_in_parts(&self) -> bool {
        self.model.reads_in_parts()
    }

    fn known(&self, picture: PictureId, prompt_ids: &[u32]) -> usize {
        self.model.known(picture, prompt_ids)
    }

    fn new_sequence(&self, picture: PictureId, prompt_ids: &[u32]) -> Self::Sequence {
        self.model.new_sequence(picture, prompt_ids)
    }

    fn fork(&self, sequence: &Self::Sequence) -> Self::Sequence {
        self.model.fork(sequence)
    }

    fn read_of_prompt(&self, sequence: &Self::Sequence) -> usize {
        self.model.read_of_prompt(sequence)
    }

    fn begin_reading(&mut self, parts: &mut [Part<Self>]) -> Outcome<Self::Reading> {
        let reading = self.model.begin_reading(parts);
        drop(self.note());
        reading
    }

    fn read_on(&mut self, reading: &mut Self::Reading) -> Outcome<bool> {
        self.model.read_on(reading)
    }

    fn finish_reading(
        &mut self,
        reading: Self::Reading,
        parts: &mut [Part<Self>],
        needs: &[Needs],
    ) -> Outcome<Vec<Option<RowLogits>>> {
        self.model.finish_reading(reading, parts, needs)
    }

    fn decode(&mut self, rows: &mut [&mut Self::Sequence], tokens: &[u32], needs: &[Needs]) -> Outcome<Vec<RowLogits>> {
        let logits = self.model.decode(rows, tokens, needs);
        let held = self.usage().held;
        let mut seen = self.note();
        seen.passes.push((rows.len(), held));
        let passes = seen.passes.len();
        drop(seen);
        self.leaving.retain(|(after, _)| *after > passes);
        logits
    }

    fn most_blocks(&self, prompt: usize, beginning: &Beginning, rows: usize) -> usize {
        self.model.most_blocks(prompt, beginning, rows)
    }

    fn usage(&self) -> KvUsage {
        self.model.usage()
    }

    fn block_bytes(&self) -> u64 {
        self.model.block_bytes()
    }
}

fn demo() -> OpenModel {
    let request = ModelRequest::on_cpu(Source::Demo, DtypeChoice::Format(WeightFormat::F32));
    models::open(request).expect("it is part of the program")
}

/// Puts this text to the model as it is, with a picture of this number.
fn raw(model: &OpenModel, number: u8, text: String, options: GenerationOptions) -> Submission {
    let picture = Picture {
        width: 4,
        height: 3,
        rgb: vec![number * 40; 36],
    };
    Submission {
        picture: Arc::new(model.processor.image.resize(&picture)),
        instruction: Instruction::Raw(text),
        ..question(number, options)
    }
}

/// Asks all at once, of which some leave after so many passes; tells what the model was used for, and
/// how many tokens the longest prompt has.
fn measure(model: &OpenModel, questions: Vec<(Submission, Option<usize>)>, rows: usize) -> (Use, usize) {
    let (sender, queue) = queue(QueueLimits {
        waiting: 9,
        waiting_per_client: 9,
    });
    let (mut leaving, mut waiting) = (Vec::new(), Vec::new());
    for (question, leaves) in questions {
        let events = Job::submit(question, &sender).expect("there is a place");
        match leaves {
            Some(after) => leaving.push((after, events)),
            None => waiting.push(events),
        }
    }
    drop(sender);
    let limits = BatchLimits {
        rows,
        ..BatchLimits::default()
    };
    let seen = Arc::new(Mutex::new(Use::default()));
    let measured = Measured {
        model: Blip2Model::new(
            model.network.blip2().expect("it is BLIP-2"),
            &model.processor.image,
            limits.picture_cache,
        )
        .expect("there is memory"),
        seen: Arc::clone(&seen),
        leaving,
    };
    let watch = Arc::new(StepWatch::new(limits.max_gap));
    scheduler(measured, &model.processor, queue, limits, watch).run();
    let mut longest = 0;
    for mut events in waiting {
        let mut last = None;
        while let Ok(event) = events.try_recv() {
            last = Some(event);
        }
        let Some(Event::Done(summary)) = last else {
            panic!("it was answered: {last:?}")
        };
        longest = longest.max(summary.prompt_ids.len());
    }
    (
        std::mem::take(&mut *seen.lock().expect("nothing panics with it")),
        longest,
    )
}

/// An answer of exactly so many tokens.
fn tokens(tokens: usize) -> GenerationOptions {
    GenerationOptions {
        min_new_tokens: tokens,
        ..options(tokens)
    }
}

#[test]
fn ten_beams_share_a_long_prompt_and_have_their_own_tails_alone() {
    const NEW: usize = 20;
    let model = demo();
    let held = |beams| {
        let options = GenerationOptions {
            num_beams: beams,
            ..tokens(NEW)
        };
        let question = raw(&model, 1, "what is it? ".repeat(60), options);
        let (seen, prompt) = measure(&model, vec![(question, None)], 16);
        assert!(prompt >= 240, "{prompt} tokens are no long prompt");
        assert!(seen.passes.iter().any(|(rows, _)| *rows == beams));
        seen.most_held
    };
    let (one, ten) = (held(1), held(10));
    // New tokens, and the block that they share with the prompt.
    let tail = NEW.div_ceil(16) + 1;
    assert!(one >= 240 / 16, "{one} blocks");
    assert!(
        ten * 10 <= one * 13 + 10 * 10 * tail,
        "{ten} blocks, and {one} of one beam"
    );
}

#[test]
fn who_cancels_gives_his_place_to_the_next_within_two_steps() {
    const LEAVES: usize = 6;
    let model = demo();
    let question = |number, tokens_of| raw(&model, number, "what is it?".to_owned(), tokens(tokens_of));
    let questions = vec![
        (question(1, 100), Some(LEAVES)),
        (question(2, 40), None),
        (question(3, 5), None),
    ];
    let (seen, _) = measure(&model, questions, 2);
    let held = |pass: usize| seen.passes[pass - 1].1;
    let rows = |pass: usize| seen.passes[pass - 1].0;
    assert_eq!((rows(LEAVES), rows(LEAVES + 1)), (2, 1), "he is in no further pass");
    // Two of one length, about two pictures.
    assert!(held(LEAVES + 1) * 2 <= held(LEAVES), "{:?}", seen.passes);
    let waited = seen.pictures[2] - LEAVES;
    assert!(waited <= 2, "the next one's picture was begun {waited} passes later");
    assert!(seen.passes[LEAVES + 1..].iter().any(|(rows, _)| *rows == 2));
}
