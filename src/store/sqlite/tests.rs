//! The store in folders of the tests' own.

mod crash;
mod import;
mod model;
mod queries;

use std::path::Path;
use std::time::Duration;

use sqlx::Executor;

use super::eviction::MOST_GONE_AT_ONCE;
use super::*;
use crate::chat::{AnswerState, Error, FinishReason, Secret, Settings, ShareId, TextScore, Timings};
use crate::store::Limits;

const ROOMY: Limits = Limits {
    conversations: 1000,
    conversations_per_visitor: 100,
    bytes_per_visitor: 1 << 30,
    bytes: 1 << 40,
    age: None,
    turns: 100,
};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is a folder for tests")
}

async fn open(folder: &Path) -> SqliteStore {
    SqliteStore::in_folder(folder.to_path_buf(), &ROOMY)
        .await
        .expect("the folder is ours")
}

fn visitor() -> VisitorId {
    Secret::random().visitor()
}

/// A picture whose hash is this number's, of 3 + 7 bytes.
fn picture(number: u8) -> NewPicture {
    NewPicture {
        id: PictureId([number; 32]),
        width: 640,
        height: 480,
        file: Bytes::from(vec![number; 3]),
        preview: Bytes::from_static(b"preview"),
    }
}

async fn begin_within(store: &SqliteStore, owner: VisitorId, number: u8, limits: &Limits) -> (ConversationId, Evicted) {
    store.keep_picture(picture(number)).await.expect("there is room");
    let new = NewConversation::about(picture(number).id, owner);
    let evicted = store.begin_conversation(&new, limits).await.expect("it is kept");
    (new.id, evicted)
}

async fn begin(store: &SqliteStore, owner: VisitorId, number: u8) -> ConversationId {
    begin_within(store, owner, number, &ROOMY).await.0
}

fn running() -> Answer {
    let settings = Settings {
        num_beams: Some(5.0),
        ..Settings::default()
    };
    Answer::begun("demo".into(), settings)
}

fn turn(question: &str) -> Turn {
    Turn {
        id: TurnId::random(),
        parent: None,
        question: question.into(),
        answers: vec![running()],
    }
}

/// The same answer at its end.
fn done(answer: &Answer, text: &str) -> Answer {
    Answer {
        prompt: Some("Question: what? Answer:".into()),
        text: text.into(),
        token_ids: vec![0, 7, u32::MAX],
        further_texts: vec!["a cat".into(), "  ".into()],
        scores: Some(vec![TextScore {
            text: "a \"cat\"".into(),
            probability: 0.1,
            cosine: -1.0 / 3.0,
        }]),
        seed: Some(u64::MAX),
        timings: Some(Timings {
            queued: 0.5,
            total: 1e3 / 3.0,
            ..Timings::default()
        }),
        state: AnswerState::Done(FinishReason::Stop),
        ..answer.clone()
    }
}

/// Asks and answers.
async fn say(store: &SqliteStore, conversation: &ConversationId, question: &str) -> Turn {
    let mut turn = turn(question);
    store.begin_turn(conversation, &turn).await.expect("it is free");
    turn.answers[0] = done(&turn.answers[0], "two cats");
    store.save_answer(&turn.answers[0]).await.expect("it is there");
    turn
}

async fn is_kept(store: &SqliteStore, id: &ConversationId) -> bool {
    match store.conversation(id).await {
        Ok(_) => true,
        Err(StoreError::NotFound) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The picture files of a folder, by name.
fn files(folder: &Path) -> Vec<String> {
    let below = |path: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).expect("it is there");
        entries.map(|entry| entry.expect("it can be read").path()).collect()
    };
    let mut names: Vec<String> = below(&folder.join("pictures"))
        .iter()
        .flat_map(|folder| below(folder))
        .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_said_is_there_after_a_restart() {
    let folder = folder();
    let store = open(folder.path()).await;
    let owner = visitor();
    let id = begin(&store, owner, 1).await;
    let first = say(&store, &id, "what?").await;
    let mut second = turn("");
    second.parent = Some(first.id.clone());
    store.begin_turn(&id, &second).await.expect("it is free");
    second.answers[0].state = AnswerState::Failed(Error::TooSlow { seconds: 600 });
    second.answers[0].text = "a pho".into();
    store.save_answer(&second.answers[0]).await.expect("it is there");
    let again = running();
    store.begin_answer(&second.id, &again).await.expect("it is free");
    second.answers.push(done(&again, "a photo of\n\"two\" cats \u{1f408}"));
    store.save_answer(&second.answers[1]).await.expect("it is there");

    let before = store.conversation(&id).await.expect("it is kept");
    assert_eq!(before.turns, [first, second]);
    assert_eq!(store.owner(&id).await.expect("it is kept"), owner);
    assert_eq!(
        (before.owner, before.picture.width, before.picture.height),
        (owner, 640, 480)
    );
    store.close().await;
    drop(store);

    let store = open(folder.path()).await;
    assert_eq!(store.conversation(&id).await.expect("it is kept"), before);
    assert_eq!(
        store.picture(&before.picture.id).await.expect("it is kept"),
        picture(1).file
    );
    assert_eq!(
        store.preview(&before.picture.preview).await.expect("it is kept"),
        picture(1).preview
    );
    assert!(matches!(
        store.preview(&PreviewKey::random()).await,
        Err(StoreError::NotFound)
    ));
    store.close().await;
}

#[tokio::test]
async fn an_answer_that_was_cut_off_keeps_its_beginning_and_says_so() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    let mut cut_off = turn("what?");
    store.begin_turn(&id, &cut_off).await.expect("it is free");
    cut_off.answers[0].text = "two ".into();
    store.save_answer(&cut_off.answers[0]).await.expect("it is there");
    store.close().await;
    drop(store);

    let store = open(folder.path()).await;
    cut_off.answers[0].state = AnswerState::Done(FinishReason::Interrupted);
    assert_eq!(
        store.conversation(&id).await.expect("it is kept").turns,
        [cut_off.clone()]
    );
    store
        .begin_answer(&cut_off.id, &running())
        .await
        .expect("it can be asked for again");
    store.close().await;
}

