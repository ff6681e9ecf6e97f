//! What was said: one article a turn.

use leptos::html::Div;
use leptos::prelude::*;

use super::suggestions::Suggestions;
use super::turn::TurnArticle;
use crate::api::t;
use crate::app::state::{LiveTurn, State};

/// The log is laid out from its end (see the style), so that the newest words
/// are in view without a script.
#[component]
pub fn Transcript(state: State) -> impl IntoView {
    let log = NodeRef::<Div>::new();
    let last = move || {
        let of = |turn: &LiveTurn| (turn.key, turn.scores.is_some());
        state.conversation.turns.with(|turns| turns.last().map(of))
    };
    // Whoever asks wants to see the answer, wherever they had read.
    Effect::new(move |before: Option<Option<(usize, bool)>>| {
        let last = last();
        if before.is_some_and(|before| before != last)
            && let Some(log) = log.get_untracked()
        {
            log.set_scroll_top(0); // its end: the log is laid out from there
            if let Some((_, true)) = last {
                // Of a list that is longer than the log, the best is in front.
                request_animation_frame(move || {
                    if let Ok(Some(turn)) = log.query_selector(".turn:last-of-type") {
                        turn.scroll_into_view_with_bool(true);
                    }
                });
            }
        }
        last
    });
    view! {
        <div class="log" role="log" aria-label=t("conversation") aria-live="off" tabindex="0" node_ref=log>
            <div class="turns">
                <For each=move || state.conversation.turns.get() key=|turn: &LiveTurn| turn.key let(turn)>
                    <TurnArticle state turn/>
                </For>
                // Behind the last answer that came to its end.
                <Show when=move || state.conversation.has_turns() && !state.conversation.is_answering()>
                    <Suggestions state/>
                </Show>
            </div>
        </div>
    }
}
