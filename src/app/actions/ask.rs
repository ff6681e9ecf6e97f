//! Asks a question.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::follow::{catch_up, follow};
use crate::api::{self, ApiError, AskRequest, ConversationId, ErrorCode, PageLimits, t, t_with};
use crate::app::state::{Before, LiveTurn, NewQuestion, Place, State};

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
            true => t("alert.no_question_nor_caption"),
            false => t("alert.no_question"),
        };
        state.alert.set(Some(sentence.to_owned()));
    } else if length > most {
        let sentence = t_with(
            "alert.long_question",
            &[("chars", &length.to_string()), ("limit", &most.to_string())],
        );
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
        _ if count == 0 => Some(t("alert.no_texts").to_owned()),
        _ if count > limits.texts => Some(t_with(
            "alert.many_texts",
            &[("count", &count.to_string()), ("limit", &limits.texts.to_string())],
        )),
        Some((index, length)) => Some(t_with(
            "alert.long_text",
            &[
                ("number", &(index + 1).to_string()),
                ("chars", &length.to_string()),
                ("limit", &most.to_string()),
            ],
        )),
        None => None,
    }
}

/// Asks for a caption.
pub fn describe(state: State) {
    ask(state, NewQuestion::new(String::new(), false));
}

/// Asks a question that is offered.
pub fn ask_text(state: State, text: String) {
    ask(state, NewQuestion::new(text, false));
}

/// Asks the same as in an earlier turn once more; what broke off is in the box already.
pub fn ask_again(state: State, turn: &LiveTurn) {
    let mut asked = NewQuestion::of(turn).at(Place::Again(turn.clone()));
    asked.is_draft = state
        .draft
        .with_untracked(|draft| !asked.text.is_empty() && *draft == asked.text);
    ask(state, asked);
}

/// Has an answer that was cut off at its length go on.
pub fn go_on(state: State, turn: &LiveTurn) {
    ask(state, NewQuestion::of(turn).at(Place::Longer(turn.clone())));
}

/// Asks something else in the place of a question: what followed it stays, as another branch.
pub fn ask_instead(state: State, turn: &LiveTurn, text: String) {
    ask(state, NewQuestion::new(text, false).at(Place::Instead(turn.clone())));
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
        let none = || t("alert.no_picture").to_owned();
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
    let cut_off = match &asked.place {
        Place::Longer(answer) => Some(answer.answer.get_untracked()),
        _ => None,
    };
    let (place, instead) = placed(state, asked.place);
    let is_again = !matches!(place, api::Place::After(_));
    let other = other.filter(|_| !is_again);
    let turn_of = |model: &String| {
        let turn = LiveTurn::asked(asked.text.clone(), prompt.clone(), model.clone());
        if is_comparing { turn.comparing() } else { turn }
    };
    let mut turn = turn_of(&model);
    turn.beside = other.iter().map(turn_of).collect();
    match (&place, &instead) {
        (api::Place::After(parent), _) => turn.parent.clone_from(parent),
        (_, Some(before)) => turn.follow_attempts_of(before),
        _ => {}
    }
    if let Some(text) = cut_off {
        // What there is stays to be read until there is more.
        turn.answer.set(text);
    }
    let before = state.conversation.begin(&turn, instead.as_ref());
    let request = AskRequest {
        conversation: conversation.clone(),
        question,
        texts: asked.texts,
        model: Some(model),
        compare_with: other,
        place: Some(place),
        fields,
        settings: Default::default(),
    };
    spawn_local(async move {
        match api::ask(request).await {
            Ok(stream) => follow(state, conversation, turn, stream).await,
            Err(error) => refused(state, &conversation, &turn, before, error).await,
        }
    });
}

/// Where the server puts a question, and the turn in whose place it is shown.
fn placed(state: State, place: Place) -> (api::Place, Option<LiveTurn>) {
    let (answer, is_longer) = match place {
        Place::Next => return (api::Place::After(state.conversation.last_known()), None),
        Place::Instead(turn) => return (api::Place::After(turn.parent.clone()), Some(turn)),
        Place::Again(answer) => (answer, false),
        Place::Longer(answer) => (answer, true),
    };
    let turn = state
        .conversation
        .turn_of(&answer)
        .filter(|turn| turn.beside.is_empty());
    match (turn, answer.ids.get_value()) {
        // What several models were asked is put to them again as a new question.
        (None, _) => placed(state, Place::Next),
        (Some(turn), Some((_, id))) if is_longer => (api::Place::Longer(id), Some(turn)),
        (Some(turn), Some((id, _))) => (api::Place::Again(id), Some(turn)),
        // One that the server does not know is asked anew.
        (Some(turn), None) => placed(state, Place::Instead(turn)),
    }
}

/// Takes back a turn that the server did not take, and says why.
async fn refused(state: State, conversation: &ConversationId, turn: &LiveTurn, before: Before, error: ApiError) {
    if !state.conversation.has(turn) {
        return;
    }
    if error.code == ErrorCode::Unreachable && arrived(state, conversation, turn).await {
        return;
    }
    if state.conversation.id.get_untracked().as_ref() != Some(conversation) {
        return;
    }
    state.conversation.take_back(before);
    if turn.earlier.is_empty() {
        state.give_back(turn);
    }
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
