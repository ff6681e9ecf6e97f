//! How often the likeliest next token in another format is that in f32, teacher-forced:
//! `cargo bench --features ssr --bench agreement -- --model DIR --questions FILE.jsonl`.
//!
//! Each question (`{"picture", "question"}` a line, as for `glimpse ask --batch`) is
//! answered greedily in f32; then all formats read the whole text at once, and the
//! likeliest token behind each of the answer's tokens is compared. `--out` keeps the texts
//! for `agreement.py`, which asks the reference the same of its bf16.

use std::io::Write;
use std::path::PathBuf;

use candle_core::{D, Device, Tensor};
use clap::Parser;
use glimpse::blip2::Blip2;
use glimpse::cpu::WeightFormat;
use glimpse::generation::GenerationOptions;
use glimpse::models::Checkpoint;
use glimpse::nn::Placement;
use glimpse::processor::{Picture, PictureLimits, Processor, Prompt};
use serde::{Deserialize, Serialize};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Arguments {
    /// A checkpoint folder [default: the demo model]
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long)]
    questions: PathBuf,
    #[arg(long, default_value_t = 20)]
    max_new_tokens: usize,
    /// Where to keep the texts that were compared
    #[arg(long)]
    out: Option<PathBuf>,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Deserialize)]
struct Line {
    picture: String,
    question: Option<String>,
}

/// A text that all formats read.
#[derive(Serialize)]
struct Text {
    picture: String,
    ids: Vec<u32>,
    /// How many of the ids are the prompt's.
    prompt: usize,
    #[serde(skip)]
    pixels: Option<Tensor>,
    #[serde(skip)]
    likeliest: Vec<u32>,
}

fn main() -> AnyResult<()> {
    let arguments = Arguments::parse();
    let mut texts = Vec::new();
    for format in WeightFormat::ALL {
        let checkpoint = match &arguments.model {
            Some(folder) => Checkpoint::open(folder)?,
            None => Checkpoint::demo()?,
        };
        let model = checkpoint.load_blip2(&Placement::new(Device::Cpu, format)?)?;
        if format == WeightFormat::F32 {
            texts = write_texts(&arguments, &model, &checkpoint.processor()?)?;
            keep(&texts, &arguments)?;
            continue;
        }
        let (mut same, mut all) = (0, 0);
        for text in &texts {
            let likeliest = likeliest(&model, text)?;
            same += likeliest.iter().zip(&text.likeliest).filter(|(a, b)| a == b).count();
            all += likeliest.len();
        }
        let share = 100.0 * same as f64 / all as f64;
        println!("{:6} {share:6.2} % ({same} of {all} tokens)", format.name());
    }
    Ok(())
}

/// Answers every question in f32.
fn write_texts(arguments: &Arguments, model: &Blip2, processor: &Processor) -> AnyResult<Vec<Text>> {
    let options = GenerationOptions {
        max_new_tokens: arguments.max_new_tokens,
        ..GenerationOptions::default()
    };
    let mut texts = Vec::new();
    for line in std::fs::read_to_string(&arguments.questions)?.lines() {
        let line: Line = serde_json::from_str(line)?;
        let picture = Picture::decode(&std::fs::read(&line.picture)?, &PictureLimits::default())?;
        let pixels = processor.image.pixel_values(&picture)?;
        let prompt = line.question.map_or(Prompt::Caption, Prompt::Question);
        let mut ids = processor.text.prompt_ids(&prompt)?;
        let length = ids.len();
        let picture = model.encode_picture(&pixels)?;
        let mut answer = model.generate(&picture, &ids, &options)?;
        while let Some(token) = answer.next_token()? {
            ids.push(token.id);
        }
        let mut text = Text {
            picture: line.picture,
            ids,
            prompt: length,
            pixels: Some(pixels),
            likeliest: Vec::new(),
        };
        text.likeliest = likeliest(model, &text)?;
        texts.push(text);
    }
    Ok(texts)
}

fn keep(texts: &[Text], arguments: &Arguments) -> AnyResult<()> {
    let Some(file) = &arguments.out else { return Ok(()) };
    let mut file = std::fs::File::create(file)?;
    for text in texts {
        writeln!(file, "{}", serde_json::to_string(text)?)?;
    }
    Ok(())
}

/// The likeliest token at each of the answer's places.
fn likeliest(model: &Blip2, text: &Text) -> AnyResult<Vec<u32>> {
    let pixels = text.pixels.as_ref().ok_or("the picture was not read")?;
    let (prompt_ids, answer_ids) = text.ids.split_at(text.prompt);
    let before_last = &answer_ids[..answer_ids.len().saturating_sub(1)];
    let logits = model.forward(pixels, prompt_ids, before_last)?;
    Ok(logits.argmax(D::Minus1)?.to_vec1()?)
}