#[tokio::test]
async fn one_answer_at_a_time_and_not_too_many() {
    let folder = folder();
    let limits = Limits { turns: 2, ..ROOMY };
    let store = SqliteStore::in_folder(folder.path().into(), &limits)
        .await
        .expect("the folder is ours");
    let id = begin(&store, visitor(), 1).await;
    let first = turn("one");
    store.begin_turn(&id, &first).await.expect("it is free");
    let refused = store.begin_turn(&id, &turn("two")).await;
    assert!(matches!(refused, Err(StoreError::TurnInProgress)));
    let refused = store.begin_answer(&first.id, &running()).await;
    assert!(matches!(refused, Err(StoreError::TurnInProgress)));
    store
        .save_answer(&done(&first.answers[0], "1"))
        .await
        .expect("it is there");
    say(&store, &id, "two").await;
    let refused = store.begin_turn(&id, &turn("three")).await;
    assert!(matches!(refused, Err(StoreError::TooManyTurns { limit: 2 })));
    let refused = store.begin_answer(&first.id, &running()).await;
    assert!(matches!(refused, Err(StoreError::TooManyTurns { limit: 2 })));
    assert_eq!(store.conversation(&id).await.expect("it is kept").turns.len(), 2);
    store.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let folder = folder();
    let store = open(folder.path()).await;
    let [here, elsewhere] = [begin(&store, visitor(), 1).await, begin(&store, visitor(), 2).await];
    let mut stray = turn("and?");
    stray.parent = Some(say(&store, &elsewhere, "what?").await.id);
    let nowhere = NewConversation::about(picture(3).id, visitor());
    let not_found = [
        store.begin_turn(&here, &stray).await,
        store.begin_turn(&ConversationId::random(), &turn("?")).await,
        store.begin_answer(&TurnId::random(), &running()).await,
        store.save_answer(&running()).await,
        store.conversation(&ConversationId::random()).await.map(drop),
        store.owner(&ConversationId::random()).await.map(drop),
        store.begin_conversation(&nowhere, &ROOMY).await.map(drop),
    ];
    for (index, result) in not_found.into_iter().enumerate() {
        assert!(matches!(result, Err(StoreError::NotFound)), "{index}: {result:?}");
    }
    let id = picture(3).id;
    let no_file = store.picture(&id).await;
    assert!(matches!(no_file, Err(StoreError::NoPictureFile { picture }) if picture == id));
    assert_eq!(store.conversation(&here).await.expect("it is kept").turns, []);
    store.close().await;
}

#[tokio::test]
async fn what_comes_late_of_an_answer_does_not_undo_its_end() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    let said = say(&store, &id, "what?").await;
    let mut late = said.answers[0].clone();
    (late.text, late.state) = ("tw".into(), AnswerState::Running);
    store.save_answer(&late).await.expect("it is there");
    store.save_answer(&said.answers[0]).await.expect("it is there");
    assert_eq!(store.conversation(&id).await.expect("it is kept").turns, [said]);
    store.close().await;
}

