//! Whatever was said to be kept is there after `kill -9`, and after a log that ends anywhere.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Names the folder that the process to be killed writes to.
const FOLDER: &str = "GLIMPSE_TEST_FOLDER";

/// Says on stderr what it has kept.
async fn write_until_killed(folder: &Path) {
    let store = open(folder).await;
    loop {
        let id = begin(&store, visitor(), 1).await;
        let mut turn = turn("what?");
        store.begin_turn(&id, &turn).await.expect("it is free");
        for length in 1..20 {
            turn.answers[0].text = "word ".repeat(length);
            store.save_answer(&turn.answers[0]).await.expect("it is there");
            eprintln!("kept {id} {length} running");
        }
        store
            .save_answer(&done(&turn.answers[0], "the end"))
            .await
            .expect("it is there");
        eprintln!("kept {id} 0 done");
    }
}

/// A conversation, how many words its answer had, and whether it had ended.
fn parse(line: &str) -> Option<(ConversationId, usize, bool)> {
    let mut words = line.strip_prefix("kept ")?.split(' ');
    let id = ConversationId::parse(words.next()?)?;
    Some((id, words.next()?.parse().ok()?, words.next()? == "done"))
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_said_to_be_kept() {
    // This test once more, as the process that is killed.
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_killed(Path::new(&folder)).await;
    }
    let folder = folder();
    for kept_before_it_is_killed in [1, 7, 25, 64] {
        let mut child = Command::new(std::env::current_exe().expect("this is a program"))
            .args([
                "--exact",
                "--nocapture",
                "store::sqlite::tests::crash::kill_9_loses_nothing_that_was_said_to_be_kept",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was started a moment ago");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"))
            .lines()
            .map_while(Result::ok);
        let mut kept: Vec<_> = lines
            .by_ref()
            .filter_map(|line| parse(&line))
            .take(kept_before_it_is_killed)
            .collect();
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        // What it said before it noticed.
        kept.extend(lines.filter_map(|line| parse(&line)));
        assert!(kept.len() >= kept_before_it_is_killed, "it ended by itself");

        let store = open(folder.path()).await;
        for (id, words, has_ended) in kept {
            let answer = store.conversation(&id).await.expect("it was kept").turns[0].answers[0].clone();
            if has_ended {
                assert_eq!(answer.state, AnswerState::Done(FinishReason::Stop));
                assert_eq!(answer.text, "the end");
            } else if answer.state == AnswerState::Done(FinishReason::Interrupted) {
                assert!(answer.text.len() >= "word ".len() * words, "{words}: {}", answer.text);
            } else {
                assert_eq!(answer.text, "the end");
            }
        }
        store.close().await;
    }
}

/// Database and log of a store that is open, as a killed process leaves them, and the log cut off.
fn copy(from: &Path, log_bytes: u64) -> tempfile::TempDir {
    let to = folder();
    for name in ["glimpse.sqlite", "glimpse.sqlite-wal"] {
        std::fs::copy(from.join(name), to.path().join(name)).expect("it is there");
    }
    let log = std::fs::File::options()
        .write(true)
        .open(to.path().join("glimpse.sqlite-wal"));
    log.and_then(|log| log.set_len(log_bytes)).expect("it is ours");
    to
}

#[tokio::test]
async fn a_log_that_ends_anywhere_gives_the_last_whole_step() {
    let folder = folder();
    let store = open(folder.path()).await;
    let log_bytes = || {
        let log = std::fs::metadata(folder.path().join("glimpse.sqlite-wal"));
        log.expect("it is there").len()
    };
    let id = begin(&store, visitor(), 1).await;
    let mut steps = vec![(log_bytes(), store.conversation(&id).await.expect("it is kept").turns)];
    let mut turn = turn("what?");
    for step in 0..12 {
        match step % 4 {
            0 => {
                turn = super::turn(&"what? ".repeat(300 * step));
                store.begin_turn(&id, &turn).await.expect("it is free");
            }
            3 => store
                .save_answer(&done(&turn.answers[0], "two cats"))
                .await
                .expect("it is there"),
            _ => {
                turn.answers[0].text += "two ";
                store.save_answer(&turn.answers[0]).await.expect("it is there");
            }
        }
        steps.push((log_bytes(), store.conversation(&id).await.expect("it is kept").turns));
    }
    for (index, (end, turns)) in steps.iter().enumerate() {
        let next = steps.get(index + 1).map_or(*end, |(next, _)| *next);
        // Interrupted, of course.
        let mut turns = turns.clone();
        let answers = turns.iter_mut().flat_map(|turn| &mut turn.answers);
        for answer in answers.filter(|answer| answer.is_running()) {
            answer.state = AnswerState::Done(FinishReason::Interrupted);
        }
        for cut in std::collections::BTreeSet::from([*end, end + (next - end) / 2, next.saturating_sub(1).max(*end)]) {
            let copy = copy(folder.path(), cut);
            let reopened = open(copy.path()).await;
            let kept = reopened.conversation(&id).await.expect("it had begun").turns;
            assert_eq!(kept, turns, "step {index}, {cut} bytes");
            reopened.close().await;
        }
    }
    store.close().await;
}
