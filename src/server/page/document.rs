//! A conversation as one HTML document that needs no script: at the address where it is shared, and in a file.

use super::escaping::html;
use crate::api::{Language, t, t_count, t_with};
use crate::chat::{Answer, AnswerState, Conversation, FinishReason, TextScore, Turn};
use crate::processor::preview;
use crate::service::date;

/// The page's own colours and sizes, and what this document makes of them.
pub const STYLE: &str = concat!(
    include_str!("../../../style/_tokens.scss"),
    include_str!("../../../style/document.css")
);

/// The eye of Glimpse.
const MARK: &str = r#"<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M2 16C7 7 25 7 30 16 25 25 7 25 2 16Z"/><circle cx="16" cy="16" r="5.4"/></svg>"#;

/// What goes around a conversation. Nothing in it is escaped here.
pub struct Frame<'a> {
    /// Where the picture is.
    pub picture: &'a str,
    /// Beside what every such document has.
    pub head: &'a str,
    /// The attributes of the style.
    pub nonce: &'a str,
    /// Before and behind the conversation.
    pub top: &'a str,
    pub foot: &'a str,
}

/// What a conversation is called, in one line.
pub fn title(conversation: &Conversation) -> String {
    let name = conversation.name().map(|name| super::escaping::line(&name));
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| t("conversation.describe").to_owned())
}

/// What was answered first, in one line; empty where nothing was.
pub fn description(conversation: &Conversation) -> String {
    let answers = conversation.turns.iter().flat_map(Turn::shown_answers);
    let mut texts = answers.map(|answer| super::escaping::line(&answer.text));
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

/// The name of Glimpse with its mark.
pub fn brand() -> String {
    format!("{MARK}<span>Glimpse</span>")
}

/// All of it.
pub fn document(conversation: &Conversation, frame: &Frame) -> String {
    let Frame {
        picture,
        head,
        nonce,
        top,
        foot,
    } = frame;
    let (language, title) = (Language::current(), html(&title(conversation)));
    let (width, height) = preview::sides(conversation.picture.width, conversation.picture.height);
    let turns: String = conversation.turns.iter().map(turn).collect();
    format!(
        r#"<!DOCTYPE html>
<html lang="{}" dir="{}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Glimpse</title>
{head}
<style{nonce}>
{STYLE}</style>
</head>
<body>
<header>{top}</header>
<main>
<h1 dir="auto">{title}</h1>
<figure><img src="{picture}" width="{width}" height="{height}" alt="{}"></figure>
<div class="turns">
{turns}</div>
</main>
<footer>{foot}</footer>
</body>
</html>
"#,
        language.tag(),
        language.direction(),
        t("plain.picture")
    )
}

/// What was asked, in words.
pub fn asked(turn: &Turn) -> String {
    match (turn.texts(), turn.question.as_str()) {
        (Some(texts), _) => t_count("match_texts", texts.len(), &[]),
        (None, "") => t("conversation.describe").to_owned(),
        (None, question) => question.to_owned(),
    }
}

fn turn(turn: &Turn) -> String {
    let answers = turn.shown_answers();
    let asked = html(&asked(turn));
    let class = if turn.question.is_empty() { " caption" } else { "" };
    let answers: String = answers.into_iter().map(answer).collect();
    format!("<article>\n<h2 class=\"asked{class}\" dir=\"auto\">{asked}</h2>\n{answers}</article>\n")
}

fn answer(answer: &Answer) -> String {
    let text = html(answer.text.trim());
    let text = match text.as_str() {
        "" => String::new(),
        text => format!("<p class=\"answer\" dir=\"auto\">{text}</p>\n"),
    };
    let further = answer.further_texts.iter().map(|text| html(text.trim()));
    let further: String = further
        .map(|text| {
            format!(
                "<p class=\"further\" dir=\"auto\">{}</p>\n",
                t_with("plain.or", &[("text", &text)])
            )
        })
        .collect();
    let scores = answer.scores.as_deref().map(scores).unwrap_or_default();
    let model = html(&answer.model);
    let by = [model.as_str(), note(answer)];
    let by = by.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let by = by.join(" · ");
    format!(
        "<section class=\"reply\">\n{MARK}<div>\n{text}{further}{scores}<p class=\"by\">{by}</p>\n</div></section>\n"
    )
}

fn scores(scores: &[TextScore]) -> String {
    let mut sorted: Vec<&TextScore> = scores.iter().collect();
    sorted.sort_by(|one, other| other.probability.total_cmp(&one.probability));
    let row = |score: &TextScore| {
        let (text, share) = (html(&score.text), score.probability);
        format!(
            "<li><span dir=\"auto\">{text}</span> <b>{:.1} %</b><meter value=\"{share:.4}\">{share:.4}</meter></li>\n",
            share * 100.0
        )
    };
    let rows: String = sorted.into_iter().map(row).collect();
    format!("<ol class=\"matches\">\n{rows}</ol>\n")
}

/// What there is to say of an answer besides its words.
pub fn note(answer: &Answer) -> &'static str {
    match &answer.state {
        AnswerState::Failed(_) => t("plain.not_whole"),
        AnswerState::Running => t("plain.running"),
        AnswerState::Done(FinishReason::Cancelled) => t("plain.stopped"),
        AnswerState::Done(FinishReason::Interrupted) => t("plain.interrupted"),
        AnswerState::Done(FinishReason::Stop | FinishReason::Length) => "",
    }
}

/// When something was done, in words for the foot: `done` has a place for the date.
pub fn foot(done: &'static str, milliseconds: i64) -> String {
    let date = format!(
        "<time datetime=\"{}\">{}</time>",
        date::iso(milliseconds),
        day(milliseconds)
    );
    format!("<p>{}</p>", t_with(done, &[("date", &date)]))
}

/// A day in words.
pub fn day(milliseconds: i64) -> String {
    let (year, month, day) = date::civil(milliseconds);
    let name = t("plain.months").split(' ').nth(month - 1).unwrap_or_default();
    let (year, day) = (year.to_string(), day.to_string());
    t_with("plain.date", &[("day", &day), ("month", name), ("year", &year)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_of_the_style_are_plain_css() {
        for word in ["//", "@use", "@include", "$", "#{", "</"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