#[tokio::test]
async fn a_visitor_with_too_much_loses_his_own_oldest() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        conversations_per_visitor: 3,
        ..ROOMY
    };
    let (greedy, other) = (visitor(), visitor());
    let others = begin_within(&store, other, 9, &limits).await.0;
    let mut own = Vec::new();
    for number in 0..3 {
        own.push(begin_within(&store, greedy, number, &limits).await.0);
    }
    store
        .begin_turn(&own[0], &turn("still coming"))
        .await
        .expect("it is free");
    say(&store, &own[1], "used since").await;
    let (_, evicted) = begin_within(&store, greedy, 3, &limits).await;
    assert_eq!((evicted.own, evicted.others), (vec![own[2].clone()], vec![]));
    for number in 4..40 {
        let (_, evicted) = begin_within(&store, greedy, number, &limits).await;
        assert_eq!(evicted.others, []);
    }
    assert!(is_kept(&store, &others).await);
    assert!(is_kept(&store, &own[0]).await, "its answer is being given");
    let usage = store.usage(&greedy).await.expect("it can be counted");
    assert_eq!((usage.conversations, usage.bytes), (3, 30));
    store.close().await;
}

#[tokio::test]
async fn a_visitors_pictures_are_bounded_in_bytes() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        bytes_per_visitor: 45,
        ..ROOMY
    };
    let owner = visitor();
    let mut own = Vec::new();
    for number in 0..4 {
        own.push(begin_within(&store, owner, number, &limits).await.0);
    }
    let larger = NewPicture {
        file: Bytes::from(vec![0; 18]),
        ..picture(5)
    };
    store.keep_picture(larger.clone()).await.expect("there is room");
    let new = NewConversation::about(larger.id, owner);
    let evicted = store.begin_conversation(&new, &limits).await.expect("it is kept");
    assert_eq!(evicted.own, own[..2], "25 bytes more need 20 less than 40");
    let largest = NewPicture {
        file: Bytes::from(vec![0; 39]),
        ..picture(6)
    };
    store.keep_picture(largest.clone()).await.expect("there is room");
    let too_large = NewConversation::about(largest.id, owner);
    let refused = store.begin_conversation(&too_large, &limits).await;
    assert!(matches!(refused, Err(StoreError::VisitorFull { bytes: 46, limit: 45 })));
    assert!(store.picture(&largest.id).await.is_err());
    let usage = store.usage(&owner).await.expect("it can be counted");
    assert_eq!((usage.conversations, usage.bytes), (3, 45));
    store.close().await;
}

#[tokio::test]
async fn a_flood_from_visitors_made_up_for_it_drives_out_itself() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        conversations: 40,
        ..ROOMY
    };
    let mut decent = Vec::new();
    for _ in 0..30 {
        let (id, _) = begin_within(&store, visitor(), 1, &limits).await;
        say(&store, &id, "what?").await;
        decent.push(id);
    }
    for _ in 0..100 {
        begin_within(&store, visitor(), 2, &limits).await;
    }
    for id in &decent {
        assert!(is_kept(&store, id).await);
    }
    // Without one, the oldest goes, and who has just put in a picture can ask.
    let (asking, _) = begin_within(&store, visitor(), 1, &limits).await;
    for _ in 0..9 {
        let (id, _) = begin_within(&store, visitor(), 1, &limits).await;
        say(&store, &id, "what?").await;
    }
    assert!(is_kept(&store, &asking).await);
    store.close().await;
}

#[tokio::test]
async fn a_lower_limit_takes_nothing_at_the_start_and_little_at_once() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mut all = Vec::new();
    for number in 0..6 {
        all.push(begin(&store, visitor(), number).await);
    }
    store.close().await;
    drop(store);
    let limits = Limits {
        conversations: 1,
        conversations_per_visitor: 1,
        ..ROOMY
    };
    let store = SqliteStore::in_folder(folder.path().into(), &limits)
        .await
        .expect("the folder is ours");
    for id in &all {
        assert!(is_kept(&store, id).await);
    }
    let (_, evicted) = begin_within(&store, visitor(), 7, &limits).await;
    assert_eq!(evicted.others, all[..2]);
    store.close().await;
}

/// A conversation about a picture of a megabyte, which something was asked about.
async fn begin_large(store: &SqliteStore, number: u8, limits: &Limits) -> (ConversationId, Evicted) {
    let large = NewPicture {
        file: Bytes::from(vec![number; 1_000_000]),
        ..picture(number)
    };
    store.keep_picture(large.clone()).await.expect("there is room");
    let new = NewConversation::about(large.id, visitor());
    let evicted = store.begin_conversation(&new, limits).await.expect("it is kept");
    say(store, &new.id, "what?").await;
    (new.id, evicted)
}

