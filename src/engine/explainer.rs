//! Why a model answered as it did: what each token looked at, and how sure the model was of it.
//!
//! It is computed when somebody wants to know, with the picture encoded and the answer read once more, and
//! costs about what its first token did. It runs in the thread that asks, beside whatever the model's own
//! thread does.

use std::sync::{Arc, Weak};

use candle_core::{D, Tensor};

use super::prompt::PromptWriter;
use super::scheduler::guarded;
use super::{EngineError, Instruction};
use crate::generation::{GenerationError, softmax};
use crate::models::{AnswerAttention, OpenModel};
use crate::processor::{Picture, TextProcessor};

/// Tokens before one that its text depends on, at most: white space, and pieces of a character.
const BEFORE: usize = 8;

/// Tokens that are told beside the one that was chosen.
const OTHERS: usize = 4;

/// Explains answers, as long as its model is in memory.
#[derive(Clone)]
pub struct Explainer {
    /// The engine's, with which it goes: nobody waits for an explainer to have its memory back.
    model: Weak<OpenModel>,
}

/// Why an answer is as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// In their order; the token that ends an answer is left out.
    pub tokens: Vec<ExplainedToken>,
    /// Patches of the picture, from top to bottom and from left to right.
    pub rows: usize,
    pub columns: usize,
}

/// One token of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedToken {
    pub text: String,
    /// How likely the model found it behind what was there, before any setting: of all tokens together 1.
    pub probability: f32,
    /// The likeliest other ones, with their probabilities; the text of one that ends an answer is empty.
    pub others: Vec<(String, f32)>,
    /// How much of its look it gave each patch, row by row ([`AnswerAttention::maps`]).
    pub map: Vec<f32>,
}

impl Explainer {
    /// Of a model, which is not kept by it.
    pub fn new(model: &Arc<OpenModel>) -> Self {
        Self {
            model: Arc::downgrade(model),
        }
    }

    /// What each token of an answer looked at, by its ids.
    ///
    /// # Errors
    /// The model cannot be asked that, there is no answer, the model is gone, or its device fails.
    pub fn attention(
        &self,
        picture: &Picture,
        instruction: &Instruction,
        answer_ids: &[u32],
    ) -> Result<AnswerAttention, EngineError> {
        let model = self.model.upgrade().ok_or(EngineError::Gone)?;
        attention(&model, picture, instruction, answer_ids)
    }

    /// Explains an answer to a prompt, which is given as it was sent; empty for a caption.
    ///
    /// # Errors
    /// As for [`Explainer::attention`].
    pub fn explain(&self, picture: &Picture, prompt: &str, answer_ids: &[u32]) -> Result<Explanation, EngineError> {
        let model = self.model.upgrade().ok_or(EngineError::Gone)?;
        let instruction = match prompt {
            "" => Instruction::Caption { prefix: None },
            prompt => Instruction::Raw(prompt.to_owned()),
        };
        let looked = attention(&model, picture, &instruction, answer_ids)?;
        guarded(tracing::Span::current, || {
            Ok(explained(&model.processor.text, &looked, answer_ids).map_err(GenerationError::from)?)
        })
    }
}

fn attention(
    model: &OpenModel,
    picture: &Picture,
    instruction: &Instruction,
    answer_ids: &[u32],
) -> Result<AnswerAttention, EngineError> {
    let processor = &model.processor;
    let writer = PromptWriter {
        processor: &processor.text,
        is_demo: model.is_demo,
    };
    let prompt = writer.write(instruction, 0)?;
    guarded(tracing::Span::current, || {
        let pixel_values = processor.image.pixel_values(picture).map_err(GenerationError::from)?;
        let ids = [&prompt.instruction, &prompt.ids, answer_ids];
        let attention = model.network.attention(&pixel_values, ids);
        Ok(attention.map_err(GenerationError::from)?)
    })
}

fn explained(
    processor: &TextProcessor,
    looked: &AnswerAttention,
    answer_ids: &[u32],
) -> candle_core::Result<Explanation> {
    let (_, rows, columns) = looked.maps.dims3()?;
    let maps = looked.maps.flatten(1, D::Minus1)?;
    let mut stream = processor.stream();
    let mut tokens = Vec::with_capacity(answer_ids.len());
    for (index, id) in answer_ids.iter().enumerate() {
        let probabilities = softmax(&row(&looked.logits, index)?);
        let text = stream.push(*id);
        let before = &answer_ids[index.saturating_sub(BEFORE)..index];
        tokens.push(ExplainedToken {
            text,
            probability: probabilities.get(*id as usize).copied().unwrap_or_default(),
            others: likeliest_others(&probabilities, *id)
                .into_iter()
                .map(|other| (text_of(processor, before, other), probabilities[other as usize]))
                .collect(),
            map: row(&maps, index)?,
        });
    }
    if let Some(last) = tokens.last_mut() {
        last.text.push_str(&stream.finish());
    }
    // Tokens without a text of their own, the end among them, are nothing that could be shown.
    tokens.retain(|token| !token.text.is_empty());
    Ok(Explanation { tokens, rows, columns })
}

fn row(tensor: &Tensor, index: usize) -> candle_core::Result<Vec<f32>> {
    tensor.get(index)?.to_vec1()
}

