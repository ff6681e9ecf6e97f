//! A conversation as Markdown, for people.

use serde_json::Value;

use super::document::{asked, day, note, title};
use super::escaping::{line, markdown};
use crate::api::t_with;
use crate::chat::{Answer, Conversation, Settings, Turn};

/// All of it.
pub fn document(conversation: &Conversation) -> String {
    let title = markdown(&title(conversation));
    let (width, height) = (conversation.picture.width, conversation.picture.height);
    let values = [
        ("width", width.to_string()),
        ("height", height.to_string()),
        ("date", day(conversation.created)),
    ];
    let about = t_with(
        "plain.about",
        &values.each_ref().map(|(name, value)| (*name, value.as_str())),
    );
    let turns: String = conversation.turns.iter().zip(1..).map(turn).collect();
    format!("# {title}\n\n{about}\n{turns}")
}

fn turn((turn, number): (&Turn, usize)) -> String {
    let asked = markdown(&line(&asked(turn)));
    let answers: String = turn.shown_answers().into_iter().map(answer).collect();
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
