//! InstructBLIP, beyond what parity and decoding check of it on the golden checkpoints: from the terminal,
//! by the engine, and in every format.

use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use glimpse::blip2::config::{Blip2Config, ModelClass};
use glimpse::checkpoint::Source;
use glimpse::cpu::WeightFormat;
use glimpse::engine::{BatchLimits, ClientKey, Engine, Event, Events, Instruction, LocalEngine};
use glimpse::engine::{QueueLimits, Submission};
use glimpse::generation::{GenerationOptions, Preset};
use glimpse::models::{self, Checkpoint, DtypeChoice, ModelRequest};
use glimpse::nn::Placement;
use glimpse::processor::{Exchange, Picture, PictureLimits, Prompt};
use serde_json::Value;

use crate::support::stderr;

type AnyResult<T> = Result<T, Box<dyn Error>>;

/// With LLaMA, stored in f32.
const LLAMA: &str = "01";

/// With T5.
const T5: &str = "09";

fn folder(name: &str) -> PathBuf {
    Path::new("tests/golden/instruct").join(name)
}

fn expected(name: &str) -> AnyResult<Value> {
    Ok(serde_json::from_slice(&std::fs::read(
        folder(name).join("expected.json"),
    )?)?)
}

fn folders() -> AnyResult<Vec<String>> {
    let entries = std::fs::read_dir("tests/golden/instruct")?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<AnyResult<_>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn asked_in_a_terminal_it_gives_the_references_tokens_to_questions_and_to_none() -> AnyResult<()> {
    for name in folders()? {
        let model = folder(&name).display().to_string();
        for answer in expected(&name)?["answers"].as_array().into_iter().flatten() {
            if answer["kind"] == "raw" || answer["min_new_tokens"] != 0 {
                continue;
            }
            let picture = ["picture-0.jpg", "picture-1.png"][answer["picture"].as_u64().unwrap_or(0) as usize];
            let picture = folder(&name).join(picture).display().to_string();
            let mut arguments = vec!["ask", "--json", "--preset", "transformers", "--max-new-tokens", "16"];
            arguments.extend(["--dtype", "f32", "--model", &model, &picture]);
            arguments.extend(answer["prompt"].as_str());
            let output = crate::support::glimpse().args(&arguments).output()?;
            assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
            let said: Value = serde_json::from_slice(&output.stdout)?;
            for part in ["token_ids", "prompt_ids"] {
                assert_eq!(said[part], answer[part], "{part} of {arguments:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn both_language_models_are_there_in_several_shapes_and_all_tensors_are_used() -> AnyResult<()> {
    let (mut llama, mut t5, mut shared_heads) = (0, 0, 0);
    for name in folders()? {
        let checkpoint = Checkpoint::open(folder(&name))?;
        assert_eq!(
            checkpoint.config().blip2().ok_or("it is BLIP-2")?.class(),
            ModelClass::InstructBlip
        );
        assert_eq!(checkpoint.unused_tensors(), [""; 0], "{name}");
        let config: Value = serde_json::from_slice(&std::fs::read(folder(&name).join("config.json"))?)?;
        let text = &config["text_config"];
        llama += usize::from(text["model_type"] == "llama");
        t5 += usize::from(text["model_type"] == "t5");
        let heads = (
            text["num_attention_heads"].as_u64(),
            text["num_key_value_heads"].as_u64(),
        );
        shared_heads += usize::from(heads.1.is_some() && heads.0 != heads.1);
    }
    assert!(
        llama >= 8 && t5 >= 4 && shared_heads >= 3,
        "{llama}, {t5}, {shared_heads}"
    );
    Ok(())
}

#[test]
fn a_config_that_names_no_class_is_known_by_its_tensors() -> AnyResult<()> {
    let (copy, original) = (tempfile::tempdir()?, folder(LLAMA));
    for entry in std::fs::read_dir(&original)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
    }
    let words = copy.path().join("qformer_tokenizer");
    std::fs::create_dir(&words)?;
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(original.join("qformer_tokenizer").join(file), words.join(file))?;
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(original.join("config.json"))?)?;
    for key in ["architectures", "model_type"] {
        config.as_object_mut().ok_or("it is an object")?.remove(key);
    }
    std::fs::write(copy.path().join("config.json"), config.to_string())?;
    let checkpoint = Checkpoint::open(copy.path())?;
    assert_eq!(
        checkpoint.config().blip2().ok_or("it is BLIP-2")?.class(),
        ModelClass::InstructBlip
    );
    assert_eq!(checkpoint.unused_tensors(), [""; 0]);
    Ok(())
}

#[test]
fn with_vicuna_an_answer_ends_with_the_models_own_end_unless_all_shall_be_as_in_transformers() -> AnyResult<()> {
    let of = |kind: &str, model: &str| {
        let config = format!(
            r#"{{"model_type": "{kind}", "text_config": {{"model_type": "{model}", "eos_token_id": 1, "bos_token_id": 0,
                "pad_token_id": -1, "decoder_start_token_id": 0}}}}"#
        );
        let config = Blip2Config::from_json(&config)?;
        Ok::<_, Box<dyn Error>>([Preset::Glimpse, Preset::Transformers].map(|preset| config.eos_token_ids(preset)))
    };
    assert_eq!(of("instructblip", "llama")?, [vec![1, 2], vec![1]]);
    assert_eq!(of("instructblip", "t5")?, [vec![1], vec![1]]);
    assert_eq!(of("blip-2", "llama")?, [vec![1], vec![1]]);
    Ok(())
}