#[tokio::test]
async fn what_is_kept_of_all_visitors_is_bounded_in_bytes() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        bytes: 3_900_000,
        ..ROOMY
    };
    let mut all = Vec::new();
    for number in 0..3 {
        let (id, evicted) = begin_large(&store, number, &limits).await;
        assert_eq!(evicted, Evicted::default());
        all.push(id);
    }
    say(&store, &all[0], "used since").await;
    let (_, evicted) = begin_large(&store, 3, &limits).await;
    assert_eq!(evicted.others, all[1..2], "the one used longest ago, and no more");
    assert_eq!(files(folder.path()).len(), 2 * 3, "its picture is off the disk");
    // The same picture once more takes no room.
    let (_, evicted) = begin_within(&store, visitor(), 3, &limits).await;
    assert_eq!(evicted.others, []);
    let too_large = NewPicture {
        file: Bytes::from(vec![9; 4_000_000]),
        ..picture(9)
    };
    store.keep_picture(too_large.clone()).await.expect("there is room");
    let new = NewConversation::about(too_large.id, visitor());
    let refused = store.begin_conversation(&new, &limits).await;
    assert!(matches!(refused, Err(StoreError::Full { limit: 3_900_000, .. })));
    assert!(is_kept(&store, &all[0]).await, "nothing went for it");
    store.close().await;
}

#[tokio::test]
async fn a_lower_bound_of_bytes_takes_little_at_once() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mut all = Vec::new();
    for number in 0..6 {
        all.push(begin_large(&store, number, &ROOMY).await.0);
    }
    let limits = Limits {
        bytes: 1_500_000,
        ..ROOMY
    };
    let (_, evicted) = begin_large(&store, 6, &limits).await;
    assert_eq!(evicted.others, all[..MOST_GONE_AT_ONCE]);
    store.close().await;
}

#[tokio::test]
async fn what_was_not_used_for_too_long_goes_before_anything_else_and_not_at_the_start() {
    let folder = folder();
    let store = open(folder.path()).await;
    let owner = visitor();
    let mut own = Vec::new();
    for number in 0..3 {
        own.push(begin(&store, owner, number).await);
    }
    set(&store, "UPDATE conversation SET updated = 1 + rowid").await;
    store.close().await;
    drop(store);

    let limits = Limits {
        age: Some(std::time::Duration::from_secs(24 * 3600)),
        conversations_per_visitor: 3,
        ..ROOMY
    };
    let store = SqliteStore::in_folder(folder.path().into(), &limits)
        .await
        .expect("the folder is ours");
    for id in &own {
        assert!(is_kept(&store, id).await, "nothing goes at the start");
    }
    store
        .begin_turn(&own[1], &turn("still coming"))
        .await
        .expect("it is free");
    set(&store, "UPDATE conversation SET updated = 1 + rowid").await;
    say(&store, &own[0], "used since").await;
    let (_, evicted) = begin_within(&store, owner, 4, &limits).await;
    assert_eq!(evicted.aged, own[2..], "and room for a third is there then");
    assert_eq!((evicted.own, evicted.others), (vec![], vec![]));
    store.close().await;
}

#[tokio::test]
async fn a_picture_is_kept_once_and_goes_with_its_last_conversation() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        conversations_per_visitor: 1,
        ..ROOMY
    };
    let (one, two) = (visitor(), visitor());
    let (first, _) = begin_within(&store, one, 1, &limits).await;
    // Another file of the same pixels.
    let again = NewPicture {
        file: Bytes::from_static(b"another file"),
        ..picture(1)
    };
    store.keep_picture(again.clone()).await.expect("there is room");
    let new = NewConversation::about(again.id, two);
    store.begin_conversation(&new, &limits).await.expect("it is kept");
    assert_eq!(files(folder.path()).len(), 2, "one picture, one preview");
    let [first, second] = [&first, &new.id].map(|id| store.conversation(id));
    let (first, second) = (first.await.expect("it is kept"), second.await.expect("it is kept"));
    assert_ne!(first.picture.preview, second.picture.preview, "keys tell nothing");
    let [first, second] = [store.usage(&one).await, store.usage(&two).await].map(|usage| usage.expect("it is counted"));
    assert_eq!((first.bytes, second.bytes), (10, 19), "to each what he put in");

    begin_within(&store, one, 2, &limits).await;
    assert_eq!(store.picture(&again.id).await.expect("it is in use"), again.file);
    begin_within(&store, two, 2, &limits).await;
    assert!(store.picture(&again.id).await.is_err());
    assert_eq!(files(folder.path()).len(), 2, "of the other picture");
    store.close().await;
}

#[tokio::test]
async fn a_picture_that_is_about_to_be_used_stays() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        conversations_per_visitor: 1,
        ..ROOMY
    };
    let owner = visitor();
    begin_within(&store, owner, 1, &limits).await;
    // Somebody else puts it in again, just before it goes.
    store.keep_picture(picture(1)).await.expect("there is room");
    begin_within(&store, owner, 2, &limits).await;
    let new = NewConversation::about(picture(1).id, visitor());
    store.begin_conversation(&new, &limits).await.expect("it is still kept");
    assert_eq!(
        store.preview(&new.preview).await.expect("it is kept"),
        picture(1).preview
    );
    store.close().await;
}

