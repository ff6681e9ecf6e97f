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

/// The vocabulary of a `vocab.txt`: a token a line, whose number is its id.
pub fn vocabulary_in(lines: &str) -> Map<String, Value> {
    let tokens = lines.lines().map(|line| line.trim_end_matches('\r')).enumerate();
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
