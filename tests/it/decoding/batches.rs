//! Answers in a batch, and answers from what was read before, beside the same answers alone.

use glimpse::cpu::WeightFormat;
use glimpse::engine::{Engine, Instruction, LocalEngine, Summary};
use glimpse::generation::GenerationOptions;
use glimpse::processor::Exchange;

use super::AnyResult;
use super::asking::{engine_in, question, sampled, submit, wait};

/// What is the same of two answers to the same question: tokens, their probabilities to the bit, texts.
fn said(summary: &Summary) -> Vec<(String, Vec<(u32, u32)>)> {
    let tokens = |answer: &glimpse::engine::WrittenAnswer| {
        let token = |token: &glimpse::generation::GeneratedToken| (token.id, token.logprob.to_bits());
        (answer.text.clone(), answer.sequence.tokens.iter().map(token).collect())
    };
    summary.answers.iter().map(tokens).collect()
}

/// Greedy answers, beams, drawn ones and several at once, of different lengths and pictures.
fn all_kinds() -> Vec<(u64, GenerationOptions)> {
    let of = |max_new_tokens| GenerationOptions {
        max_new_tokens,
        ..GenerationOptions::default()
    };
    let beams = GenerationOptions {
        num_beams: 4,
        num_return_sequences: 2,
        ..of(9)
    };
    let drawn = |seed| GenerationOptions {
        max_new_tokens: 12,
        num_return_sequences: 2,
        ..sampled(seed)
    };
    vec![
        (1, of(20)),
        (2, of(3)),
        (1, beams.clone()),
        (3, drawn(5)),
        (2, drawn(6)),
        (4, beams),
        (1, of(1)),
        (5, of(30)),
    ]
}

fn ask(engine: &LocalEngine, (picture, options): &(u64, GenerationOptions)) -> AnyResult<Summary> {
    Ok(wait(submit(engine, question(*picture, options.clone()))?))
}

#[test]
fn answers_in_a_batch_are_those_of_each_alone_to_the_bit() -> AnyResult<()> {
    for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Q8_0] {
        let (together, _checkpoint) = engine_in(format, 20)?;
        let asked = all_kinds()
            .into_iter()
            .map(|(picture, options)| submit(&together, question(picture, options)));
        let running: Vec<_> = asked.collect::<AnyResult<_>>()?;
        let together: Vec<_> = running.into_iter().map(|events| said(&wait(events))).collect();
        for (asked, together) in all_kinds().iter().zip(together) {
            let (alone, _checkpoint) = engine_in(format, 1)?;
            assert_eq!(said(&ask(&alone, asked)?), together, "{asked:?} in {}", format.name());
        }
    }
    Ok(())
}

#[test]
fn what_was_read_before_changes_no_answer() -> AnyResult<()> {
    let (warm, _checkpoint) = engine_in(WeightFormat::F32, 1)?;
    let options = GenerationOptions {
        max_new_tokens: 20,
        ..GenerationOptions::default()
    };
    let mut earlier = Vec::new();
    for turn in 0..4 {
        let mut next = question(1, options.clone());
        next.instruction = Instruction::Question {
            question: format!("what is number {turn}?"),
            earlier: earlier.clone(),
            context_turns: None,
        };
        let (cold, _checkpoint) = engine_in(WeightFormat::F32, 1)?;
        let [answer, again, alone] = [
            wait(submit(&warm, next.clone())?),
            wait(submit(&warm, next.clone())?),
            wait(submit(&cold, next)?),
        ];
        assert_eq!(said(&answer), said(&alone), "turn {turn}");
        assert_eq!(said(&again), said(&alone), "turn {turn}, asked again");
        earlier.push(Exchange {
            question: format!("what is number {turn}?"),
            answer: answer.answers[0].text.clone(),
        });
    }
    assert_eq!(warm.queue().running, 0);
    Ok(())
}
