//! What was said: one article a turn.

use leptos::html::Div;
use leptos::prelude::*;

use super::turn::TurnArticle;
use crate::app::state::{LiveTurn, State};

/// The log is laid out from its end (see the style), so that the newest words
/// are in view without a script.
#[component]
pub fn Transcript(state: State) -> impl IntoView {
    let log = NodeRef::<Div>::new();
    let last = move || state.conversation.turns.with(|turns| turns.last().map(|turn| turn.key));
    // Whoever asks wants to see the answer, wherever they had read.
    Effect::new(move |before: Option<Option<usize>>| {
        let last = last();
        if before.is_some_and(|before| before != last)
            && let Some(log) = log.get_untracked()
        {
            log.set_scroll_top(0); // its end: the log is laid out from there
        }
        last
    });
    view! {
        <div class="log" role="log" aria-label="Conversation" tabindex="0" node_ref=log>
            <div class="turns">
                <For each=move || state.conversation.turns.get() key=|turn: &LiveTurn| turn.key let(turn)>
                    <TurnArticle state turn/>
                </For>
            </div>
        </div>
    }
}
