//! Archives that somebody made to do harm, or that are damaged.

use serde_json::{Value, json};

use super::forms::{archive, gzip};
use super::{AnyResult, Pairs, picture, stderr};

/// An entry as it stands in an archive, with whatever name and size.
fn raw(name: &[u8], declared: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_old();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_size(declared);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend(bytes);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn cleaned(pairs: &Pairs, bytes: &[u8], name: &str, more: &[&str]) -> AnyResult<Vec<Value>> {
    let input = format!("{name}.tar");
    pairs.write(&input, bytes)?;
    pairs.clean(
        &input,
        name,
        &[&["--n", "0", "--output-format", "jsonl"][..], more].concat(),
    )
}

fn errors(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["error"].as_str().unwrap_or_default())
        .collect()
}

#[test]
fn names_that_lead_out_are_errors_and_nothing_is_written_there() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    let entries = [
        raw(b"../../climbs.png", picture(0).len() as u64, &picture(0)),
        raw(b"/etc/absolute.png", picture(1).len() as u64, &picture(1)),
        raw(b"fine.png", picture(2).len() as u64, &picture(2)),
        raw(b"fine.txt", 6, b"a text"),
        vec![0; 1024],
    ];
    let rows = cleaned(&pairs, &entries.concat(), "names", &[])?;
    let errors = errors(&rows);
    assert!(
        errors[0].contains("leads out") && errors[1].contains("leads out"),
        "{errors:?}"
    );
    assert_eq!((errors[2], &rows[2]["web"]["text"]), ("", &json!("a text")));
    // As shards: nothing but what is fine.
    let rows = pairs.command("names.tar", "shards", &["--threshold", "0"]).output()?;
    assert!(rows.status.success());
    let mut shard = tar::Archive::new(std::fs::File::open(pairs.path("shards/names.tar"))?);
    for entry in shard.entries()? {
        assert!(entry?.path()?.starts_with("fine.png") || !pairs.path("../climbs.png").exists());
    }
    assert!(!pairs.folder.path().join("../climbs.png").exists());
    Ok(())
}

#[test]
fn sizes_are_believed_as_far_as_there_are_bytes() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    // More than there is, and more than a machine has.
    for (name, declared) in [("much", 1u64 << 32), ("cut", 4000)] {
        let mut bytes = raw(b"fine.png", picture(0).len() as u64, &picture(0));
        bytes.extend(raw(b"huge.png", declared, &picture(1)[..64]));
        let rows = cleaned(&pairs, &bytes, name, &[])?;
        let errors = errors(&rows);
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(
            errors[0].is_empty() && errors[1].contains("ends within") && errors[2].contains("damaged"),
            "{errors:?}"
        );
        assert_eq!(rows[2]["key"], format!("{name}.damaged"));
    }
    // Within the archive, and more than is allowed.
    let files = [("a.png".to_owned(), vec![0; 4000]), ("b.png".to_owned(), picture(1))];
    let rows = cleaned(&pairs, &archive(&files)?, "allowed", &["--max-upload-bytes", "3000"])?;
    let errors = errors(&rows);
    assert!(
        errors[0].contains("--max-upload-bytes") && errors[1].is_empty(),
        "{errors:?}"
    );
    Ok(())
}

#[test]
fn what_is_no_archive_is_a_row_that_says_so() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    let rows = cleaned(&pairs, &[7; 2000], "noise", &[])?;
    assert!(rows.len() == 1 && errors(&rows)[0].contains("damaged"), "{rows:?}");
    assert_eq!(cleaned(&pairs, &[0; 1024], "empty", &[])?.len(), 0);
    // A picture without a text, and a text without a picture.
    let files = [
        ("a.txt".to_owned(), b"alone".to_vec()),
        ("b.png".to_owned(), picture(1)),
        ("README".to_owned(), Vec::new()),
    ];
    let rows = cleaned(&pairs, &archive(&files)?, "halves", &[])?;
    assert!(errors(&rows)[0].contains("no picture") && rows[0]["web"]["text"] == "alone");
    assert!(rows.len() == 2 && rows[1]["error"].is_null() && rows[1]["web"]["match"].is_null());
    Ok(())
}

