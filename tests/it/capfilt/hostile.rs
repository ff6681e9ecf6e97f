//! Archives that somebody made to do harm, or that are damaged.

use serde_json::{Value, json};

use super::forms::archive;
use super::{AnyResult, Pairs, picture};

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
