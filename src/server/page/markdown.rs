//! A conversation as Markdown, for people.

use serde_json::Value;

use super::document::{note, title};
use super::escaping::{line, markdown};
use crate::chat::{Answer, Conversation, Settings, Turn};
use crate::service::date;

/// All of it.
pub fn document(conversation: &Conversation) -> String {
    let title = markdown(&title(conversation));
    let (width, height) = (conversation.picture.width, conversation.picture.height);
    let day = date::in_words(conversation.created);
    let turns: String = conversation.turns.iter().zip(1..).map(turn).collect();
    format!("# {title}\n\nAbout a picture of {width} × {height} pixels, on {day}, with Glimpse.\n{turns}")
}

fn turn((turn, number): (&Turn, usize)) -> String {
    let answers = turn.shown_answers();
    let asked = match turn.question.as_str() {
        _ if answers.iter().any(|answer| answer.scores.is_some()) => "How well do these texts fit?".to_owned(),
        "" => "Describe the picture".to_owned(),
        question => markdown(&line(question)),
    };
    let answers: String = answers.into_iter().map(answer).collect();
    format!("\n## {number}. {asked}\n{answers}")
}

fn answer(answer: &Answer) -> String {
    let mut text = String::new();
    let texts = std::iter::once(&answer.text).chain(&answer.further_texts);
    for paragraph in texts.map(|text| markdown(text)).filter(|text| !text.is_empty()) {
        text += &format!("\n{paragraph}\n");
    }
    if let Some(scores) = &answer.scores {
        text += "\n";
        for score in scores {
            text += &format!(
                "- {}: {:.1} %\n",
                markdown(&line(&score.text)),
                score.probability * 100.0
            );
        }
    }
    let about = [
        markdown(&line(&answer.model)),
        settings(&answer.settings),
        note(answer).to_owned(),
    ];
    let about = about.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    match about.is_empty() {
        true => text,
        false => format!("{text}\n*{}*\n", about.join(" · ")),
    }
}

/// Those that were set, by their names.
fn settings(settings: &Settings) -> String {
    let Ok(Value::Object(settings)) = serde_json::to_value(settings) else {
        return String::new();
    };
    let setting = |(name, value): (String, Value)| markdown(&line(&format!("{name} {value}")));
    settings.into_iter().map(setting).collect::<Vec<_>>().join(", ")
}