#[tokio::test]
async fn what_belongs_to_nothing_is_removed_after_a_start() {
    let folder = folder();
    let store = open(folder.path()).await;
    begin(&store, visitor(), 1).await;
    // A conversation never began about it; and files that were being written.
    store.keep_picture(picture(2)).await.expect("there is room");
    let unknown = folder.path().join("pictures/03");
    std::fs::create_dir(&unknown).expect("it is ours");
    for suffix in ["", ".preview.jpg", "#1"] {
        let name = format!("{}{suffix}", picture(3).id);
        std::fs::write(unknown.join(name), "").expect("it is ours");
    }
    store.close().await;
    drop(store);
    let mut store = open(folder.path()).await;
    (&mut store.tidying).await.expect("it does not panic");
    let left = files(folder.path());
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|name| name.starts_with(&picture(1).id.to_string())));
    store.close().await;
}

#[tokio::test]
async fn what_is_nobodys_belongs_to_who_comes_first() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, VisitorId::NOBODY, 1).await;
    let (first, second) = (visitor(), visitor());
    store.adopt(&id, &first).await.expect("it is nobody's");
    store.adopt(&id, &first).await.expect("it is his");
    assert!(matches!(store.adopt(&id, &second).await, Err(StoreError::NotFound)));
    assert_eq!(store.conversation(&id).await.expect("it is kept").owner, first);
    store.close().await;
}

/// Sets something of the connection that writes.
async fn set(store: &SqliteStore, pragma: &'static str) {
    let mut connection = store.inner.writer(Durability::PowerCut).await.expect("it is open");
    connection.execute(pragma).await.expect("it is no write");
}

#[test]
fn a_clock_that_is_set_back_or_forward_never_gives_the_same_twice_nor_goes_back() {
    let clock = Clock::after(1000);
    let said = [2000, 2000, 500, 0, 2001, 900_000, 1999, 900_001, 900_010];
    let given = said.map(|now| clock.next_at(now));
    let expected = [2000, 2001, 2002, 2003, 2004, 900_000, 900_001, 900_002, 900_010];
    assert_eq!(given, expected);
}

#[tokio::test]
async fn after_a_clock_that_ran_ahead_what_comes_later_is_still_the_later() {
    let folder = folder();
    let limits = Limits {
        conversations_per_visitor: 2,
        age: Some(Duration::from_secs(24 * 3600)),
        ..ROOMY
    };
    let owner = visitor();
    let store = open(folder.path()).await;
    let now = store.inner.clock.next();
    let (ahead, _) = begin_within(&store, owner, 1, &limits).await;
    // A year ahead, and set right again.
    store.inner.clock.next_at(now + 365 * 24 * 3600 * 1000);
    say(&store, &ahead, "what?").await;
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    let (later, evicted) = begin_within(&store, owner, 2, &limits).await;
    assert_eq!(evicted, Evicted::default(), "neither is old");
    let (latest, evicted) = begin_within(&store, owner, 3, &limits).await;
    assert_eq!((evicted.own, evicted.aged), (vec![ahead], vec![]), "the oldest went");
    for id in [later, latest] {
        say(&store, &id, "and?").await;
    }
    store.close().await;
}

#[tokio::test]
async fn after_a_clock_that_ran_ahead_ages_are_counted_from_when_it_was_set_right() {
    const HOUR: i64 = 3600 * 1000;
    let folder = folder();
    let limits = Limits {
        age: Some(Duration::from_secs(24 * 3600)),
        ..ROOMY
    };
    let owner = visitor();
    let store = open(folder.path()).await;
    let now = store.inner.clock.next();
    let (before, _) = begin_within(&store, owner, 1, &limits).await;
    let (ahead, _) = begin_within(&store, owner, 2, &limits).await;
    let (further, _) = begin_within(&store, owner, 3, &limits).await;
    store.inner.clock.next_at(now + 365 * 24 * HOUR);
    for id in [&ahead, &further] {
        say(&store, id, "what?").await;
    }
    // Set right again, while it runs.
    let (after, evicted) = begin_within(&store, owner, 4, &limits).await;
    assert_eq!(evicted, Evicted::default(), "what came before is not old");
    // A clock that was never set says nothing of others.
    let mut connection = store.inner.writer(Durability::PowerCut).await.expect("it is open");
    let unset = eviction::date_back(&mut connection, HOUR).await.expect("it can look");
    assert_eq!(unset, None);
    drop(connection);
    // A day later they go, those that were dated ahead too, and in their order.
    store.inner.clock.next_at(now + 25 * HOUR);
    let (_, evicted) = begin_within(&store, owner, 5, &limits).await;
    assert_eq!(evicted.aged, [before, ahead, further, after]);
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    let said = say(&store, &id, "what?").await;
    set(&store, "PRAGMA max_page_count = 1").await;
    let long = turn(&"how? ".repeat(20_000));
    let refused = store.begin_turn(&id, &long).await.expect_err("there is no room");
    assert!(matches!(refused, StoreError::DiskFull(_)), "{refused:?}");
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    let turns = store.conversation(&id).await.expect("it is kept").turns;
    assert_eq!(turns, std::slice::from_ref(&said));
    set(&store, "PRAGMA max_page_count = 1000000").await;
    store.begin_turn(&id, &long).await.expect("there is room again");
    assert_eq!(store.conversation(&id).await.expect("it is kept").turns, [said, long]);
    store.close().await;
}