/// The likeliest tokens but for one, the likeliest first; of equal ones the first.
fn likeliest_others(probabilities: &[f32], chosen: u32) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..probabilities.len() as u32).filter(|id| *id != chosen).collect();
    let by_probability = |a: &u32, b: &u32| {
        let of = |id: &u32| probabilities[*id as usize];
        of(b).total_cmp(&of(a)).then(a.cmp(b))
    };
    if ids.len() > OTHERS {
        ids.select_nth_unstable_by(OTHERS, by_probability);
        ids.truncate(OTHERS);
    }
    ids.sort_unstable_by(by_probability);
    ids
}

/// The text that a token would have had behind others; that of one without a text is empty.
fn text_of(processor: &TextProcessor, before: &[u32], id: u32) -> String {
    let mut stream = processor.stream();
    before.iter().for_each(|id| drop(stream.push(*id)));
    stream.push(id) + &stream.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Source;
    use crate::cpu::WeightFormat;
    use crate::engine::{BatchLimits, ClientKey, Engine, Event, LocalEngine, QueueLimits, Submission, Summary};
    use crate::generation::GenerationOptions;
    use crate::models::{DtypeChoice, ModelRequest, open};

    #[test]
    fn the_likeliest_others_come_in_their_order() {
        let probabilities = [0.1, 0.3, 0.05, 0.3, 0.05, 0.15, 0.05];
        assert_eq!(likeliest_others(&probabilities, 1), [3, 5, 0, 2]);
        assert_eq!(likeliest_others(&[0.5, 0.5], 0), [1]);
        assert!(likeliest_others(&[1.0], 0).is_empty());
    }

    fn engine(source: Source) -> LocalEngine {
        let model = open(ModelRequest::on_cpu(source, DtypeChoice::Format(WeightFormat::F32)));
        let limits = QueueLimits {
            waiting: 9,
            waiting_per_client: 9,
        };
        LocalEngine::start(model.expect("it is part of the source"), limits, BatchLimits::default()).expect("it starts")
    }

    /// A blue picture with a red square.
    fn picture() -> Picture {
        let pixel = |place: usize| match (place % 80, place / 80) {
            (50..70, 10..30) => [220, 20, 20],
            _ => [30, 60, 200],
        };
        Picture {
            width: 80,
            height: 60,
            rgb: (0..80 * 60).flat_map(pixel).collect(),
        }
    }

    fn ask(engine: &LocalEngine, picture: &Picture, instruction: Instruction, do_sample: bool) -> (String, Summary) {
        let submission = Submission {
            client: ClientKey::from(1),
            network: None,
            deadline: None,
            picture: Arc::new(picture.clone()),
            instruction,
            options: GenerationOptions {
                do_sample,
                temperature: if do_sample { 3.0 } else { 1.0 },
                seed: do_sample.then_some(5),
                max_new_tokens: 12,
                ..GenerationOptions::default()
            },
            stop_strings: Vec::new(),
        };
        let mut events = engine.submit(submission).expect("there is room");
        let mut sent = String::new();
        loop {
            match events.blocking_recv().expect("it goes on") {
                Event::Started { prompt, .. } => sent = prompt,
                Event::Done(summary) => return (sent, summary),
                Event::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }

    fn an_answer_is_explained(source: Source, instruction: Instruction, do_sample: bool) {
        let engine = engine(source);
        let picture = engine.prepare(&picture());
        let (prompt, summary) = ask(&engine, &picture, instruction, do_sample);
        let answer = &summary.answers[0];
        let ids: Vec<u32> = answer.sequence.tokens.iter().map(|token| token.id).collect();
        let explainer = engine.explainer().expect("it is in memory");
        let explained = explainer.explain(&picture, &prompt, &ids).expect("it can be");
        let text: String = explained.tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(text, answer.text);
        assert!(!text.is_empty());
        let chosen = answer.sequence.tokens.iter().filter(|token| !token.is_end);
        for (token, explained) in chosen.zip(&explained.tokens) {
            assert!(
                (token.logprob.exp() - explained.probability).abs() < 1e-4,
                "{token:?} {explained:?}"
            );
        }
        for ExplainedToken {
            probability,
            others,
            map,
            ..
        } in &explained.tokens
        {
            assert_eq!(map.len(), explained.rows * explained.columns);
            let looked: f32 = map.iter().sum();
            assert!(looked > 0.0 && looked < 1.0 + 1e-4 && map.iter().all(|share| *share >= 0.0));
            let together: f32 = others.iter().map(|(_, probability)| probability).sum();
            assert!(others.len() == OTHERS && probability + together < 1.0 + 1e-4);
            assert!(others.is_sorted_by(|a, b| a.1 >= b.1));
        }
        assert!(explainer.explain(&picture, &prompt, &[]).is_err(), "there is no answer");
        drop(engine);
    }

    #[test]
    fn an_answer_is_explained_by_the_probabilities_that_it_was_chosen_by() {
        an_answer_is_explained(Source::Demo, Instruction::question("what is in the picture?"), false);
        an_answer_is_explained(Source::Demo, Instruction::Caption { prefix: None }, true);
    }

    #[test]
    fn so_is_a_caption_of_a_blip() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/captioner");
        let prefix = Some("a drawing of".to_owned());
        an_answer_is_explained(Source::Folder(folder), Instruction::Caption { prefix }, true);
    }

    #[test]
    fn an_explainer_keeps_no_model_in_memory() {
        let engine = engine(Source::Demo);
        let (explainer, picture) = (engine.explainer().expect("it is there"), engine.prepare(&picture()));
        let loaded = super::super::LoadedModel::from(engine);
        loaded.unload();
        let refused = explainer.explain(&picture, "", &[5]);
        assert!(matches!(refused, Err(EngineError::Gone)), "{refused:?}");
    }
}
