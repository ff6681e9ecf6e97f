//! What a token costs beside its arithmetic:
//! `cargo bench --features ssr --bench token`, with `-- --model DIR --dtype q8_0 --rows 4` of another
//! model, in another format, for several answers at once; `RAYON_NUM_THREADS=1` on one core.
//!
//! Times by turns a token through the model, as the engine reads it, and its parts by themselves:
//! the products of a token with matrices of the same shapes, and attention over as many positions;
//! then one answer after the other through the whole engine. The least of many short turns counts,
//! so that the ratios hold on a busy machine as well.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use glimpse::blip2::Blip2;
use glimpse::blip2::config::{Blip2Config, LanguageModelConfig};
use glimpse::blip2::passes::{DecoderSequence, KvCache, PromptPart};
use glimpse::checkpoint::Source;
use glimpse::cpu::matrix::InMemory;
use glimpse::cpu::paged_attention::{self, BLOCK_POSITIONS, KvPages, PagedRow};
use glimpse::cpu::product::product_of;
use glimpse::cpu::{Isa, PackedMatrix, Rows, WeightFormat};
use glimpse::engine::{BatchLimits, ClientKey, Engine, Event, Instruction, LocalEngine, QueueLimits, Submission};
use glimpse::generation::{Answer, GenerationOptions, Needs, RowLogits};
use glimpse::models::{ModelRequest, OpenModel, open};
use glimpse::nn::KvShape;
use glimpse::processor::Picture;

type AnyResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Positions of the prompt, and of the answer that is begun anew when it is written.
const PROMPT: usize = 40;
const ANSWER: usize = 40;

#[derive(Parser)]
struct Arguments {
    /// A checkpoint folder; without it the model that ships
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Answers that go on together
    #[arg(long, default_value_t = 1)]
    rows: usize,
    /// How often an answer is begun
    #[arg(long, default_value_t = 200)]
    answers: usize,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> AnyResult<()> {
    let arguments = Arguments::parse();
    let weights: WeightFormat = arguments.dtype.parse().map_err(|()| "no such dtype")?;
    let source = arguments.model.map_or(Source::Demo, Source::Folder);
    let model = open(ModelRequest::on_cpu(source, arguments.dtype.parse()?))?;
    // As the engine does it: on a thread of the pool.
    let times = rayon::scope(|_| {
        Times::of(
            model.network.blip2().ok_or("it is not BLIP-2")?,
            weights,
            arguments.rows,
            arguments.answers,
        )
    })?;
    let [token, products, attention, choice] = times.0;
    println!(
        "{}, {} rows of {} on {}, {} threads",
        model.name,
        arguments.rows,
        weights.name(),
        Isa::current().name(),
        rayon::current_num_threads(),
    );
    let arithmetic = products + attention;
    let report = |what: &str, seconds: f64| {
        println!(
            "{what:30} {:8.1} µs {:6.2} times its arithmetic",
            seconds * 1e6,
            seconds / arithmetic
        );
    };
    report("products of a token", products);
    report("attention of a token", attention);
    report("a token", token);
    report("choosing the next", choice);
    if arguments.rows == 1 {
        report(
            "a token through the engine",
            through_the_engine(model, arguments.answers)?,
        );
    }
    Ok(())
}

/// The least that a token of an answer takes, in seconds.
fn through_the_engine(model: OpenModel, answers: usize) -> AnyResult<f64> {
    let side = model
        .network
        .blip2()
        .ok_or("it is not BLIP-2")?
        .config()
        .vision_config
        .image_size;
    let picture = Arc::new(Picture {
        width: side,
        height: side,
        rgb: vec![128; side * side * 3],
    });
    let queue = QueueLimits {
        waiting: 1,
        waiting_per_client: 1,
    };
    let engine = LocalEngine::start(model, queue, BatchLimits::default())?;
    let mut least = f64::INFINITY;
    for _ in 0..answers {
        let mut events = engine.submit(Submission {
            client: ClientKey::from(0),
            network: None,
            deadline: None,
            picture: Arc::clone(&picture),
            instruction: Instruction::question("What is this?"),
            options: options(),
            stop_strings: Vec::new(),
        })?;
        let end = std::iter::from_fn(|| events.blocking_recv()).last();
        let Some(Event::Done(summary)) = end else {
            return Err(format!("no answer: {end:?}").into());
        };
        least = least.min(summary.timings.decode / 1e3 / (summary.generated_tokens - 1) as f64);
    }
    Ok(least)
}

/// A token, its products, attention, and choosing the next, in seconds.
struct Times([f64; 4]);

impl Times {
    fn of(model: &Blip2, weights: WeightFormat, rows: usize, answers: usize) -> AnyResult<Self> {
        let mut read = Answers::new(model, rows)?;
        let arithmetic = Arithmetic::new(model.config(), model.kv_shape(), weights, rows)?;
        let mut times = Self([f64::INFINITY; 4]);
        for _ in 0..answers {
            read.begin();
            for position in PROMPT..PROMPT + ANSWER {
                let mut logits = Vec::new();
                times.note(0, || {
                    logits = read.read_on().expect("the model reads on");
                });
                times.note(3, || read.choose(&logits[..1]));
                times.note(1, || arithmetic.products());
                times.note(2, || arithmetic.attention(position));
            }
        }
        Ok(times)
    }

