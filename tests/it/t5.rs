//! BLIP-2 with T5, beyond what parity and decoding check of it on the golden checkpoints.

use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::{D, Tensor};
use glimpse::blip2::config::{LanguageModelConfig, T5Config};
use glimpse::blip2::{Blip2, EncodedPicture};
use glimpse::checkpoint::Source;
use glimpse::cpu::WeightFormat;
use glimpse::engine::{BatchLimits, ClientKey, Engine, Event, Instruction, LocalEngine, QueueLimits, Submission};
use glimpse::generation::{FinishReason, GenerationError, GenerationOptions};
use glimpse::models::inventory::inventory;
use glimpse::models::{self, Checkpoint, DtypeChoice, ModelRequest};
use glimpse::nn::{Placement, Precision};
use glimpse::processor::{Exchange, Picture, PictureLimits, Processor, Prompt};
use serde_json::Value;

type AnyResult<T> = Result<T, Box<dyn Error>>;

/// Laid out as the hub's: a head of its own, the exact GELU behind a gate.
const AS_ON_THE_HUB: &str = "24";

/// Loses something in every other format.
const STORED_IN_F32: &str = "28";

/// Never says an end token.
const ENDLESS: &str = "26";

fn folder(name: &str) -> PathBuf {
    Path::new("tests/golden/checkpoints").join(name)
}

struct Loaded {
    model: Blip2,
    processor: Processor,
    pixel_values: Tensor,
}

impl Loaded {
    fn open(name: &str, weights: WeightFormat) -> AnyResult<Self> {
        let checkpoint = Checkpoint::open(folder(name))?;
        let processor = checkpoint.processor()?;
        let bytes = std::fs::read(folder(name).join("picture-0.jpg"))?;
        let picture = Picture::decode(&bytes, &PictureLimits::default())?;
        Ok(Self {
            model: checkpoint.load_blip2(&Placement::cpu(weights))?,
            pixel_values: processor.image.pixel_values(&picture)?,
            processor,
        })
    }

    fn picture(&self) -> AnyResult<EncodedPicture> {
        Ok(self.model.encode_picture(&self.pixel_values)?)
    }

    fn prompt_ids(&self, text: &str) -> AnyResult<Vec<u32>> {
        Ok(self.processor.text.prompt_ids(&Prompt::Raw(text.into()))?)
    }

    fn answer(&self, picture: &EncodedPicture, prompt_ids: &[u32], max_new_tokens: usize) -> AnyResult<Vec<u32>> {
        let options = GenerationOptions {
            max_new_tokens,
            ..GenerationOptions::default()
        };
        let mut answer = self.model.generate(picture, prompt_ids, &options)?;
        let mut ids = Vec::new();
        while let Some(token) = answer.next_token()? {
            ids.push(token.id);
        }
        Ok(ids)
    }
}

#[test]
fn every_format_computes_what_f32_does_but_for_rounding() -> AnyResult<()> {
    let f32 = Loaded::open(STORED_IN_F32, WeightFormat::F32)?;
    let prompt_ids = f32.prompt_ids("what is it?")?;
    let exact = f32.model.forward(&f32.pixel_values, &prompt_ids, &[3, 4, 5])?;
    for (weights, tolerance) in [
        (WeightFormat::F16, 5e-3),
        (WeightFormat::Bf16, 0.1),
        (WeightFormat::Q8_0, 0.1),
        (WeightFormat::Q4_0, 0.7),
        (WeightFormat::Q4K, 0.7),
    ] {
        let rounded = Loaded::open(STORED_IN_F32, weights)?;
        let logits = rounded.model.forward(&f32.pixel_values, &prompt_ids, &[3, 4, 5])?;
        let off = distance(&logits, &exact)?;
        assert!(off > 0.0 && off < tolerance, "{}: off by {off}", weights.name());
    }
    Ok(())
}

/// The difference's length as a part of the whole.
fn distance(got: &Tensor, want: &Tensor) -> AnyResult<f32> {
    let length = |tensor: &Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f32>();
    Ok((length(&(got - want)?)? / length(want)?).sqrt())
}

#[test]
fn the_last_matrix_of_a_feed_forward_layer_stays_f32_in_f16_alone() -> AnyResult<()> {
    let checkpoint = Checkpoint::open(folder(AS_ON_THE_HUB))?;
    let tensors = inventory(checkpoint.config(), checkpoint.has_head());
    let of = |weights| Precision {
        weights,
        ..Precision::F32
    };
    let mut kept = 0;
    for tensor in tensors
        .iter()
        .filter(|tensor| tensor.name.starts_with("language_model."))
    {
        let is_wo = tensor.name.ends_with("DenseReluDense.wo.weight");
        kept += usize::from(is_wo);
        let expected = if is_wo { WeightFormat::F32 } else { WeightFormat::F16 };
        assert_eq!(
            tensor.precision(of(WeightFormat::F16)).weights,
            expected,
            "{}",
            tensor.name
        );
        for weights in [WeightFormat::Bf16, WeightFormat::Q8_0] {
            assert_eq!(tensor.precision(of(weights)).weights, weights, "{}", tensor.name);
        }
    }
    assert!(kept >= 2, "an encoder and a decoder have one in each block");
    Ok(())
}

