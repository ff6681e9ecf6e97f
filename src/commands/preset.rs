//! Presets: how somebody else's program generates answers, as far as nothing else is typed. The numbers are
//! [`Original`]'s, which the page's presets are made of too.

use clap::ValueEnum;

use crate::engine::{Asked, Instruction, Length, Original};
use crate::generation::{GenerationOptions, Preset};
use crate::models::{AnswerStart, OpenModel};
use crate::processor::PromptForm;

/// Whose habits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// What the flags say, and a model's own ends
    Glimpse,
    /// transformers' defaults: 20 new tokens, the likeliest each time; answers end as config.json says
    /// alone, so that InstructBLIP's with Vicuna run on
    Transformers,
    /// The demo of BLIP: captions begin "a picture of " and are searched for with 3 beams, 5 to 20
    /// tokens with that beginning; answers with 3 beams, 10 tokens at most
    BlipDemo,
    /// The paper of BLIP-2: 5 beams, length penalty -1; captions of 1 to 30 tokens, answers of 1 to 10
    Blip2Paper,
    /// The Space of BLIP-2: 5 beams, repetition penalty 1.5; captions of 1 to 50 tokens, answers of 1 to
    /// 30; with --do-sample, top-p 0.9
    Space,
}

impl PresetArg {
    /// Whose habits count, where they are not Glimpse's own.
    fn original(self) -> Option<Original> {
        match self {
            Self::Glimpse => None,
            Self::Transformers => Some(Original::Transformers),
            Self::BlipDemo => Some(Original::BlipDemo),
            Self::Blip2Paper => Some(Original::Blip2Paper),
            Self::Space => Some(Original::Space),
        }
    }
}

/// The settings that a preset sets, by their names.
const SET: [&str; 6] = [
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "length_penalty",
    "repetition_penalty",
    "top_p",
];

/// How answers are generated, as far as it is known before the model is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As typed.
    options: GenerationOptions,
    preset: PresetArg,
    /// Those of [`SET`] that were typed, or stand in a variable.
    typed: Vec<&'static str>,
}

impl Settings {
    /// `is_typed` says of a setting whether it was typed or stands in a variable.
    pub fn new(options: GenerationOptions, preset: PresetArg, is_typed: impl Fn(&str) -> bool) -> Self {
        Self {
            options,
            preset,
            typed: SET.into_iter().filter(|name| is_typed(name)).collect(),
        }
    }

    /// What counts whatever the model is and is asked, for a first look.
    pub fn first_look(&self) -> GenerationOptions {
        self.options(Asked::Caption, AnswerStart::Prompt)
    }

    /// The settings for a model.
    pub fn for_model(&self, model: &OpenModel) -> ModelSettings {
        let start = model.network.answer_start();
        ModelSettings {
            caption: self.options(Asked::Caption, start),
            answer: self.options(Asked::Answer, start),
            beginning: self.beginning(model.processor.text.form()),
            writes_captions_alone: model.processor.text.form() == PromptForm::Beginning,
        }
    }

    /// How captions begin where nobody says it.
    fn beginning(&self, form: PromptForm) -> Option<&'static str> {
        match form {
            PromptForm::Beginning | PromptForm::Conversation => self.preset.original()?.beginning(),
            _ => None,
        }
    }

    fn options(&self, asked: Asked, start: AnswerStart) -> GenerationOptions {
        let mut options = GenerationOptions {
            preset: match self.preset {
                PresetArg::Transformers => Preset::Transformers,
                _ => Preset::Glimpse,
            },
            ..self.options.clone()
        };
        let Some(original) = self.preset.original() else {
            return options;
        };
        let is_free = |name: &str| !self.typed.contains(&name);
        if is_free("num_beams") {
            options.num_beams = original.num_beams().max(options.num_beams);
        }
        if is_free("length_penalty") && options.num_beams > 1 {
            options.length_penalty = original.length_penalty().unwrap_or(options.length_penalty);
        }
        if is_free("repetition_penalty") {
            options.repetition_penalty = original.repetition_penalty().unwrap_or(options.repetition_penalty);
        }
        if is_free("top_p") && options.do_sample {
            options.top_p = original.top_p().unwrap_or(options.top_p);
        }
        let (most, least) = original.lengths(asked, start);
        self.set_lengths(&mut options, most, least);
        options
    }

    /// What is typed wins, and pulls the other one along where the two would contradict each other.
    fn set_lengths(&self, options: &mut GenerationOptions, most: Length, least: Length) {
        let is_free = |name: &str| !self.typed.contains(&name);
        if is_free("max_new_tokens") {
            match most {
                Length::New(most) => options.max_new_tokens = most.max(options.min_new_tokens),
                Length::Whole(most) => (options.max_new_tokens, options.max_length) = (most, Some(most)),
            }
        }
        if is_free("min_new_tokens") {
            match least {
                Length::New(least) => options.min_new_tokens = least.min(options.max_new_tokens),
                Length::Whole(least) => options.min_length = least,
            }
        }
    }
}