    fn note(&mut self, what: usize, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        self.0[what] = self.0[what].min(start.elapsed().as_secs_f64());
    }
}

/// Answers to one prompt that go on together.
struct Answers<'model> {
    model: &'model Blip2,
    cache: KvCache,
    prompt: DecoderSequence,
    rows: Vec<DecoderSequence>,
    count: usize,
    answer: Answer,
    ids: Vec<u32>,
}

impl<'model> Answers<'model> {
    fn new(model: &'model Blip2, count: usize) -> AnyResult<Self> {
        let config = model.config();
        let picture_token = config.image_token_index.unwrap_or_default();
        let mut ids = vec![picture_token; config.num_query_tokens];
        ids.resize(PROMPT.max(config.num_query_tokens + 1), 5);
        let side = config.vision_config.image_size;
        let picture = model.encode_picture(&Tensor::zeros((1, 3, side, side), DType::F32, &Device::Cpu)?)?;
        let mut cache = model.new_cache((count + 1) * KvCache::blocks_of(ids.len() + ANSWER + 1), 0)?;
        let mut prompt = model.new_sequence(&cache, None, &ids);
        let parts = &mut [PromptPart {
            sequence: &mut prompt,
            ids: &ids,
            instruction: &[],
            picture: Some(&picture),
            tokens: ids.len(),
        }];
        let mut reading = model.begin_reading(&mut cache, parts)?;
        while !model.read_on(&mut cache, &mut reading)? {}
        model.finish_reading(&mut cache, reading, parts, &[Needs::AllLogits])?;
        Ok(Self {
            model,
            cache,
            prompt,
            rows: Vec::new(),
            count,
            answer: answer(model, &ids)?,
            ids,
        })
    }

    fn begin(&mut self) {
        self.rows.clear();
        self.rows.extend((0..self.count).map(|_| self.prompt.fork()));
        self.answer = answer(self.model, &self.ids).expect("it was begun before");
    }

    fn read_on(&mut self) -> candle_core::Result<Vec<RowLogits>> {
        let mut rows: Vec<&mut DecoderSequence> = self.rows.iter_mut().collect();
        self.model.decode(
            &mut self.cache,
            &mut rows,
            &vec![7; self.count],
            &vec![Needs::AllLogits; self.count],
        )
    }

    fn choose(&mut self, logits: &[RowLogits]) {
        std::hint::black_box(self.answer.take(logits).ok());
    }
}

fn answer(model: &Blip2, ids: &[u32]) -> AnyResult<Answer> {
    let options = options();
    Ok(Answer::new(&model.beginning(ids, &options)?, &options)?)
}

/// Greedy, and for as many tokens as are read.
fn options() -> GenerationOptions {
    GenerationOptions {
        max_new_tokens: ANSWER + 1,
        min_new_tokens: ANSWER + 1,
        ..GenerationOptions::default()
    }
}

