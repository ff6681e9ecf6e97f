//! Runs that were killed, and workers that share a set.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{AnyResult, Pairs, contents, rows, stderr, succeeded};

/// Starts, kills the process once its journal has so many rows, and says whether it was still running.
fn killed_after(
    pairs: &Pairs,
    input: &str,
    output: &str,
    journal: &str,
    lines: usize,
    more: &[&str],
) -> AnyResult<bool> {
    let mut child = pairs.command(input, output, more).spawn()?;
    let journal = pairs.path(output).join("scores").join(journal);
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let written = std::fs::read(&journal).unwrap_or_default();
        let is_running = child.try_wait()?.is_none();
        if !is_running || written.iter().filter(|byte| **byte == b'\n').count() >= lines {
            child.kill()?;
            child.wait()?;
            return Ok(is_running);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    Err("no rows within a minute".into())
}

#[test]
fn a_run_that_was_killed_goes_on_and_writes_the_same_bytes() -> AnyResult<()> {
    let pairs = Pairs::of(400)?;
    // Some of the same bytes, far apart.
    for number in [100, 120] {
        std::fs::copy(pairs.path("3.png"), pairs.path(&format!("{number}.png")))?;
    }
    for form in [&[][..], &["--scores-format", "parquet"]] {
        let whole = format!("whole{}", form.len());
        let broken = format!("broken{}", form.len());
        succeeded(&pairs.command("pairs.jsonl", &whole, form).output()?);
        let mut was_running = false;
        for lines in [10, 60] {
            was_running |= killed_after(&pairs, "pairs.jsonl", &broken, ".00000.jsonl.partial", lines, form)?;
            assert!(!pairs.path(&broken).join("00000.jsonl").exists(), "whole or absent");
        }
        assert!(was_running);
        // As a power cut leaves it: the last line is not whole.
        let journal = pairs.path(&broken).join("scores/.00000.jsonl.partial");
        let mut bytes = std::fs::read(&journal)?;
        bytes.extend(b"{\"key\":\"7");
        std::fs::write(&journal, bytes)?;
        succeeded(&pairs.command("pairs.jsonl", &broken, form).output()?);
        let (whole, broken) = (contents(&pairs.path(&whole))?, contents(&pairs.path(&broken))?);
        let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&whole), names(&broken));
        for ((name, whole), (_, broken)) in whole.iter().zip(&broken) {
            assert!(whole == broken, "{name} differs");
        }
    }
    // What is complete is not done again.
    let before = contents(&pairs.path("whole0"))?;
    succeeded(&pairs.command("pairs.jsonl", "whole0", &[]).output()?);
    assert!(contents(&pairs.path("whole0"))? == before);
    Ok(())
}

#[test]
fn other_settings_or_another_input_do_not_mix_with_what_was_begun() -> AnyResult<()> {
    let pairs = Pairs::of(200)?;
    killed_after(&pairs, "pairs.jsonl", "out", ".00000.jsonl.partial", 20, &[])?;
    let output = pairs.command("pairs.jsonl", "out", &["--n", "2"]).output()?;
    let said = stderr(&output);
    assert!(
        output.status.code() == Some(1) && said.contains("--n was 1, and is 2"),
        "{said}"
    );
    let text = std::fs::read_to_string(pairs.path("pairs.jsonl"))?;
    let (_, rest) = text.split_once('\n').ok_or("a line")?;
    std::fs::write(pairs.path("pairs.jsonl"), rest)?;
    let output = pairs.command("pairs.jsonl", "out", &[]).output()?;
    let said = stderr(&output);
    assert!(
        output.status.code() == Some(1) && said.contains("the input has changed"),
        "{said}"
    );
    Ok(())
}

#[test]
fn workers_share_the_shards_and_together_write_what_one_does() -> AnyResult<()> {
    let pairs = Pairs::of(0)?;
    for shard in 0..5u64 {
        let files: Vec<(String, Vec<u8>)> = (0..3)
            .flat_map(|number| {
                let name = format!("{shard:05}{number:04}");
                [
                    (format!("{name}.png"), super::picture(shard * 3 + number)),
                    (format!("{name}.txt"), b"a text".to_vec()),
                ]
            })
            .collect();
        pairs.write(&format!("{shard:05}.tar"), &super::forms::archive(&files)?)?;
    }
    let input = "{00000..00004}.tar";
    succeeded(&pairs.command(input, "one", &["--output-format", "jsonl"]).output()?);
    for worker in 0..2 {
        let worker = format!("{worker}/2");
        succeeded(
            &pairs
                .command(input, "two", &["--output-format", "jsonl", "--worker", &worker])
                .output()?,
        );
    }
    for shard in 0..5 {
        let name = format!("{shard:05}.jsonl");
        let (one, two) = (pairs.path("one").join(&name), pairs.path("two").join(&name));
        assert_eq!(std::fs::read(one)?, std::fs::read(two)?);
    }
    assert!(pairs.path("two/_stats-0-of-2.json").exists() && pairs.path("two/report-1-of-2.html").exists());
    succeeded(
        &pairs
            .command(input, "some", &["--output-format", "jsonl", "--shards", "001..002"])
            .output()?,
    );
    assert_eq!(rows(&pairs.path("some"))?.len(), 6);
    assert_eq!(rows(&pairs.path("one"))?[0]["key"], json!("000000000"));
    Ok(())
}

#[test]
fn a_second_process_is_refused_where_the_first_writes() -> AnyResult<()> {
    let pairs = Pairs::of(2)?;
    let refused = |more: &[&str]| -> AnyResult<bool> {
        let output = pairs.command("pairs.jsonl", "out", more).output()?;
        let said = stderr(&output);
        assert!(
            output.status.success() || said.contains("Another process is writing"),
            "{said}"
        );
        Ok(output.status.code() == Some(1))
    };
    let opened = |name: &str| -> AnyResult<std::fs::File> {
        let path = pairs.path("out").join(name);
        std::fs::create_dir_all(path.parent().ok_or("a folder")?)?;
        Ok(std::fs::File::create(path)?)
    };
    // As a process that scores has them, and one that selects: while they are open, and locked.
    for name in [
        "scores/.worker-0-of-1.lock",
        "scores/.00000.jsonl.partial",
        ".worker-0-of-1.lock",
    ] {
        let held = opened(name)?;
        held.try_lock()?;
        assert!(refused(&[])?, "{name}");
        drop(held);
    }
    assert!(
        !refused(&[])?,
        "what is left of a process that is gone keeps nobody out"
    );
    let held = opened(".worker-0-of-1.lock")?;
    held.try_lock()?;
    assert!(
        !refused(&["--worker", "0/2"])? && !refused(&["--worker", "1/2"])?,
        "workers write side by side"
    );
    Ok(())
}
