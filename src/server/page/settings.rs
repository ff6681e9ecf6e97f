//! A visitor's settings, as a script sends them and as they stand on the page.

use serde_json::{Map, Value};

use crate::api::Fields;
use crate::chat::{EarlyStopping, Error, Never, Settings};

/// What the page's fields say of a question, or of a caption. Only those that matter for the chosen way of decoding
/// count, so that none contradicts another; what is no number becomes one that is refused.
/// Beam search has `usual_beams` where no number is given.
pub fn from_fields(fields: &Fields, is_question: bool, usual_beams: f64) -> Settings {
    let text = |name: &str| fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let number = |name: &str| text(name).map(|text| text.parse().unwrap_or(f64::NAN));
    let beams = text("decoding") == Some("beams");
    let draws = text("decoding") == Some("sampling") || (beams && text("do_sample").is_some());
    let of_beams = |name: &str| number(name).filter(|_| beams);
    let of_drawing = |name: &str| number(name).filter(|_| draws);
    let lines = text("stop_strings").unwrap_or_default().lines();
    let stop_strings: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Settings {
        max_new_tokens: number("max_new_tokens"),
        min_new_tokens: number("min_new_tokens"),
        num_beams: beams.then(|| number("num_beams").unwrap_or(usual_beams)),
        length_penalty: of_beams("length_penalty"),
        early_stopping: text("early_stopping").filter(|_| beams).map(early_stopping),
        do_sample: draws.then_some(true),
        temperature: of_drawing("temperature"),
        top_k: of_drawing("top_k"),
        top_p: of_drawing("top_p"),
        seed: of_drawing("seed"),
        repetition_penalty: number("repetition_penalty"),
        no_repeat_ngram_size: number("no_repeat_ngram_size"),
        num_return_sequences: number("num_return_sequences").filter(|_| beams || draws),
        stop_strings: Some(stop_strings).filter(|strings| !strings.is_empty()),
        context_turns: number("context_turns"),
        raw: text("raw").filter(|_| is_question).map(|_| true),
        prefix: text("prefix").filter(|_| !is_question).map(str::to_owned),
    }
}

fn early_stopping(text: &str) -> EarlyStopping {
    match text {
        "never" => EarlyStopping::Never(Never::Never),
        text => EarlyStopping::AtOnce(text == "true"),
    }
}

/// A script's settings. Each may be missing, so that what is wrong is wrong by itself.
pub fn understood(settings: &Map<String, Value>) -> Result<Settings, Error> {
    let whole = serde_json::from_value(settings.clone().into());
    whole.map_err(|error: serde_json::Error| {
        let alone = |(name, value): (&String, &Value)| {
            let one = Map::from_iter([(name.clone(), value.clone())]);
            let error = serde_json::from_value::<Settings>(one.into()).err()?;
            Some(format!(
                "The setting {name:?} was not understood: {error}. Mend it, or leave it out."
            ))
        };
        let sentence = settings.iter().find_map(alone);
        let detail = sentence.unwrap_or_else(|| format!("The settings were not understood: {error}. Mend them."));
        Error::SettingRefused {
            detail: detail.into(),
            flag: None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fields: &[(&str, &str)]) -> Settings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        from_fields(&fields.iter().map(owned).collect(), true, 5.0)
    }

    #[test]
    fn only_what_matters_for_the_chosen_decoding_counts() {
        let all = [
            ("num_beams", ""),
            ("length_penalty", "2"),
            ("early_stopping", "never"),
            ("temperature", "0.7"),
            ("num_return_sequences", "3"),
            ("max_new_tokens", "9"),
        ];
        let with = |decoding| settings(&[&all[..], &[("decoding", decoding)]].concat());
        let only_length = Settings {
            max_new_tokens: Some(9.0),
            ..Settings::default()
        };
        assert_eq!(with("greedy"), only_length);
        assert_eq!(settings(&all), only_length);
        let beams = Settings {
            num_beams: Some(5.0),
            length_penalty: Some(2.0),
            early_stopping: Some(EarlyStopping::Never(Never::Never)),
            num_return_sequences: Some(3.0),
            ..only_length.clone()
        };
        assert_eq!(with("beams"), beams);
        let sampling = Settings {
            do_sample: Some(true),
            temperature: Some(0.7),
            num_return_sequences: Some(3.0),
            ..only_length
        };
        assert_eq!(with("sampling"), sampling);
        let both = settings(&[&all[..], &[("decoding", "beams"), ("do_sample", "true")]].concat());
        assert_eq!((both.do_sample, both.temperature), (Some(true), Some(0.7)));
    }

    #[test]
    fn what_is_no_number_becomes_one_that_is_refused() {
        let typed = settings(&[("max_new_tokens", "many"), ("seed", "  ")]);
        assert!(typed.max_new_tokens.is_some_and(f64::is_nan));
        assert_eq!(typed.seed, None);
    }

    #[test]
    fn a_caption_has_a_prefix_and_a_question_is_raw() {
        let fields = Fields::from([("prefix", " a photo of "), ("raw", "true")].map(|(n, v)| (n.into(), v.into())));
        let (question, caption) = (from_fields(&fields, true, 5.0), from_fields(&fields, false, 5.0));
        assert_eq!((question.raw, question.prefix), (Some(true), None));
        assert_eq!((caption.raw, caption.prefix.as_deref()), (None, Some("a photo of")));
    }

    #[test]
    fn stop_strings_are_lines_and_early_stopping_is_the_references() {
        let lines = settings(&[("stop_strings", "one\r\n\r\n two\n")]).stop_strings;
        assert_eq!(lines, Some(vec!["one".to_owned(), " two".to_owned()]));
        for (json, word) in [("true", "true"), ("false", "false"), ("\"never\"", "never")] {
            let read: EarlyStopping = serde_json::from_str(json).expect("it is one of the three");
            assert_eq!(read, early_stopping(word));
        }
    }
}