/// What a token cannot do without.
struct Arithmetic {
    /// In the order of the layers, each with a row of inputs for each answer.
    products: Vec<(PackedMatrix, Vec<f32>)>,
    shape: KvShape,
    pages: [Vec<f32>; 2],
    q: Vec<f32>,
    rows: usize,
    /// Positions of the prompt that T5's layers look at besides.
    looked_at: usize,
}

impl Arithmetic {
    fn new(config: &Blip2Config, shape: KvShape, weights: WeightFormat, rows: usize) -> std::io::Result<Self> {
        let width = shape.heads * shape.size;
        let (layer, head, looked_at) = match &config.text_config {
            LanguageModelConfig::Opt(opt) => {
                let (hidden, ffn) = (opt.hidden_size, opt.ffn_dim);
                let layer = vec![
                    (hidden, hidden),
                    (hidden, hidden),
                    (hidden, hidden),
                    (hidden, hidden),
                    (hidden, ffn),
                    (ffn, hidden),
                ];
                (layer, (hidden, opt.vocab_size), 0)
            }
            LanguageModelConfig::T5(t5) => {
                let (model, ffn) = (t5.d_model, t5.d_ff);
                let mut layer = vec![(model, width); 3];
                layer.extend([(width, model), (model, width), (width, model), (model, ffn)]);
                layer.extend(t5.is_gated.then_some((model, ffn)));
                layer.push((ffn, model));
                (layer, (model, t5.vocab_size), PROMPT)
            }
            LanguageModelConfig::Llama(llama) => {
                let (hidden, inner) = (llama.hidden_size, llama.intermediate_size);
                let queries = llama.num_attention_heads * llama.head_dim;
                let keys = llama.num_key_value_heads * llama.head_dim;
                let layer = vec![
                    (hidden, queries),
                    (hidden, keys),
                    (hidden, keys),
                    (queries, hidden),
                    (hidden, inner),
                    (hidden, inner),
                    (inner, hidden),
                ];
                (layer, (hidden, llama.vocab_size), 0)
            }
        };
        let all = std::iter::repeat_n(layer, shape.layers).flatten().chain([head]);
        let product = |(inputs, outputs)| Ok((pack(inputs, outputs, weights)?, numbers(rows * inputs)));
        let pages = || numbers(rows * (PROMPT + ANSWER).next_multiple_of(BLOCK_POSITIONS) * width);
        Ok(Self {
            products: all.map(product).collect::<std::io::Result<_>>()?,
            shape,
            pages: [pages(), pages()],
            q: numbers(rows * width),
            rows,
            looked_at,
        })
    }

    fn products(&self) {
        for (matrix, x) in &self.products {
            std::hint::black_box(product_of(Rows::Tokens, x, matrix, None));
        }
    }

    fn attention(&self, position: usize) {
        let [keys, values] = &self.pages;
        let pages = KvPages {
            keys,
            values,
            heads: self.shape.heads,
            size: self.shape.size,
        };
        let rows = |position: usize| -> Vec<PagedRow> {
            let blocks = position / BLOCK_POSITIONS + 1;
            let row = |row: usize| PagedRow {
                blocks: Arc::from_iter((row * blocks..(row + 1) * blocks).map(|block| block as u32)),
                position,
            };
            (0..self.rows).map(row).collect()
        };
        let (own, prompt) = (rows(position), rows(self.looked_at.saturating_sub(1)));
        for _ in 0..self.shape.layers {
            std::hint::black_box(paged_attention::attend(&self.q, &pages, &own, 1.0, None));
            if self.looked_at > 0 {
                std::hint::black_box(paged_attention::attend(&self.q, &pages, &prompt, 1.0, None));
            }
        }
    }
}

fn pack(inputs: usize, outputs: usize, weights: WeightFormat) -> std::io::Result<PackedMatrix> {
    let numbers = numbers(inputs * outputs);
    let matrix = InMemory {
        numbers: &numbers,
        inputs,
    };
    PackedMatrix::pack(&matrix, weights)
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 37 % 101) as f32 * 0.02 - 1.0).collect()
}