#[tokio::test]
async fn the_end_of_an_answer_that_a_disk_refused_is_held_until_it_takes_it() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    for (forbid, allow) in [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"),
    ] {
        let mut turn = turn("what?");
        store.begin_turn(&id, &turn).await.expect("it is free");
        set(&store, forbid).await;
        turn.answers[0] = done(&turn.answers[0], &"cats ".repeat(20_000));
        let refused = store.save_answer(&turn.answers[0]).await.expect_err("it is not taken");
        assert!(
            matches!(refused, StoreError::ReadOnly(_) | StoreError::DiskFull(_)),
            "{refused:?}"
        );
        let last = |conversation: Conversation| conversation.turns.last().cloned();
        assert_eq!(
            last(store.conversation(&id).await.expect("it is kept")),
            Some(turn.clone())
        );
        set(&store, allow).await;
        // And one more is asked, as if nothing had been.
        say(&store, &id, "and?").await;
        assert!(store.conversation(&id).await.expect("it is kept").turns.contains(&turn));
    }
    let before = store.conversation(&id).await.expect("it is kept");
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.conversation(&id).await.expect("it is kept"), before);
    store.close().await;
}

#[tokio::test]
async fn an_end_that_is_held_is_no_answer_that_runs() {
    let folder = folder();
    let store = open(folder.path()).await;
    let [id, removed] = [begin(&store, visitor(), 1).await, begin(&store, visitor(), 2).await];
    let [mut kept, gone] = [turn("what?"), turn("what?")];
    store.begin_turn(&id, &kept).await.expect("it is free");
    store.begin_turn(&removed, &gone).await.expect("it is free");
    set(&store, "PRAGMA query_only = ON").await;
    kept.answers[0] = done(&kept.answers[0], "two cats");
    for end in [&kept.answers[0], &done(&gone.answers[0], "one cat")] {
        store.save_answer(end).await.expect_err("it is not taken");
    }
    set(&store, "PRAGMA query_only = OFF").await;
    assert_eq!(store.conversation(&id).await.expect("it is kept").turns, [kept]);
    store.remove(&removed).await.expect("its answer has ended");
    assert!(!is_kept(&store, &removed).await);
    store.close().await;
}

#[tokio::test]
async fn an_end_that_is_held_keeps_no_conversation_from_making_room() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        conversations_per_visitor: 1,
        ..ROOMY
    };
    let owner = visitor();
    let id = begin(&store, owner, 1).await;
    let turn = turn("what?");
    store.begin_turn(&id, &turn).await.expect("it is free");
    set(&store, "PRAGMA query_only = ON").await;
    let end = done(&turn.answers[0], "two cats");
    store.save_answer(&end).await.expect_err("it is not taken");
    set(&store, "PRAGMA query_only = OFF").await;
    let (_, evicted) = begin_within(&store, owner, 2, &limits).await;
    assert_eq!(evicted.own, [id]);
    store.close().await;
}

