//! Why an answer is as it is.

/// What a model looked at, and how sure it was, while it wrote an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// In their order; together they are the answer.
    pub words: Vec<ExplainedWord>,
    /// Of the whole answer: the mean of its tokens'.
    pub map: LookMap,
}

/// A word of an answer, with the white space before it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedWord {
    pub text: String,
    /// How likely the model found it behind what was there, before any setting: from 0 to 1.
    pub probability: f32,
    /// How its likeliest other beginnings would have been, with their probabilities.
    pub others: Vec<Other>,
    pub map: LookMap,
}

/// What might have come in a word's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// Empty where the answer would have ended.
    pub text: String,
    pub probability: f32,
}

/// How much of its look each part of a picture got, in rows of equal parts from the top left.
#[derive(Clone, Debug, PartialEq)]
pub struct LookMap {
    pub columns: usize,
    pub shares: Vec<f32>,
}