#[test]
fn one_pass_over_an_answer_and_token_after_token_give_the_same_logits() -> AnyResult<()> {
    let loaded = Loaded::open(AS_ON_THE_HUB, WeightFormat::F32)?;
    let prompt_ids = loaded.prompt_ids("what is it?")?;
    let ids = loaded.answer(&loaded.picture()?, &prompt_ids, 12)?;
    let logits = loaded.model.forward(&loaded.pixel_values, &prompt_ids, &ids)?;
    assert_eq!(logits.dim(0)?, ids.len() + 1);
    let likeliest: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
    assert_eq!(likeliest[..ids.len()], ids);
    Ok(())
}

#[test]
fn what_is_remembered_of_a_picture_serves_every_question() -> AnyResult<()> {
    let loaded = Loaded::open(ENDLESS, WeightFormat::F32)?;
    let shared = loaded.picture()?;
    let mut answers = Vec::new();
    for text in ["what is it?", "a photo of", "", "how many cats are there?"] {
        let prompt_ids = loaded.prompt_ids(text)?;
        let fresh = loaded.answer(&loaded.picture()?, &prompt_ids, 8)?;
        assert_eq!(loaded.answer(&shared, &prompt_ids, 8)?, fresh, "{text}");
        answers.push(fresh);
    }
    answers.dedup();
    assert!(answers.len() > 1, "the questions make no difference: {answers:?}");
    Ok(())
}

#[test]
fn an_answer_is_as_long_as_it_may_be_whatever_the_prompt() -> AnyResult<()> {
    let loaded = Loaded::open(ENDLESS, WeightFormat::F32)?;
    let options = GenerationOptions {
        max_new_tokens: 2100,
        ..GenerationOptions::default()
    };
    let prompt_ids = loaded.prompt_ids("what is it?")?;
    let mut answer = loaded.model.generate(&loaded.picture()?, &prompt_ids, &options)?;
    let mut tokens = 0;
    while answer.next_token()?.is_some() {
        tokens += 1;
    }
    assert_eq!((tokens, answer.finish_reason()), (2100, Some(FinishReason::Length)));
    Ok(())
}

#[test]
fn a_prompt_that_would_take_all_memory_is_refused() -> AnyResult<()> {
    let loaded = Loaded::open(AS_ON_THE_HUB, WeightFormat::F32)?;
    let prompt_ids = loaded.prompt_ids(&"a cat ".repeat(1500))?;
    let refused = loaded
        .model
        .generate(&loaded.picture()?, &prompt_ids, &GenerationOptions::default());
    let Err(GenerationError::PromptTooLong { tokens, limit }) = refused else {
        return Err("it was not refused".into());
    };
    assert_eq!((tokens, limit), (prompt_ids.len(), 2048));
    Ok(())
}

#[test]
fn a_conversations_oldest_turns_fall_off_at_the_length_that_t5_was_trained_with() -> AnyResult<()> {
    let loaded = Loaded::open(AS_ON_THE_HUB, WeightFormat::F32)?;
    let limits = QueueLimits {
        waiting: 1,
        waiting_per_client: 1,
    };
    let source = Source::Folder(folder(AS_ON_THE_HUB));
    let f32 = DtypeChoice::Format(WeightFormat::F32);
    let engine = LocalEngine::start(
        models::open(ModelRequest::on_cpu(source, f32))?,
        limits,
        BatchLimits::default(),
    )?;
    let picture = Picture {
        width: 1,
        height: 1,
        rgb: vec![1, 2, 3],
    };
    let all = (0..60).map(|turn| Exchange {
        question: format!("what is {turn}?"),
        answer: "a red circle".into(),
    });
    for max_new_tokens in [10, 4000] {
        let mut events = engine.submit(Submission {
            client: ClientKey::from(1),
            network: None,
            deadline: None,
            picture: engine.prepare(&picture).into(),
            instruction: Instruction::Question {
                question: "and now?".into(),
                earlier: all.clone().collect(),
                context_turns: None,
            },
            options: GenerationOptions {
                max_new_tokens,
                ..GenerationOptions::default()
            },
            stop_strings: Vec::new(),
        })?;
        let prompt = loop {
            match events.blocking_recv().ok_or("the engine is gone")? {
                Event::Started { prompt, .. } => break prompt,
                Event::Queued { .. } => {}
                other => return Err(format!("{other:?}").into()),
            }
        };
        let length = loaded.prompt_ids(&prompt)?.len();
        assert!((450..=512).contains(&length), "{length} tokens");
        assert!(prompt.ends_with("Question: what is 59? Answer: a red circle Question: and now? Answer:"));
    }
    Ok(())
}

