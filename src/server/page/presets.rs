//! How the originals generate answers, as settings of the page.

use crate::api::{Fields, Preset, t_with};
use crate::engine::{Asked, Description, Original, Purpose};
use crate::service::Service;

use super::settings;

/// The presets that a model has, as far as this server's limits let them be: those of its family, for what it
/// writes.
pub fn of(service: &Service, model: &Description) -> Vec<Preset> {
    let asked: &[Asked] = match model.purpose {
        Purpose::Conversation => &[Asked::Caption, Asked::Answer],
        Purpose::Captions => &[Asked::Caption],
        Purpose::Answers => &[Asked::Answer],
        Purpose::Matching => &[],
    };
    let mut presets = Vec::new();
    for original in Original::ALL
        .into_iter()
        .filter(|original| original.is_for(model.family))
    {
        let mut all: Vec<(Asked, Fields)> = asked
            .iter()
            .map(|asked| (*asked, fields(original, *asked, model)))
            .collect();
        let is_one = all.windows(2).all(|pair| pair[0].1 == pair[1].1);
        if is_one {
            all.truncate(1);
        }
        for (asked, fields) in all {
            let settings = settings::from_fields(&fields, asked == Asked::Answer, service.usual_beams());
            if service.allows(&settings) {
                let title = original.title();
                presets.push(Preset {
                    name: match (is_one, asked) {
                        (true, _) => title.to_owned(),
                        (false, Asked::Caption) => t_with("setting.preset_captions", &[("preset", title)]),
                        (false, Asked::Answer) => t_with("setting.preset_answers", &[("preset", title)]),
                    },
                    fields,
                });
            }
        }
    }
    presets
}

/// What an original does, in the page's fields.
fn fields(original: Original, asked: Asked, model: &Description) -> Fields {
    let (most, least) = original.lengths(asked, model.start);
    let before = original.tokens_before(asked, model.start);
    let least = least.new_tokens(before);
    let beams = original.num_beams();
    let is_search = beams > 1;
    let beginning = original.beginning().filter(|_| asked == Asked::Caption);
    let set = [
        ("decoding", is_search.then(|| "beams".to_owned())),
        ("num_beams", is_search.then(|| beams.to_string())),
        (
            "length_penalty",
            original.length_penalty().map(|penalty| penalty.to_string()),
        ),
        (
            "repetition_penalty",
            original.repetition_penalty().map(|penalty| penalty.to_string()),
        ),
        // It counts where words are drawn.
        ("top_p", original.top_p().map(|share| share.to_string())),
        ("max_new_tokens", Some(most.new_tokens(before).to_string())),
        ("min_new_tokens", (least > 0).then(|| least.to_string())),
        ("prefix", beginning.map(str::to_owned)),
    ];
    let set = set
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ScriptedEngine;
    use crate::models::{AnswerStart, Family};

    fn model(family: Family, start: AnswerStart) -> Description {
        Description {
            family,
            start,
            ..ScriptedEngine::describe("a model")
        }
    }

    fn said(original: Original, asked: Asked, model: &Description) -> String {
        let fields = fields(original, asked, model);
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn lengths_are_in_new_tokens_whatever_the_original_counts() {
        let blip = model(Family::Blip, AnswerStart::Text);
        // `[DEC]` and three words are in front: 20 in all, 5 at least.
        assert_eq!(
            said(Original::BlipDemo, Asked::Caption, &blip),
            "decoding=beams max_new_tokens=16 min_new_tokens=1 num_beams=3 prefix=a picture of"
        );
        assert_eq!(
            said(Original::BlipDemo, Asked::Answer, &blip),
            "decoding=beams max_new_tokens=9 num_beams=3"
        );
        assert_eq!(said(Original::Transformers, Asked::Answer, &blip), "max_new_tokens=20");
        let opt = model(Family::Blip2, AnswerStart::Prompt);
        assert_eq!(
            said(Original::Blip2Paper, Asked::Caption, &opt),
            "decoding=beams length_penalty=-1 max_new_tokens=30 min_new_tokens=1 num_beams=5"
        );
        assert_eq!(
            said(Original::Space, Asked::Answer, &opt),
            "decoding=beams max_new_tokens=30 min_new_tokens=1 num_beams=5 repetition_penalty=1.5 top_p=0.9"
        );
        let t5 = model(Family::Blip2, AnswerStart::Token);
        assert_eq!(
            said(Original::Blip2Paper, Asked::Answer, &t5),
            "decoding=beams length_penalty=-1 max_new_tokens=10 num_beams=5"
        );
        assert!(said(Original::Space, Asked::Caption, &t5).contains("max_new_tokens=49"));
    }
}
