//! What visitors ask: a picture, and a few turns about it.
//!
//! A visitor goes through a plan from its beginning, and asks a turn again that was not answered
//! whole, which the model is not told of. So what a turn is answered depends on nothing but the plan.

use std::path::Path;

use serde_json::{Value, json};

use crate::AnyResult;

pub struct Plan {
    pub picture: usize,
    pub file: Vec<u8>,
    pub turns: Vec<Turn>,
}

#[derive(Clone)]
pub struct Turn {
    /// None asks for a caption.
    pub question: Option<&'static str>,
    pub settings: Value,
    /// Whether its tokens come one by one.
    pub streams: bool,
}

/// Questions that the demo model knows, and one that it does not.
const QUESTIONS: [Option<&str>; 7] = [
    None,
    Some("How many things are in the picture?"),
    Some("What is on the left?"),
    Some("What color is the circle?"),
    Some("Is there a cat in the picture?"),
    Some("what is at the bottom"),
    Some("Why would anybody draw this, and who is it for?"),
];

/// Ways to decode. Some go on behind the end of a sentence, so that there is something to stop.
fn decodings() -> Vec<(Value, bool)> {
    vec![
        (json!({"max_new_tokens": 24}), true),
        (json!({"max_new_tokens": 48, "min_new_tokens": 40}), true),
        (json!({"do_sample": true, "seed": 7, "max_new_tokens": 24}), true),
        (
            json!({"do_sample": true, "seed": 11, "temperature": 1.5, "top_p": 0.95, "max_new_tokens": 40,
                   "min_new_tokens": 24, "num_return_sequences": 2}),
            true,
        ),
        (json!({"num_beams": 4, "max_new_tokens": 16}), false),
        (
            json!({"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 24, "length_penalty": 0.5}),
            false,
        ),
        (
            json!({"max_new_tokens": 32, "min_new_tokens": 16, "repetition_penalty": 1.3}),
            true,
        ),
    ]
}

/// Three plans for each of the example pictures.
pub fn all() -> AnyResult<Vec<Plan>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("public/examples");
    let decodings = decodings();
    let mut plans = Vec::new();
    for picture in 0..8 {
        let file = std::fs::read(folder.join(format!("{}.png", picture + 1)))?;
        for variant in 0..3 {
            let turn = |number: usize| {
                // With these steps each question meets each way to decode in some plan.
                let (settings, streams) = decodings[(picture + 3 * variant + 2 * number) % decodings.len()].clone();
                Turn {
                    question: QUESTIONS[(2 * picture + variant + number) % QUESTIONS.len()],
                    settings,
                    streams,
                }
            };
            plans.push(Plan {
                picture,
                file: file.clone(),
                turns: (0..2 + variant).map(turn).collect(),
            });
        }
    }
    Ok(plans)
}