/// The engine with a golden checkpoint.
fn engine(name: &str) -> AnyResult<LocalEngine> {
    let f32 = DtypeChoice::Format(WeightFormat::F32);
    let model = models::open(ModelRequest::on_cpu(Source::Folder(folder(name)), f32))?;
    let limits = QueueLimits {
        waiting: 50,
        waiting_per_client: 50,
    };
    Ok(LocalEngine::start(model, limits, BatchLimits::default())?)
}

fn options() -> GenerationOptions {
    GenerationOptions {
        max_new_tokens: 12,
        preset: Preset::Transformers,
        ..GenerationOptions::default()
    }
}

fn picture() -> AnyResult<Picture> {
    let bytes = std::fs::read(folder(LLAMA).join("picture-0.jpg"))?;
    Ok(Picture::decode(&bytes, &PictureLimits::default())?)
}

fn submit(engine: &LocalEngine, instruction: Instruction, options: GenerationOptions) -> AnyResult<Events> {
    Ok(engine.submit(Submission {
        client: ClientKey::from(1),
        network: None,
        deadline: None,
        picture: engine.prepare(&picture()?).into(),
        instruction,
        options,
        stop_strings: Vec::new(),
    })?)
}

fn ids(mut events: Events) -> AnyResult<Vec<u32>> {
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Done(summary) => {
                let tokens = &summary.answers[0].sequence.tokens;
                return Ok(tokens.iter().map(|token| token.id).collect());
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Token { .. } | Event::Score(_) => {}
        }
    }
    Err("no answer".into())
}

/// What a question gets by itself.
fn alone(name: &str, prompt: &Prompt, options: &GenerationOptions) -> AnyResult<Vec<u32>> {
    let checkpoint = Checkpoint::open(folder(name))?;
    let (model, processor) = (
        checkpoint.load_blip2(&Placement::cpu(WeightFormat::F32))?,
        checkpoint.processor()?,
    );
    let encoded = model.encode_picture(&processor.image.pixel_values(&picture()?)?)?;
    let seen = model.instructed(&encoded, &processor.text.instruction_ids(prompt)?)?;
    let mut answer = model.generate(&seen, &processor.text.prompt_ids(prompt)?, options)?;
    let mut ids = Vec::new();
    while let Some(token) = answer.next_token()? {
        ids.push(token.id);
    }
    Ok(ids)
}

