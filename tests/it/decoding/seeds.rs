//! What is drawn from a seed, and how often it comes again.

use glimpse::generation::GenerationOptions;

use super::AnyResult;
use super::asking::{engine, ids, question, sampled, submit, wait};

#[test]
fn a_seed_gives_the_same_answer_while_others_ask() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(100)?;
    let alone = ids(&wait(submit(&engine, question(1, sampled(7)))?));
    let others: Vec<_> = (0..20)
        .map(|number| {
            let options = match number % 4 {
                0 => sampled(7),
                1 => sampled(number),
                2 => GenerationOptions {
                    num_beams: 3,
                    ..sampled(7)
                },
                _ => GenerationOptions {
                    num_beams: 2,
                    ..GenerationOptions::default()
                },
            };
            let picture = if number % 4 == 0 { 1 } else { number };
            submit(&engine, question(picture, options)).map(|events| (number, events))
        })
        .collect::<Result<_, _>>()?;
    let mut different = 0;
    for (number, events) in others {
        let answer = ids(&wait(events));
        if number % 4 == 0 {
            assert_eq!(answer, alone, "question {number}");
        } else {
            different += usize::from(answer != alone);
        }
    }
    assert_eq!(different, 15, "another seed, another answer");
    Ok(())
}

#[test]
fn several_drawn_answers_begin_with_the_one_that_would_come_alone() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(9)?;
    let several = GenerationOptions {
        num_return_sequences: 4,
        ..sampled(3)
    };
    let four = ids(&wait(submit(&engine, question(1, several))?));
    let one = ids(&wait(submit(&engine, question(1, sampled(3)))?));
    assert_eq!((four.len(), one.len()), (4, 1));
    assert_eq!(four[0], one[0]);
    assert!(four[1..].iter().all(|other| *other != four[0]), "{four:?}");
    Ok(())
}

#[test]
fn without_a_seed_the_seed_is_told_and_gives_the_answer_again() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(9)?;
    let unseeded = GenerationOptions {
        seed: None,
        ..sampled(0)
    };
    let first = wait(submit(&engine, question(1, unseeded.clone()))?);
    let other = wait(submit(&engine, question(1, unseeded))?);
    assert_ne!(first.seed, other.seed);
    let again = wait(submit(
        &engine,
        question(1, sampled(first.seed.ok_or("there is a seed")?)),
    )?);
    assert_eq!(ids(&again), ids(&first));
    Ok(())
}
