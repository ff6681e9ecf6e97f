//! Prompts to ids, and ids to text, with the demo model's tokenizer.

use super::*;

/// The demo model's: one token a byte for anything but plain words.
fn processor() -> TextProcessor {
    let checkpoint = crate::models::Checkpoint::demo().expect("it is part of the program");
    checkpoint.processor().expect("it is part of the program").text
}

fn ids(processor: &TextProcessor, text: &str) -> Vec<u32> {
    processor
        .tokenizer
        .encode(text, false)
        .expect("it is text")
        .get_ids()
        .to_vec()
}

#[test]
fn a_character_of_several_tokens_comes_whole() {
    let processor = processor();
    let ids = ids(&processor, " naïve 🦀 crab\n");
    let mut stream = processor.stream();
    let mut pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
    pieces.push(stream.finish());
    assert!(
        pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)),
        "{pieces:?}"
    );
    assert!(
        pieces.iter().filter(|piece| piece.is_empty()).count() >= 3,
        "the crab has four bytes: {pieces:?}"
    );
    assert_eq!(pieces.concat(), "naïve 🦀 crab");
}

fn exchange(question: &str, answer: &str) -> Exchange {
    Exchange {
        question: question.into(),
        answer: answer.into(),
    }
}

#[test]
fn turns_stand_one_space_apart_and_no_punctuation_is_added() {
    let prompt = Prompt::Conversation {
        earlier: vec![exchange(" What is it? ", " a cat. "), exchange("Which colour", "black")],
        question: "Why?\n".into(),
    };
    let text = "Question: What is it? Answer: a cat. Question: Which colour Answer: black Question: Why? Answer:";
    assert_eq!(prompt.text().as_deref(), Some(text));
    let first = Prompt::Conversation {
        earlier: Vec::new(),
        question: "Why?".into(),
    };
    assert_eq!(first.text(), Prompt::Question("Why?".into()).text());
}

#[test]
fn labels_that_were_typed_are_not_doubled() {
    let sent = |question: &str| Prompt::Question(question.into()).text().unwrap_or_default();
    for typed in [
        "How many?",
        "Question: How many? Answer:",
        " Question:How many?Answer: ",
        "Question: How many?",
    ] {
        assert_eq!(sent(typed), "Question: How many? Answer:", "{typed}");
    }
    assert_eq!(sent("What is after Answer:"), "Question: What is after Answer: Answer:");
    assert_eq!(sent("Question:"), "Question: Question: Answer:");
}

#[test]
fn special_tokens_in_a_question_are_letters() {
    let processor = processor();
    let special: Vec<u32> = processor.tokenizer.get_added_tokens_decoder().into_keys().collect();
    assert!(!special.is_empty());
    for text in [
        "<image>",
        "a <image>?",
        "</s>",
        "<pad>",
        "<unk>",
        "<s>",
        "<image><image></s>",
    ] {
        for prompt in [Prompt::Raw(text.into()), Prompt::Question(text.into())] {
            let ids = processor.prompt_ids(&prompt).expect(text);
            // Behind the picture's tokens and the begin-of-text token.
            let words = &ids[processor.config.num_query_tokens + 1..];
            assert!(words.iter().all(|id| !special.contains(id)), "{text}: {words:?}");
            assert_eq!(processor.decode(words), prompt.text().unwrap_or_default());
        }
    }
}

#[test]
fn a_picture_token_that_its_file_does_not_call_special_is_letters_too() {
    let checkpoint = crate::models::Checkpoint::demo().expect("it is part of the program");
    let bytes = checkpoint
        .files()
        .read("tokenizer.json")
        .expect("it is part of the program");
    let mut json: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
    for token in json["added_tokens"].as_array_mut().expect("it is a list") {
        token["special"] = false.into();
    }
    let config = TextConfig {
        image_token: None,
        num_query_tokens: 3,
        ..processor().config
    };
    let processor = TextProcessor::new(json.to_string().as_bytes(), config).expect("it is a tokenizer");
    let ids = processor
        .prompt_ids(&Prompt::Raw("an <image>".into()))
        .expect("it is text");
    assert_eq!(ids.iter().filter(|id| **id == processor.image_token).count(), 3);
}

#[test]
fn without_a_token_for_it_the_picture_stands_in_front_of_the_text_all_the_same() {
    let checkpoint = crate::models::Checkpoint::demo().expect("it is part of the program");
    let bytes = checkpoint
        .files()
        .read("tokenizer.json")
        .expect("it is part of the program");
    let old = String::from_utf8(bytes)
        .expect("it is JSON")
        .replace("<image>", "<spare>");
    let whole = processor();
    let config = TextConfig {
        image_token: None,
        num_query_tokens: 3,
        ..whole.config
    };
    let processor = TextProcessor::new(old.as_bytes(), config).expect("it is a tokenizer");
    let prompt = Prompt::Question("what is it?".into());
    let (ids, new) = (processor.prompt_ids(&prompt), whole.prompt_ids(&prompt));
    let (ids, new) = (ids.expect("it is text"), new.expect("it is text"));
    assert_eq!(ids[..3], [whole.config.vocab_size as u32; 3]);
    assert_eq!(ids[3..], new[whole.config.num_query_tokens..]);
}

#[test]
fn bytes_that_never_become_a_character_are_not_held_for_ever() {
    let processor = processor();
    let crab = ids(&processor, "🦀");
    let mut stream = processor.stream();
    let first: String = [crab[0], crab[0], crab[0]].iter().map(|id| stream.push(*id)).collect();
    assert_eq!(first, "\u{fffd}\u{fffd}");
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn pieces_are_the_trimmed_text_however_it_is_cut() {
    let processor = processor();
    for text in [
        " a  red\tstar \n",
        "\n\n",
        "naïve 🦀🦀 crab, <image> and é",
        "日本語 の 猫",
        "a\u{fffd}b",
    ] {
        let ids = ids(&processor, text);
        let mut stream = processor.stream();
        let mut sent = String::new();
        for id in &ids {
            sent.push_str(&stream.push(*id));
            assert_eq!(sent.trim(), sent, "{text:?}");
        }
        sent.push_str(&stream.finish());
        assert_eq!(sent, processor.decode(&ids).trim(), "{text:?}");
    }
}

#[test]
fn broken_bytes_between_characters_stand_where_they_were() {
    let processor = processor();
    let (crab, words) = (ids(&processor, "🦀"), ids(&processor, " a crab"));
    let ids = [&words[..], &crab[..2], &crab[..], &crab[..1], &words[..], &crab[..3]].concat();
    let mut stream = processor.stream();
    let mut sent: String = ids.iter().map(|id| stream.push(*id)).collect();
    sent.push_str(&stream.finish());
    assert_eq!(sent, processor.decode(&ids).trim());
    assert!(
        sent.contains("🦀") && sent.ends_with(char::REPLACEMENT_CHARACTER),
        "{sent}"
    );
}
