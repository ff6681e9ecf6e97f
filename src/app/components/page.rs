//! Loads what the address names, and lays the page out.

use leptos::either::Either;
use leptos::ev;
use leptos::prelude::*;

use super::alert::{Alert, Outdated};
use super::camera::Camera;
use super::composer::Composer;
use super::dropping::Dropping;
use super::examples::{Examples, ExamplesFloat};
use super::header::Header;
use super::history::History;
use super::icon::MARK;
use super::keys::{self, Keys};
use super::paste_and_drop::listen;
use super::picture::Picture;
use super::settings::Settings;
use super::share::Share;
use super::transcript::Transcript;
use super::welcome::Welcome;
use crate::api::{self, Base, PageState, Theme, drawn, t, t_count};
use crate::app::actions::{arrive, travel};
use crate::app::browser::{self, history};
use crate::app::state::{LiveTurn, State};

/// The page at its address, once its state is loaded. The server waits for
/// the state; the browser finds it in the HTML.
#[component]
pub fn Page() -> impl IntoView {
    let page = OnceResource::new(api::page_state(history::conversation(&history::current())));
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(page) => Either::Left(view! { <Desk page/> }),
                    Err(error) => Either::Right(view! { <OutOfOrder message=error.message/> }),
                }
            })}
        </Suspense>
    }
}

/// The picture on one side, the conversation on the other; all in one column before there is a picture.
#[component]
fn Desk(page: PageState) -> impl IntoView {
    let state = State::new(&page);
    let over = RwSignal::new(false);
    // Takes the page over from the server.
    Effect::new(move || {
        if matches!(history::current().as_str(), "/ask" | "/share") {
            state.conversation.id.with_untracked(|id| history::correct(id.as_ref()));
        }
        arrive(state);
        listen(state, over);
        keys::listen(state);
        // Where no cookie came along, the document's own script has found what was chosen.
        browser::theme::show(Theme::current());
        window_event_listener(ev::popstate, move |_| travel(state));
        browser::mark_hydrated();
    });
    // The picture gets its room at once, while the visitor expects the page to move.
    let is_opening = move || state.opening.is_open() || state.opening.kept.with(Option::is_some);
    let begun = Memo::new(move |_| is_opening() || state.conversation.picture.with(Option::is_some));
    let branding = page.branding;
    let examples = StoredValue::new(page.examples);
    let description = StoredValue::new(branding.description);
    let settings_are_open = RwSignal::new(false);
    view! {
        <div class="page" data-begun=move || begun.get().then_some("")>
            <Header state title=branding.title settings_are_open/>
            <main class="desk">
                <Picture state is_begun=begun/>
                <section class="chat">
                    <div class="said">
                        <p class="replaced" hidden=move || !state.opening.has_replaced.get()>{t("picture.replaced")}</p>
                        <Show when=move || state.conversation.turns.with(Vec::is_empty)>
                            <Welcome state is_begun=begun description=description.get_value()/>
                        </Show>
                        <Transcript state/>
                    </div>
                    // Afterwards they are behind a button.
                    <Show when=move || !begun.get()>
                        <Examples state examples=examples.get_value()/>
                    </Show>
                    <Outdated state/>
                    <Alert state/>
                    <p class="hint left">{move || left(state)}</p>
                    <Composer state is_begun=begun/>
                    {page.may_set_up.then(|| view! {
                        <p class="notice set-up"><a href=Base::current().at("/setup")>{drawn("setting.set_up")}</a></p>
                    })}
                    {branding.notice.map(|notice| view! { <p class="notice">{notice}</p> })}
                </section>
            </main>
            <p class="unseen" role="status">{move || state.progress.get()}</p>
        </div>
        <Settings state is_open=settings_are_open/>
        <History state/>
        <Share state/>
        <Keys/>
        <Camera/>
        <Show when=move || begun.get()>
            <ExamplesFloat state examples=examples.get_value()/>
        </Show>
        <Show when=move || over.get()><Dropping/></Show>
    }
}

/// How many more questions fit, where they are few.
fn left(state: State) -> Option<String> {
    // Each answer counts, on branches that are not shown too.
    let answers = |turn: &LiveTurn| turn.all().map(|turn| 1 + turn.earlier.len()).sum::<usize>();
    let asked = state.conversation.all.with(|turns| turns.iter().map(answers).sum());
    match state.limits.turns.saturating_sub(asked) {
        0 => Some(t("left.full").to_owned()),
        left @ 1..=3 => Some(t_count("left", left, &[])),
        _ => None,
    }
}

/// In the place of a page that could not be loaded.
#[component]
fn OutOfOrder(message: String) -> impl IntoView {
    view! {
        <main class="lost">
            <div inner_html=MARK></div>
            <h1>"Glimpse"</h1>
            <p role="alert">{message}</p>
            <form method="get" action=Base::current().at("/")>
                <button type="submit">{t("conversation.new")}</button>
            </form>
        </main>
    }
}
