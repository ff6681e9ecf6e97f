//! The programs that Glimpse comes after, and how each of them generates answers: the one place with their numbers.
//!
//! The BLIP demo's are those of salesforce/BLIP (`demo.ipynb`, `app.py`, `configs/caption_coco.yaml`,
//! `models/blip_vqa.py`), the paper's those of BLIP-2 (arXiv 2301.12597, section 4.1) with LAVIS' `generate` and
//! `predict_answers`, the Space's those of hysts/BLIP2-with-transformers. What each counts as the length of an
//! answer is another thing in each ([`Length`]), and comes out as the same tokens here.

use crate::models::{AnswerStart, Family};

/// A program whose habits may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// transformers' `generate`, with its defaults.
    Transformers,
    /// The demo of BLIP.
    BlipDemo,
    /// The paper of BLIP-2.
    Blip2Paper,
    /// The Space of BLIP-2.
    Space,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Caption,
    Answer,
}

/// What an original counts as the length of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The tokens that are generated.
    New(usize),
    /// Those in front of them as well: `[DEC]` and a caption's beginning in BLIP, T5's start.
    Whole(usize),
}

impl Length {
    /// Tokens that are generated, where so many stand in front of them.
    pub fn new_tokens(self, before: usize) -> usize {
        match self {
            Self::New(tokens) => tokens,
            Self::Whole(tokens) => tokens.saturating_sub(before),
        }
    }
}

impl Original {
    pub const ALL: [Self; 4] = [Self::Transformers, Self::BlipDemo, Self::Blip2Paper, Self::Space];

    /// As a person calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Transformers => "transformers",
            Self::BlipDemo => "BLIP demo",
            Self::Blip2Paper => "BLIP-2 paper",
            Self::Space => "BLIP-2 Space",
        }
    }

    /// Whether it was made for models of this family.
    pub fn is_for(self, family: Family) -> bool {
        match self {
            Self::Transformers => true,
            Self::BlipDemo => family == Family::Blip,
            Self::Blip2Paper | Self::Space => family == Family::Blip2,
        }
    }

    pub fn num_beams(self) -> usize {
        match self {
            Self::Transformers => 1,
            Self::BlipDemo => 3,
            Self::Blip2Paper | Self::Space => 5,
        }
    }

    /// Of its search.
    pub fn length_penalty(self) -> Option<f64> {
        (self == Self::Blip2Paper).then_some(-1.0)
    }

    pub fn repetition_penalty(self) -> Option<f64> {
        (self == Self::Space).then_some(1.5)
    }

    /// Where it draws tokens.
    pub fn top_p(self) -> Option<f64> {
        (self == Self::Space).then_some(0.9)
    }

    /// How its captions begin.
    pub fn beginning(self) -> Option<&'static str> {
        // BERT's tokenizer takes no notice of the space behind it; others do.
        (self == Self::BlipDemo).then_some("a picture of")
    }

    /// Tokens in front of its captions, or of its answers, by what a model begins them with.
    pub fn tokens_before(self, asked: Asked, start: AnswerStart) -> usize {
        match (start, asked) {
            (AnswerStart::Prompt, _) => 0,
            // BERT's vocabulary, which BLIP has, knows each of these words.
            (AnswerStart::Text, Asked::Caption) => 1 + self.beginning().map_or(0, |text| text.split(' ').count()),
            (AnswerStart::Text | AnswerStart::Token, _) => 1,
        }
    }

    /// The greatest length of an answer, and the least.
    pub fn lengths(self, asked: Asked, start: AnswerStart) -> (Length, Length) {
        use Length::{New, Whole};
        let (most, least) = match (self, asked) {
            (Self::Transformers, _) => return (New(20), New(0)),
            (Self::BlipDemo, Asked::Caption) => (20, 5),
            (Self::BlipDemo | Self::Blip2Paper, Asked::Answer) => (10, 1),
            (Self::Blip2Paper, Asked::Caption) => (30, 1),
            (Self::Space, Asked::Caption) => (50, 1),
            (Self::Space, Asked::Answer) => (30, 1),
        };
        match (start, self) {
            (AnswerStart::Prompt, _) => (New(most), New(least)),
            // LAVIS names the most new tokens, and the least length.
            (AnswerStart::Token, Self::Blip2Paper) => (New(most), Whole(least)),
            (AnswerStart::Text | AnswerStart::Token, _) => (Whole(most), Whole(least)),
        }
    }
}