#[tokio::test]
async fn whoever_reads_does_not_wait_for_a_write() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    let mut connection = store.inner.writer(Durability::PowerCut).await.expect("it is open");
    let mut writing = connection.begin_with(BEGIN).await.expect("it is free");
    write::touch(&mut writing, &id, 1).await.expect("it is there");
    assert_eq!(store.conversation(&id).await.expect("it is kept").turns, []);
    writing.commit().await.expect("there is room");
    drop(connection);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_questions_that_come_at_once_one_is_taken() {
    let folder = folder();
    let store = Arc::new(open(folder.path()).await);
    let id = begin(&store, visitor(), 1).await;
    let ask = |number: usize| {
        let (store, id) = (Arc::clone(&store), id.clone());
        tokio::spawn(async move { store.begin_turn(&id, &turn(&number.to_string())).await })
    };
    let mut taken = 0;
    for asked in (0..16).map(ask).collect::<Vec<_>>() {
        match asked.await.expect("it does not panic") {
            Ok(()) => taken += 1,
            Err(error) => assert!(matches!(error, StoreError::TurnInProgress), "{error}"),
        }
    }
    assert_eq!(taken, 1);
    assert_eq!(store.conversation(&id).await.expect("it is kept").turns.len(), 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_stays_whole_while_visitors_come_and_go_with_it() {
    let folder = folder();
    let store = Arc::new(open(folder.path()).await);
    let limits = Limits {
        conversations_per_visitor: 1,
        ..ROOMY
    };
    let visit = |number: u8| {
        let (store, owner) = (Arc::clone(&store), visitor());
        tokio::spawn(async move {
            for round in 0..12 {
                // Each about the same two pictures in turn, so that each goes again and again.
                let (id, _) = begin_within(&store, owner, (round + number) % 2, &limits).await;
                let picture = store.conversation(&id).await.expect("it is kept").picture;
                store.picture(&picture.id).await.expect("it is in use");
                store.preview(&picture.preview).await.expect("it is in use");
            }
        })
    };
    for visited in (0..4).map(visit).collect::<Vec<_>>() {
        visited.await.expect("each finds what he put in");
    }
    assert_eq!(files(folder.path()).len(), 4);
    store.close().await;
}

#[tokio::test]
async fn a_picture_that_cannot_be_written_is_an_error_and_the_rest_goes_on() {
    let folder = folder();
    let store = open(folder.path()).await;
    // What is in the way is no folder.
    std::fs::write(folder.path().join("pictures/02"), "").expect("it is ours");
    let refused = store.keep_picture(picture(2)).await.expect_err("it cannot be written");
    assert!(matches!(refused, StoreError::Disk(_)), "{refused:?}");
    begin(&store, visitor(), 1).await;
    store.close().await;
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_as_it_is() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'from the future', 0, TRUE, x'00', 0)")
        .execute(&store.inner.writer)
        .await
        .expect("it is ours");
    store.close().await;
    drop(store);
    let refused = SqliteStore::in_folder(folder.path().into(), &ROOMY).await.err();
    let refused = refused.expect("it is newer");
    let sentence = refused.to_string();
    assert!(
        sentence.contains("newer Glimpse") && sentence.contains("--data"),
        "{sentence}"
    );

    let database = sqlx::SqlitePool::connect(&format!("sqlite://{}/glimpse.sqlite", folder.path().display()))
        .await
        .expect("it is there");
    let key = id.as_str();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM conversation WHERE id = ?")
        .bind(key)
        .fetch_one(&database)
        .await
        .expect("it is as it was");
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn what_is_no_database_is_said_to_be_damaged_and_left_as_it_is() {
    let folder = folder();
    let file = folder.path().join("glimpse.sqlite");
    std::fs::write(
        &file,
        "something else, and longer than a header of a hundred bytes. ".repeat(9),
    )
    .expect("it is ours");
    let before = std::fs::read(&file).expect("it is there");
    let refused = SqliteStore::in_folder(folder.path().into(), &ROOMY).await.err();
    let sentence = refused.expect("it is no database").to_string();
    assert!(
        sentence.contains("damaged") && sentence.contains("--data"),
        "{sentence}"
    );
    assert_eq!(std::fs::read(&file).expect("it is there"), before);
}

#[tokio::test]
async fn a_folder_is_one_stores_until_it_is_closed() {
    let folder = folder();
    let store = open(folder.path()).await;
    let taken = SqliteStore::in_folder(folder.path().into(), &ROOMY).await.err();
    let taken = taken.expect("it is in use").to_string();
    assert!(taken.contains("another Glimpse") && taken.contains("--data"), "{taken}");
    store.close().await;
    open(folder.path()).await.close().await;
    let closed = store.conversation(&ConversationId::random()).await;
    assert!(matches!(closed, Err(StoreError::Closed)), "{closed:?}");
}

#[tokio::test]
async fn a_temporary_store_leaves_nothing() {
    let parent = folder();
    let store = SqliteStore::temporary(parent.path().into(), &ROOMY)
        .await
        .expect("it is made");
    let id = begin(&store, visitor(), 1).await;
    say(&store, &id, "what?").await;
    assert!(store.folder().exists() && is_kept(&store, &id).await);
    store.close().await;
    let left = std::fs::read_dir(parent.path()).expect("it is there").count();
    assert_eq!(left, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_on_the_machine_reads_what_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    std::fs::write(folder.path().join("other.txt"), "").expect("it is ours");
    let store = open(folder.path()).await;
    begin(&store, visitor(), 1).await;
    for name in ["glimpse.sqlite", "glimpse.sqlite-wal", "pictures"] {
        let metadata = std::fs::metadata(folder.path().join(name)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{name}");
    }
    store.close().await;
}

#[tokio::test]
async fn what_was_forgotten_is_not_in_the_file() {
    let folder = folder();
    let store = open(folder.path()).await;
    let limits = Limits {
        conversations_per_visitor: 1,
        ..ROOMY
    };
    let owner = visitor();
    let (id, _) = begin_within(&store, owner, 1, &limits).await;
    say(&store, &id, "a secret that nobody must find").await;
    begin_within(&store, owner, 2, &limits).await;
    store.close().await;
    let file = std::fs::read(folder.path().join("glimpse.sqlite")).expect("it is there");
    assert!(!file.windows(8).any(|bytes| bytes == b"a secret"));
    assert!(!folder.path().join("glimpse.sqlite-wal").exists());
}

#[tokio::test]
async fn a_secret_is_not_kept() {
    let folder = folder();
    let store = open(folder.path()).await;
    let secret = Secret::random();
    begin(&store, secret.visitor(), 1).await;
    store.close().await;
    let file = std::fs::read(folder.path().join("glimpse.sqlite")).expect("it is there");
    let secret = secret.expose().as_bytes();
    assert!(!file.windows(secret.len()).any(|bytes| bytes == secret));
}

#[tokio::test]
async fn what_is_shared_is_what_led_to_its_last_turn_and_nothing_that_came_later() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    let first = say(&store, &id, "what?").await;
    let mut beside = turn("another branch?");
    beside.parent = Some(first.id.clone());
    store.begin_turn(&id, &beside).await.expect("it is free");
    store
        .save_answer(&done(&beside.answers[0], "no"))
        .await
        .expect("it is there");
    let mut second = turn("and then?");
    second.parent = Some(first.id.clone());
    store.begin_turn(&id, &second).await.expect("it is free");
    let share = ShareId::random();
    let early = store.share(&share.key(), &id, &second.id).await;
    assert!(
        matches!(early, Err(StoreError::TurnInProgress)),
        "what comes of it would be said later"
    );
    second.answers[0] = done(&second.answers[0], "two dogs");
    store.save_answer(&second.answers[0]).await.expect("it is there");
    store.share(&share.key(), &id, &second.id).await.expect("it is idle");
    let again = running();
    store.begin_answer(&first.id, &again).await.expect("it is free");
    store
        .save_answer(&done(&again, "asked again later"))
        .await
        .expect("it is there");
    let mut later = turn("later?");
    later.parent = Some(second.id.clone());
    store.begin_turn(&id, &later).await.expect("it is free");
    let shared = store.shared(&share.key()).await.expect("it is shared");
    assert_eq!(shared.conversation.turns, [first, second]);
    assert_eq!(
        store.shared_preview(&share.key()).await.expect("it is shared"),
        &b"preview"[..]
    );
    store.unshare(&id).await.expect("it is there");
    assert!(matches!(store.shared(&share.key()).await, Err(StoreError::NotFound)));
    assert!(matches!(
        store.shared_preview(&share.key()).await,
        Err(StoreError::NotFound)
    ));
}

#[tokio::test]
async fn shares_and_feedback_go_with_their_conversation_and_an_address_is_not_kept() {
    let folder = folder();
    let store = open(folder.path()).await;
    let id = begin(&store, visitor(), 1).await;
    let said = say(&store, &id, "what?").await;
    let share = ShareId::random();
    store.share(&share.key(), &id, &said.id).await.expect("it is idle");
    let bad = Feedback {
        is_good: false,
        note: Some("an unmistakable wombat".into()),
    };
    store
        .rate(&id, &said.answers[0].id, Some(&bad))
        .await
        .expect("it is there");
    let kept = store.conversation(&id).await.expect("it is kept");
    assert_eq!(kept.turns[0].answers[0].feedback, Some(bad.clone()));
    let other = begin(&store, visitor(), 2).await;
    let of_other = store.rate(&other, &said.answers[0].id, Some(&bad)).await;
    assert!(matches!(of_other, Err(StoreError::NotFound)));
    store
        .rate(&other, &said.answers[0].id, None)
        .await
        .expect("there is nothing to take back");
    assert!(
        store.conversation(&id).await.expect("it is kept").turns[0].answers[0]
            .feedback
            .is_some()
    );
    store.remove(&id).await.expect("it is idle");
    assert!(matches!(store.shared(&share.key()).await, Err(StoreError::NotFound)));
    let database = folder.path().join("glimpse.sqlite");
    let bytes = std::fs::read(&database).expect("it is there");
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(!has(b"unmistakable") && !has(share.as_str().as_bytes()) && !has(&share.key().0));
    store.close().await;
}