#[test]
fn what_unpacks_to_very_much_is_an_error_and_fills_no_memory() -> AnyResult<()> {
    let pairs = Pairs::of(1)?;
    let line = json!({"image": "0.png", "caption": "a text"}).to_string() + "\n";
    let much = vec![b'a'; 64 << 20];
    // A line of 64 megabytes between two others.
    pairs.write(
        "bomb.jsonl.gz",
        &gzip(&[line.as_bytes(), &much, b"\n", line.as_bytes()].concat())?,
    )?;
    let rows = pairs.clean("bomb.jsonl.gz", "lines", &["--n", "0"])?;
    let told = errors(&rows);
    assert!(
        rows.len() == 3 && told[0].is_empty() && told[1].contains("more than") && told[2].is_empty(),
        "{told:?}"
    );
    let quoted = [&b"image,caption\n0.png,\""[..], &much].concat();
    let listed = [&b"[{\"image\": \"0.png\", \"caption\": \""[..], &much].concat();
    for (name, bytes) in [("bomb.csv.gz", quoted), ("bomb.json.gz", listed)] {
        pairs.write(name, &gzip(&bytes)?)?;
        let output = pairs.command(name, &format!("{name}-out"), &["--n", "0"]).output()?;
        let said = stderr(&output);
        assert!(
            output.status.code() == Some(1) && said.contains("more than 16777216 bytes"),
            "{name}: {said}"
        );
    }
    Ok(())
}

#[test]
fn packed_archives_are_read_within_the_same_limits() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    let rows_of = |name: &str, bytes: &[u8], more: &[&str]| -> AnyResult<Vec<Value>> {
        pairs.write(&format!("{name}.tar.gz"), bytes)?;
        let all = [&["--n", "0", "--output-format", "jsonl"][..], more].concat();
        pairs.clean(&format!("{name}.tar.gz"), name, &all)
    };
    let fine = || raw(b"fine.png", picture(0).len() as u64, &picture(0));
    // A size that is not there, one that is too much, and an archive that is cut.
    let claims = [fine(), raw(b"huge.png", 1 << 40, &picture(1)[..64])].concat();
    let rows = rows_of("claims", &gzip(&claims)?, &[])?;
    assert!(
        errors(&rows)[0].is_empty() && errors(&rows)[1].contains("--max-upload-bytes"),
        "{rows:?}"
    );
    let claims = [fine(), raw(b"more.png", 4000, &picture(1)[..64])].concat();
    let rows = rows_of("more", &gzip(&claims)?, &[])?;
    assert!(
        errors(&rows)[1].contains("ends within") && errors(&rows)[2].contains("damaged"),
        "{rows:?}"
    );
    let files = [("a.png".to_owned(), vec![0; 4 << 20]), ("b.png".to_owned(), picture(1))];
    let rows = rows_of("allowed", &gzip(&archive(&files)?)?, &["--max-upload-bytes", "3000"])?;
    assert!(errors(&rows)[0].contains("--max-upload-bytes") && errors(&rows)[1].is_empty());
    let whole = gzip(
        &[
            fine(),
            raw(
                b"next.png",
                3000,
                &(0..3000u32).map(|n| (n * n % 251) as u8).collect::<Vec<_>>(),
            ),
        ]
        .concat(),
    )?;
    let rows = rows_of("cut", &whole[..whole.len() - 200], &[])?;
    assert!(errors(&rows)[0].is_empty() && rows.len() == 3, "{rows:?}");
    assert!(
        errors(&rows)[1].contains("cannot be read") && errors(&rows)[2].contains("damaged"),
        "{rows:?}"
    );
    Ok(())
}

#[test]
fn a_text_that_an_archive_cuts_is_no_text() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    let mut bytes = raw(b"a.png", picture(0).len() as u64, &picture(0));
    bytes.extend(&raw(b"a.txt", 40, b"a picture of a dog on a blue green ground")[..512 + 12]);
    let rows = cleaned(&pairs, &bytes, "text", &[])?;
    assert!(
        errors(&rows)[0].contains("ends within its text") && errors(&rows)[1].contains("damaged"),
        "{rows:?}"
    );
    Ok(())
}