/// How answers of one model are generated.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    caption: GenerationOptions,
    answer: GenerationOptions,
    beginning: Option<&'static str>,
    writes_captions_alone: bool,
}

impl ModelSettings {
    /// What is asked of the model, and how its answer is generated.
    pub fn of(&self, instruction: Instruction) -> (Instruction, GenerationOptions) {
        match instruction {
            Instruction::Caption { prefix } => {
                let prefix = prefix.or_else(|| self.beginning.map(str::to_owned));
                (Instruction::Caption { prefix }, self.caption.clone())
            }
            other if self.writes_captions_alone => (other, self.caption.clone()),
            other => (other, self.answer.clone()),
        }
    }

    /// How many answers there are to each question.
    pub fn num_return_sequences(&self) -> usize {
        self.caption.num_return_sequences
    }

    /// The most rows of the model that a caption takes.
    pub fn rows_of_caption(&self) -> usize {
        self.caption.rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(preset: PresetArg, typed: &'static [&str], change: impl FnOnce(&mut GenerationOptions)) -> Settings {
        let mut options = GenerationOptions {
            max_new_tokens: 50,
            ..GenerationOptions::default()
        };
        change(&mut options);
        Settings::new(options, preset, |name| typed.contains(&name))
    }

    #[test]
    fn lengths_are_counted_as_the_original_counts_them() {
        let demo = settings(PresetArg::BlipDemo, &[], |_| ());
        let caption = demo.options(Asked::Caption, AnswerStart::Text);
        assert_eq!(
            (caption.num_beams, caption.max_length, caption.min_length),
            (3, Some(20), 5)
        );
        // `[DEC]` and "a picture of" are four.
        assert_eq!(caption.most_ids(4).ok(), Some(20));
        assert!(caption.most_ids(20).is_err());
        let answer = demo.options(Asked::Answer, AnswerStart::Text);
        assert_eq!((answer.max_length, answer.min_length), (Some(10), 1));
        let paper = settings(PresetArg::Blip2Paper, &[], |_| ());
        let caption = paper.options(Asked::Caption, AnswerStart::Prompt);
        assert_eq!(
            (caption.max_new_tokens, caption.min_new_tokens, caption.max_length),
            (30, 1, None)
        );
        assert_eq!((caption.num_beams, caption.length_penalty), (5, -1.0));
        assert_eq!(paper.options(Asked::Answer, AnswerStart::Prompt).max_new_tokens, 10);
        let of_t5 = paper.options(Asked::Caption, AnswerStart::Token);
        assert_eq!(
            (of_t5.max_new_tokens, of_t5.max_length, of_t5.min_length),
            (30, None, 1)
        );
        let greedy = settings(PresetArg::Transformers, &[], |_| ()).options(Asked::Caption, AnswerStart::Text);
        assert_eq!(
            (greedy.max_new_tokens, greedy.num_beams, greedy.preset),
            (20, 1, Preset::Transformers)
        );
        assert_eq!(
            settings(PresetArg::Glimpse, &[], |_| ()).first_look().max_new_tokens,
            50
        );
    }

    #[test]
    fn what_is_typed_wins_over_the_preset() {
        let typed = settings(PresetArg::Blip2Paper, &["num_beams", "max_new_tokens"], |options| {
            options.max_new_tokens = 3;
        });
        let caption = typed.options(Asked::Caption, AnswerStart::Text);
        // Without a search a length penalty means nothing.
        assert_eq!((caption.num_beams, caption.length_penalty), (1, 1.0));
        assert_eq!((caption.max_new_tokens, caption.max_length), (3, None));
        let least = settings(PresetArg::BlipDemo, &["min_new_tokens"], |options| {
            options.min_new_tokens = 40
        });
        let caption = least.options(Asked::Caption, AnswerStart::Prompt);
        assert_eq!((caption.min_new_tokens, caption.max_new_tokens), (40, 40));
        let drawn = settings(PresetArg::Space, &["repetition_penalty"], |options| {
            options.do_sample = true
        });
        let caption = drawn.first_look();
        assert_eq!(
            (caption.top_p, caption.repetition_penalty, caption.num_beams),
            (0.9, 1.0, 5)
        );
        assert_eq!(settings(PresetArg::Space, &[], |_| ()).first_look().top_p, 1.0);
        for preset in PresetArg::value_variants() {
            assert_eq!(settings(*preset, &[], |_| ()).first_look().check(), Ok(()));
        }
    }

    #[test]
    fn the_demos_captions_begin_as_they_did_where_a_model_goes_on_from_a_beginning() {
        let demo = settings(PresetArg::BlipDemo, &[], |_| ());
        assert_eq!(demo.beginning(PromptForm::Beginning), Some("a picture of"));
        assert_eq!(demo.beginning(PromptForm::Instruction), None);
        assert_eq!(
            settings(PresetArg::Space, &[], |_| ()).beginning(PromptForm::Beginning),
            None
        );
    }
}
