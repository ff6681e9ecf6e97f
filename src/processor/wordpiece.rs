//! BERT's tokenizer, built as the reference builds it: of a `tokenizer.json` its `BertTokenizer` takes
//! the vocabulary alone, and everything else from `tokenizer_config.json`.

use serde_json::{Map, Value, json};

use super::TextError;

/// What marks a piece that goes on with a word.
const PREFIX: &str = "##";

/// The vocabulary of a `tokenizer.json`, an id a token.
///
/// # Errors
/// It has none.
pub fn vocabulary_of(tokenizer: &Value) -> Result<Map<String, Value>, TextError> {
    let vocabulary = tokenizer["model"]["vocab"].as_object();
    vocabulary
        .cloned()
        .ok_or_else(|| TextError::Tokenizer("it has no vocabulary of words".into()))
}

/// The vocabulary of a `vocab.txt`: a token a line, whose number is its id. Spaces behind a token are none
/// of it, as the reference's tokenizer reads the file.
pub fn vocabulary_in(lines: &str) -> Map<String, Value> {
    let tokens = lines.lines().map(str::trim_end).enumerate();
    tokens.map(|(id, token)| (token.to_owned(), id.into())).collect()
}

/// A `tokenizer.json` with this vocabulary and the settings of a `tokenizer_config.json`.
///
/// # Errors
/// The vocabulary lacks a token that texts need.
pub fn tokenizer_json(vocabulary: Map<String, Value>, settings: &Value) -> Result<Vec<u8>, TextError> {
    let named = |key: &str, default: &str| {
        let value = settings[key].as_str().or_else(|| settings[key]["content"].as_str());
        value.unwrap_or(default).to_owned()
    };
    let id = |token: &str| {
        let id = vocabulary.get(token).and_then(Value::as_u64);
        id.ok_or_else(|| TextError::Tokenizer(format!("its vocabulary has no {token}")))
    };
    let flag = |key: &str, default: bool| settings[key].as_bool().unwrap_or(default);
    let (unknown, begin, end) = (
        named("unk_token", "[UNK]"),
        named("cls_token", "[CLS]"),
        named("sep_token", "[SEP]"),
    );
    let (begin_id, end_id) = (id(&begin)?, id(&end)?);
    id(&unknown)?;
    let special = [
        named("pad_token", "[PAD]"),
        unknown.clone(),
        begin.clone(),
        end.clone(),
        named("mask_token", "[MASK]"),
    ];
    let special = special.iter().filter_map(|token| Some((token, id(token).ok()?)));
    let added: Vec<Value> = special
        .map(|(token, id)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true),
            "strip_accents": settings["strip_accents"].as_bool(),
            "lowercase": flag("do_lower_case", true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": [end, end_id], "cls": [begin, begin_id]},
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": PREFIX,
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    });
    Ok(tokenizer.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::{Prompt, PromptForm, TextConfig, TextProcessor};

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n##s\n.\nruns\n,\n[\n]\nsep\n'\nete\n";

    fn processor(form: PromptForm, settings: Value) -> TextProcessor {
        let json = tokenizer_json(vocabulary_in(WORDS), &settings).expect("it has all that texts need");
        let config = TextConfig {
            image_token: None,
            num_query_tokens: 0,
            caption_token: 20,
            vocab_size: 21,
            form,
        };
        TextProcessor::new(&json, config).expect("it is a tokenizer")
    }

    #[test]
    fn a_caption_goes_on_from_its_beginning_and_a_question_stands_between_its_marks() {
        let caption = processor(PromptForm::Beginning, Value::Null);
        let ids = |prompt: Prompt| caption.prompt_ids(&prompt).map_err(|error| error.to_string());
        assert_eq!(ids(Prompt::Caption), Ok(vec![20]));
        assert_eq!(ids(Prompt::Raw("A  Dogs ".into())), Ok(vec![20, 5, 6, 7]));
        assert_eq!(ids(Prompt::Raw(String::new())), Ok(vec![20]));
        let refused = ids(Prompt::Question("a dog?".into())).expect_err("it answers none");
        assert!(
            refused.contains("captions") && refused.contains("--prefix"),
            "{refused}"
        );
        let answers = processor(PromptForm::Question, Value::Null);
        let ids = |prompt: Prompt| answers.prompt_ids(&prompt).map_err(|error| error.to_string());
        assert_eq!(ids(Prompt::Question("dogs.".into())), Ok(vec![2, 6, 7, 8, 3]));
        assert!(ids(Prompt::Caption).is_err_and(|said| said.contains("Ask a question")));
        assert_eq!(answers.text_ids("été").ok(), Some(vec![2, 15, 3]));
    }

    #[test]
    fn special_tokens_that_are_typed_are_letters() {
        let answers = processor(PromptForm::Question, Value::Null);
        assert_eq!(answers.text_ids("a [SEP] dog").ok(), Some(vec![2, 5, 11, 13, 12, 6, 3]));
    }

    #[test]
    fn settings_are_those_of_the_tokenizers_config() {
        let settings = serde_json::json!({"do_lower_case": false, "cls_token": {"content": "[MASK]"}});
        let exact = processor(PromptForm::Question, settings);
        assert_eq!(exact.text_ids("Dog dog").ok(), Some(vec![4, 1, 6, 3]));
        let spaced = vocabulary_in("[CLS]  \r\n[SEP]\t\n[UNK] \na\n");
        assert_eq!(spaced["a"], 3);
        assert!(tokenizer_json(spaced, &Value::Null).is_ok());
        let missing = tokenizer_json(vocabulary_in("a\nb"), &Value::Null).expect_err("it has no [CLS]");
        assert!(missing.to_string().contains("[CLS]"), "{missing}");
    }

    #[test]
    fn text_is_put_together_as_the_reference_does_at_once_and_piece_by_piece() {
        let answers = processor(PromptForm::Question, Value::Null);
        let ids = [5, 6, 7, 9, 10, 14, 6, 8, 20, 3];
        let whole = "a dogs runs, ' dog.";
        assert_eq!(answers.decode(&ids), whole);
        let mut stream = answers.stream();
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        assert_eq!(text, whole);
    }

    #[test]
    fn a_token_stands_for_the_letters_that_it_adds() {
        let bytes = processor(PromptForm::Question, Value::Null).token_bytes();
        let of = |id: usize| String::from_utf8_lossy(&bytes[id]).into_owned();
        assert_eq!([of(6), of(7), of(8), of(10)], [" dog", "s", ".", ","].map(String::from));
    }
}