#[test]
fn special_tokens_in_a_question_are_letters_and_the_text_ends_with_its_end_token() -> AnyResult<()> {
    let loaded = Loaded::open(AS_ON_THE_HUB, WeightFormat::F32)?;
    let pictures = loaded.model.config().num_query_tokens;
    let tokenizer: Value = serde_json::from_slice(&std::fs::read(folder(AS_ON_THE_HUB).join("tokenizer.json"))?)?;
    let added = tokenizer["added_tokens"].as_array().ok_or("added tokens")?;
    // But for the one that stands for letters that are not known.
    let special: Vec<u32> = added
        .iter()
        .filter(|token| token["content"] != "<unk>")
        .filter_map(|token| token["id"].as_u64().map(|id| id as u32))
        .collect();
    assert!(special.len() >= 4, "{special:?}");
    for text in ["</s>", "is </s> a star?", "<pad> <extra_id_0>", "a <image>", "<unk>"] {
        let ids = loaded.prompt_ids(text)?;
        let (picture, words) = ids.split_at(pictures);
        assert!(
            picture
                .iter()
                .all(|id| Some(*id) == loaded.model.config().image_token_index)
        );
        let (end, words) = words.split_last().ok_or("there is no text")?;
        assert_eq!(*end, 1, "{text}");
        assert!(
            !words.is_empty() && words.iter().all(|id| !special.contains(id)),
            "{text}: {words:?}"
        );
    }
    Ok(())
}

#[test]
fn the_program_answers_with_the_ids_that_the_reference_gives() -> AnyResult<()> {
    let folder = folder(AS_ON_THE_HUB);
    let path = folder.to_str().ok_or("a plain name")?;
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json"))?)?;
    let answers = expected["answers"].as_array().ok_or("answers")?;
    let question = answers
        .iter()
        .find(|answer| answer["kind"] == "question")
        .ok_or("a question")?;
    let picture = folder.join("picture-0.jpg");
    let most = expected["max_new_tokens"].to_string();
    let output = crate::support::ask([
        "--model",
        path,
        "--json",
        "--max-new-tokens",
        &most,
        picture.to_str().ok_or("a plain name")?,
        question["prompt"].as_str().ok_or("a text")?,
    ]);
    assert!(output.status.success(), "{}", crate::support::stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout)?;
    for name in ["prompt_ids", "token_ids"] {
        assert_eq!(told[name], question[name], "{name}");
    }
    // It ends with an end token, which is a word in this fixture, but no part of our text.
    assert_eq!(
        (question["ended"].as_bool(), told["finish_reason"].as_str()),
        (Some(true), Some("stop"))
    );
    let (text, answer) = (question["text"].as_str().unwrap_or_default(), told["answer"].as_str());
    let answer = answer.ok_or("there is a text")?;
    assert!(
        !answer.is_empty() && text.trim_start().starts_with(answer),
        "{answer:?} of {text:?}"
    );
    Ok(())
}

#[test]
fn the_committed_set_covers_what_it_should() -> AnyResult<()> {
    let (mut configs, mut sharded, mut heads) = (Vec::new(), 0, Vec::new());
    for entry in std::fs::read_dir("tests/golden/checkpoints")? {
        let folder = entry?.path();
        let checkpoint = Checkpoint::open(&folder)?;
        let config = checkpoint.config().blip2().map(|config| &config.text_config);
        if let Some(LanguageModelConfig::T5(config)) = config {
            sharded += usize::from(folder.join("model.safetensors.index.json").is_file());
            heads.push((checkpoint.has_head(), config.scale_decoder_outputs));
            configs.push(config.clone());
        }
    }
    assert!(
        configs.len() >= 6 && sharded >= 1,
        "{} with {sharded} in shards",
        configs.len()
    );
    for head in [(true, false), (false, true), (false, false), (true, true)] {
        assert!(heads.contains(&head), "{head:?}");
    }
    let any = |what: &dyn Fn(&T5Config) -> bool| configs.iter().any(what);
    assert!(any(
        &|config| config.inner_size() != config.d_model && config.d_kv % 2 == 1
    ));
    assert!(any(&|config| config.num_decoder_layers != config.num_layers));
    assert!(any(&|config| config.is_gated) && any(&|config| !config.is_gated));
    assert!(any(&|config| config.decoder_start_token_id != 0));
    let mut buckets: Vec<usize> = configs
        .iter()
        .map(|config| config.relative_attention_num_buckets)
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    assert!(buckets.len() >= 4, "{buckets:?}");
    Ok(())
}
