//! Asks a question.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::follow::{catch_up, follow};
use crate::api::{self, ApiError, AskRequest, ConversationId, ErrorCode, PageLimits};
use crate::app::state::{LiveTurn, NewQuestion, State};

/// Asks what stands in the question box, or in the boxes of texts where a model compares; says what is wrong
/// with it otherwise.
pub fn ask_draft(state: State) {
    if untrack(|| state.models.offers()).matching {
        let texts = untrack(|| state.texts.typed());
        return match wrong_texts(&texts, state.limits) {
            Some(sentence) => state.alert.set(Some(sentence)),
            None => ask(state, NewQuestion::comparing(texts)),
        };
    }
    let draft = state.draft.get_untracked();
    let text = draft.trim();
    let (length, most) = (text.chars().count(), state.limits.question_chars);
    if text.is_empty() {
        let sentence = match untrack(|| state.models.offers()).captions {
            true => "Type a question, or press Describe for a caption.",
            false => "Type a question.",
        };
        state.alert.set(Some(sentence.to_owned()));
    } else if length > most {
        let sentence = format!("The question has {length} characters; at most {most} are allowed.");
        state.alert.set(Some(sentence));
    } else {
        ask(state, NewQuestion::new(text.to_owned(), true));
    }
}

/// What the server would refuse of texts that are to be compared.
fn wrong_texts(texts: &[String], limits: PageLimits) -> Option<String> {
    let (count, most) = (texts.len(), limits.question_chars);
    let mut lengths = texts.iter().map(|text| text.chars().count()).enumerate();
    match lengths.find(|(_, length)| *length > most) {
        _ if count == 0 => Some("Type a text to compare the picture with.".to_owned()),
        _ if count > limits.texts => Some(format!(
            "There are {count} texts; at most {} are compared at once. Remove some.",
            limits.texts
        )),
        Some((index, length)) => Some(format!(
            "Text {} has {length} characters; at most {most} are allowed.",
            index + 1
        )),
        None => None,
    }
}

/// Asks for a caption.
pub fn describe(state: State) {
    ask(state, NewQuestion::new(String::new(), false));
}

/// Asks what was asked in an earlier turn: a question, which may be a caption, or texts.
pub fn ask_again(state: State, text: String, is_comparing: bool) {
    if is_comparing {
        let texts = text.lines().map(str::to_owned).collect();
        return ask(state, NewQuestion::comparing(texts));
    }
    let is_draft = state.draft.with_untracked(|draft| !text.is_empty() && *draft == text);
    ask(state, NewQuestion::new(text, is_draft));
}

/// Asks, if nothing is in the way; says so otherwise.
pub fn ask(state: State, asked: NewQuestion) {
    if untrack(|| state.opening.is_open()) {
        state.opening.question.set_value(Some(asked));
        return;
    }
    if untrack(|| state.conversation.is_answering()) {
        return;
    }
    if let Some(kept) = state.opening.kept.get_untracked() {
        return kept.send_and_ask.run(asked);
    }
    state.alert.set(None);
    let Some(conversation) = state.conversation.id.get_untracked() else {
        let refusal = state.opening.refusal.get_value();
        let none = || "Choose a picture first, or try an example.".to_owned();
        return state.alert.set(Some(refusal.unwrap_or_else(none)));
    };
    if asked.is_draft {
        state.draft.set(String::new());
    }
    let fields = untrack(|| state.settings.fields());
    let is_comparing = !asked.texts.is_empty();
    let question = Some(asked.text.clone()).filter(|text| !text.is_empty() && !is_comparing);
    let prompt = fields
        .get("prefix")
        .filter(|_| question.is_none() && !is_comparing)
        .cloned();
    let (model, other) = untrack(|| {
        (
            state.models.info().name,
            state.models.compared().map(|other| other.name),
        )
    });
    let turn_of = |model: &String| {
        let turn = LiveTurn::asked(asked.text.clone(), prompt.clone(), model.clone());
        if is_comparing { turn.comparing() } else { turn }
    };
    let mut turn = turn_of(&model);
    turn.beside = other.iter().map(turn_of).collect();
    state.conversation.turns.update(|turns| turns.push(turn.clone()));
    let request = AskRequest {
        conversation: conversation.clone(),
        question,
        texts: asked.texts,
        model: Some(model),
        compare_with: other,
        fields,
        settings: Default::default(),
    };
    spawn_local(async move {
        match api::ask(request).await {
            Ok(stream) => follow(state, conversation, turn, stream).await,
            Err(error) => refused(state, &conversation, &turn, error).await,
        }
    });
}

/// Takes back a turn that the server did not take, and says why.
async fn refused(state: State, conversation: &ConversationId, turn: &LiveTurn, error: ApiError) {
    if !state.conversation.has(turn) {
        return;
    }
    if error.code == ErrorCode::Unreachable && arrived(state, conversation, turn).await {
        return;
    }
    if state.conversation.id.get_untracked().as_ref() != Some(conversation) {
        return;
    }
    let is_other = |other: &LiveTurn| other.key != turn.key;
    state.conversation.turns.update(|turns| turns.retain(is_other));
    state.give_back(turn);
    if error.code == ErrorCode::TurnInProgress {
        catch_up(state, conversation).await;
    }
    state.alert.set(Some(error.message));
}

/// Whether the server has a turn all the same, as behind a proxy that did not wait for the
/// answer: it is then followed, and need not be asked a second time.
async fn arrived(state: State, conversation: &ConversationId, turn: &LiveTurn) -> bool {
    catch_up(state, conversation).await;
    turn.answer_id().is_some()
}
