//! Loads what the address names, and lays the page out.

use leptos::either::Either;
use leptos::ev;
use leptos::prelude::*;

use super::alert::Alert;
use super::composer::Composer;
use super::examples::Examples;
use super::header::Header;
use super::opening::{open_address, open_file};
use super::picture::Picture;
use super::transcript::Transcript;
use super::visit::Visit;
use super::welcome::Welcome;
use super::{address, asking, dom, from_address};
use crate::api::{self, PageState};

/// The page at its address, once its state is loaded. The server waits for
/// the state; the browser finds it in the HTML.
#[component]
pub fn Page() -> impl IntoView {
    let state = OnceResource::new(api::page_state(address::conversation(&address::current())));
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match state.await {
                    Ok(state) => Either::Left(view! { <Desk state/> }),
                    Err(error) => Either::Right(view! { <OutOfOrder message=error.message/> }),
                }
            })}
        </Suspense>
    }
}

/// The picture on one side, the conversation on the other.
#[component]
fn Desk(state: PageState) -> impl IntoView {
    let visit = Visit::new(&state);
    let over = RwSignal::new(false);
    Effect::new(move || listen(visit, over));
    // The picture gets its room at once, while the visitor expects the page to move.
    let begun = move || visit.opening.with(Option::is_some) || visit.picture.with(Option::is_some);
    view! {
        <div class="page" data-begun=move || begun().then_some("")>
            <Header visit model=state.model.clone() settings=state.settings/>
            <main class="desk">
                <div class="side">
                    <Picture visit over/>
                    <Examples visit examples=state.examples/>
                </div>
                <section class="chat">
                    <div class="said">
                        <Show when=move || visit.turns.with(Vec::is_empty)>
                            <Welcome model=state.model.clone()/>
                        </Show>
                        <Transcript visit/>
                    </div>
                    <Alert visit/>
                    <Composer visit draft=state.draft draft_address=state.draft_address/>
                </section>
            </main>
        </div>
    }
}

/// Takes the page over from the server: what the pieces cannot hear themselves.
fn listen(visit: Visit, over: RwSignal<bool>) {
    if address::current() == "/ask" {
        visit.conversation.with_untracked(|id| address::correct(id.as_ref()));
    }
    asking::take_up(visit);
    window_event_listener(ev::popstate, move |_| visit.travel());
    window_event_listener(ev::paste, move |event| {
        let text = dom::pasted_text(event.clipboard_data());
        let takes_text = dom::takes_text(event.target());
        if let Some(file) = dom::transferred_file(event.clipboard_data()) {
            // Word and Excel put a picture of the text beside it.
            if takes_text && !text.is_empty() && !dom::names_file(&text, &file.name()) {
                return;
            }
            event.prevent_default();
            open_file(visit, file);
        } else if address::is_web(&text) && !takes_text {
            from_address::offer(visit, &text);
        }
    });
    // A file or link that misses the drop zone would replace the page.
    window_event_listener(ev::dragover, move |event| {
        let shows = dom::carries(event.data_transfer(), &["Files", "text/uri-list", "text/x-moz-url"]);
        let is_taken = dom::carries(event.data_transfer(), &["Files"]) || may_be_address(visit, &event);
        if is_taken {
            event.prevent_default();
        }
        over.set(is_taken && shows);
    });
    window_event_listener(ev::dragleave, move |event| {
        if event.related_target().is_none() {
            over.set(false);
        }
    });
    window_event_listener(ev::drop, move |event| {
        over.set(false);
        if let Some(file) = dom::transferred_file(event.data_transfer()) {
            event.prevent_default();
            open_file(visit, file);
        } else if may_be_address(visit, &event) {
            event.prevent_default();
            let address = event
                .data_transfer()
                .and_then(|data| address::dragged(|format| dom::dragged_text(&data, format)));
            if let Some(address) = address {
                open_address(visit, address);
            }
        }
    });
    dom::mark_hydrated();
}

/// Whether what is dragged may be a picture's address. Until it is dropped a browser says
/// its formats only. Text that is dropped where text is typed stays text.
fn may_be_address(visit: Visit, event: &ev::DragEvent) -> bool {
    visit.takes_addresses
        && !dom::takes_text(event.target())
        && dom::carries(
            event.data_transfer(),
            &["text/uri-list", "text/x-moz-url", "text/plain"],
        )
}

/// In the place of a page that could not be loaded.
#[component]
fn OutOfOrder(message: String) -> impl IntoView {
    view! {
        <main class="lost">
            <h1>"Glimpse"</h1>
            <p role="alert">{message}</p>
            <form method="get" action="/">
                <button type="submit">"New conversation"</button>
            </form>
        </main>
    }
}