#[test]
fn what_was_read_of_a_picture_for_one_instruction_is_never_taken_for_another() -> AnyResult<()> {
    for name in [LLAMA, T5] {
        let engine = engine(name)?;
        // They begin alike, so that all of the picture's and some of the text's tokens are the same.
        let questions = [
            "what colour is the ball?",
            "what colour is the ball",
            "what colour is it, the ball?",
        ];
        let mut waiting = Vec::new();
        for question in questions.iter().chain(&questions) {
            for num_beams in [1, 3] {
                let options = GenerationOptions { num_beams, ..options() };
                let events = submit(&engine, Instruction::question(*question), options.clone())?;
                waiting.push((Prompt::Question((*question).into()), options, events));
            }
        }
        let mut different = std::collections::BTreeSet::new();
        for (prompt, options, events) in waiting {
            let got = ids(events)?;
            assert_eq!(got, alone(name, &prompt, &options)?, "{prompt:?} of {name}");
            different.insert(got);
        }
        assert!(different.len() >= 3, "the questions have different answers");
        // Again, when all is known.
        let again = submit(&engine, Instruction::question(questions[0]), options())?;
        assert_eq!(
            ids(again)?,
            alone(name, &Prompt::Question(questions[0].into()), &options())?
        );
    }
    Ok(())
}

#[test]
fn in_a_conversation_the_q_former_reads_what_is_asked_now_and_the_language_model_all() -> AnyResult<()> {
    let processor = Checkpoint::open(folder(LLAMA))?.processor()?;
    let (question, earlier) = (
        "and now?".to_owned(),
        Exchange {
            question: "what is it?".into(),
            answer: "a dog".into(),
        },
    );
    let conversation = Prompt::Conversation {
        earlier: vec![earlier],
        question: question.clone(),
    };
    let text = processor.text.prompt_text(&conversation)?;
    assert_eq!(
        text.as_deref(),
        Some("Question: what is it? Answer: a dog Question: and now? Answer:")
    );
    let alone = Prompt::Question(question);
    assert_eq!(processor.text.prompt_text(&alone)?.as_deref(), Some("and now?"));
    assert_eq!(
        processor.text.instruction_ids(&conversation)?,
        processor.text.instruction_ids(&alone)?
    );
    let caption = processor.text.prompt_text(&Prompt::Caption)?;
    assert_eq!(caption.as_deref(), Some("Write a short description for the image."));
    // Longer than the Q-Former reads.
    let long = Prompt::Question("what is it? ".repeat(200));
    assert_eq!(processor.text.instruction_ids(&long)?.len(), 40);
    let engine = engine(LLAMA)?;
    let short_enough = Prompt::Question("dog ".repeat(25));
    let asked = submit(&engine, Instruction::question("dog ".repeat(25)), options())?;
    assert_eq!(ids(asked)?, self::alone(LLAMA, &short_enough, &options())?);
    Ok(())
}

#[test]
fn every_format_computes_what_f32_does_but_for_rounding() -> AnyResult<()> {
    for name in [LLAMA, T5] {
        let checkpoint = Checkpoint::open(folder(name))?;
        let processor = checkpoint.processor()?;
        let prompt = Prompt::Question("what is it?".into());
        let (ids, instruction) = (
            processor.text.prompt_ids(&prompt)?,
            processor.text.instruction_ids(&prompt)?,
        );
        let pixel_values = processor.image.pixel_values(&picture()?)?;
        let logits = |weights| -> AnyResult<Tensor> {
            let model = checkpoint.load_blip2(&Placement::cpu(weights))?;
            Ok(model.forward_instructed(&pixel_values, &instruction, &ids, &[3, 4, 5])?)
        };
        let exact = logits(WeightFormat::F32)?;
        for (weights, tolerance) in [
            (WeightFormat::F16, 1e-2),
            (WeightFormat::Bf16, 0.15),
            (WeightFormat::Q8_0, 0.15),
            (WeightFormat::Q4_0, 1.0),
            (WeightFormat::Q4K, 1.0),
        ] {
            let off = distance(&logits(weights)?, &exact)?;
            assert!(off < tolerance, "{name} in {}: off by {off}", weights.name());
        }
    }
    Ok(())
}

/// The difference's length as a part of the whole.
fn distance(got: &Tensor, want: &Tensor) -> AnyResult<f32> {
    let length = |tensor: &Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f32>();
    Ok((length(&(got - want)?)? / length(want)?).sqrt())
}
