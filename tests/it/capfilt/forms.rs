//! Pairs in every form give the same scores.

use std::io::Write;
use std::process::Output;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::{AnyResult, Pairs, caption, contents, picture, rows, stderr, succeeded};

/// A tar archive of these files.
pub fn archive(files: &[(String, Vec<u8>)]) -> AnyResult<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

/// Packed with gzip.
pub fn gzip(bytes: &[u8]) -> AnyResult<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Pairs as a shard has them.
pub fn shard_of(numbers: impl Iterator<Item = u64>) -> Vec<(String, Vec<u8>)> {
    let files = numbers.flat_map(|number| {
        let name = format!("{number:09}");
        [
            (format!("{name}.png"), picture(number)),
            (format!("{name}.txt"), caption(number).into_bytes()),
        ]
    });
    files.collect()
}

/// What is the same of a row, whatever form it came in.
fn core(row: &Value) -> Value {
    json!([row["sha256"], row["error"], row["web"]])
}

/// The rows of the same three pairs as JSON lines.
fn wanted(pairs: &Pairs) -> AnyResult<Vec<Value>> {
    Ok(pairs
        .clean("pairs.jsonl", "lines", &["--n", "0"])?
        .iter()
        .map(core)
        .collect())
}

/// Cleans an input without captions, and gives what is the same of its rows.
fn cleaned(pairs: &Pairs, input: &str) -> AnyResult<Vec<Value>> {
    let output = format!("{input}-out").replace(['/', '{', '}'], "_");
    let rows = pairs.clean(input, &output, &["--n", "0", "--output-format", "jsonl"])?;
    assert!(rows.iter().all(|row| row["synthetic"] == json!([])));
    Ok(rows.iter().map(core).collect())
}

#[test]
fn a_list_a_table_and_cocos_captions_are_read() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let wanted = wanted(&pairs)?;
    let list: Vec<Value> = (0..3)
        .map(|number| json!({"image": format!("{number}.png"), "caption": caption(number)}))
        .collect();
    pairs.write("list.json", json!(list).to_string().as_bytes())?;
    assert_eq!(cleaned(&pairs, "list.json")?, wanted);
    for (name, delimiter, quote) in [("table.csv", ",", "\""), ("table.tsv", "\t", "")] {
        let lines = (0..3).map(|number| {
            format!(
                "{quote}{}{quote}{delimiter}{number}.png{delimiter}{number}",
                caption(number)
            )
        });
        let head = format!("caption{delimiter}image{delimiter}uid");
        let text: Vec<String> = std::iter::once(head).chain(lines).collect();
        pairs.write(name, text.join("\r\n").as_bytes())?;
        assert_eq!(cleaned(&pairs, name)?, wanted, "{name}");
    }
    // The captions may stand before the pictures that they are of.
    let coco = json!({
        "info": {"year": 2014},
        "annotations": (0..3).map(|number| json!({"id": 70 + number, "image_id": number, "caption": caption(number)})).collect::<Vec<_>>(),
        "images": (0..3).map(|number| json!({"id": number, "file_name": format!("{number}.png")})).collect::<Vec<_>>(),
    });
    let (annotations, images) = (coco["annotations"].to_string(), coco["images"].to_string());
    pairs.write(
        "coco.json",
        format!("{{\"info\": {{}}, \"annotations\": {annotations}, \"images\": {images}}}").as_bytes(),
    )?;
    assert_eq!(cleaned(&pairs, "coco.json")?, wanted);
    let rows = rows(&pairs.path("coco.json-out"))?;
    assert_eq!(
        (&rows[2]["key"], &rows[2]["image"], &rows[2]["image_id"]),
        (&json!("72"), &json!("2.png"), &json!(2))
    );
    Ok(())
}

#[test]
fn a_picture_with_several_captions_has_a_row_for_each() -> AnyResult<()> {
    let pairs = Pairs::of(1)?;
    let karpathy = json!([{"image": "0.png", "caption": ["one", "two"], "image_id": "coco_0"}]);
    pairs.write("list.json", karpathy.to_string().as_bytes())?;
    succeeded(&pairs.command("list.json", "out", &[]).output()?);
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(pairs.path("out/00000.json"))?)?;
    assert_eq!(
        rows.iter().map(|row| &row["web"]["text"]).collect::<Vec<_>>(),
        ["one", "two"]
    );
    assert_eq!(
        (&rows[1]["key"], &rows[1]["image_id"]),
        (&json!("000000000#1"), &json!("coco_0"))
    );
    assert_eq!(rows[0]["synthetic"], rows[1]["synthetic"], "of the same picture");
    Ok(())
}

#[test]
fn a_folder_with_texts_beside_its_pictures_is_read() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let wanted = wanted(&pairs)?;
    pairs.write("folder/b/1.png", &picture(1))?;
    pairs.write("folder/b/1.caption", (caption(1) + "\n").as_bytes())?;
    pairs.write("folder/a.png", &picture(0))?;
    pairs.write("folder/a.txt", caption(0).as_bytes())?;
    pairs.write("folder/c.png", &picture(2))?;
    pairs.write(
        "folder/c.json",
        json!({"caption": caption(2), "url": "http://x.example/c"})
            .to_string()
            .as_bytes(),
    )?;
    pairs.write("folder/.hidden.png", &picture(3))?;
    assert_eq!(cleaned(&pairs, "folder")?, wanted);
    let rows = rows(&pairs.path("folder-out"))?;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row["key"].as_str(), row["image"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("a"), Some("a.png")),
            (Some("b/1"), Some("b/1.png")),
            (Some("c"), Some("c.png"))
        ]
    );
    assert_eq!(rows[2]["url"], "http://x.example/c");
    let described =
        [("b/1.png", 1), ("a.png", 0)].map(|(name, number)| json!({"file_name": name, "text": caption(number)}));
    pairs.write_lines("folder/metadata.jsonl", &described)?;
    std::fs::remove_dir_all(pairs.path("folder-out"))?;
    assert_eq!(cleaned(&pairs, "folder")?, [wanted[1].clone(), wanted[0].clone()]);
    Ok(())
}

#[test]
fn shards_are_read_and_written_with_what_is_kept() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let wanted = wanted(&pairs)?;
    let mut files = Vec::new();
    for number in 0..3 {
        let name = format!("00000000{number}");
        let told = json!({"caption": caption(number), "url": format!("http://x.example/{number}"), "key": name, "sha256": "of the original", "status": "success"});
        files.push((format!("{name}.png"), picture(number)));
        files.push((format!("{name}.json"), told.to_string().into_bytes()));
        files.push((format!("{name}.txt"), caption(number).into_bytes()));
    }
    pairs.write("shards/00000.tar", &archive(&files)?)?;
    pairs.write("shards/00000_stats.json", b"{}")?;
    pairs.write("shards/00000.parquet", b"what img2dataset writes beside it")?;
    assert_eq!(cleaned(&pairs, "shards")?, wanted);
    assert_eq!(cleaned(&pairs, "shards/{00000..00000}.tar")?, wanted);
    let read = rows(&pairs.path("shards-out"))?;
    assert_eq!(
        (&read[1]["key"], &read[1]["url"], &read[1]["input_sha256"]),
        (
            &json!("000000001"),
            &json!("http://x.example/1"),
            &json!("of the original")
        )
    );
    succeeded(&pairs.command("shards", "out", &["--threshold", "0"]).output()?);
    let mut shard = tar::Archive::new(std::fs::File::open(pairs.path("out/00000.tar"))?);
    let mut names = Vec::new();
    for entry in shard.entries()? {
        let mut entry = entry?;
        names.push(entry.path()?.to_string_lossy().into_owned());
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes)?;
        let number = (names.len() as u64 - 1) / 3;
        match names.last().and_then(|name| name.rsplit('.').next()) {
            Some("png") => assert_eq!(bytes, picture(number)),
            Some("txt") => assert_eq!(String::from_utf8(bytes)?.lines().next(), Some(caption(number).as_str())),
            _ => assert_eq!(
                serde_json::from_slice::<Value>(&bytes)?["texts"]
                    .as_array()
                    .map(Vec::len),
                Some(2)
            ),
        }
    }
    assert_eq!(
        names[..4],
        ["000000000.png", "000000000.txt", "000000000.json", "000000001.png"]
    );
    assert_eq!(names.len(), 9);
    assert!(pairs.path("out/00000_stats.json").exists());
    // What was written is an input again.
    assert_eq!(cleaned(&pairs, "out/00000.tar")?.len(), 3);
    Ok(())
}

/// A Parquet file with the columns `image`, a name or bytes, and `caption`.
fn parquet(images: Vec<ByteArray>, kind: &str) -> AnyResult<Vec<u8>> {
    let schema = format!("message pairs {{ required binary image{kind}; optional binary caption (string); }}");
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(parse_message_type(&schema)?), Arc::default())?;
    let mut group = file.next_row_group()?;
    let captions: Vec<ByteArray> = (0..images.len() as u64)
        .map(|number| ByteArray::from(caption(number).into_bytes()))
        .collect();
    let all = vec![1; images.len()];
    for (values, definitions) in [(images, None), (captions, Some(all.as_slice()))] {
        let mut column = group.next_column()?.ok_or("a column")?;
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, definitions, None)?;
        column.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(bytes)
}

#[test]
fn parquet_is_read_with_pictures_in_it_or_beside_it() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let wanted = wanted(&pairs)?;
    let names = (0..3)
        .map(|number| ByteArray::from(format!("{number}.png").into_bytes()))
        .collect();
    pairs.write("names.parquet", &parquet(names, " (string)")?)?;
    assert_eq!(cleaned(&pairs, "names.parquet")?, wanted);
    let bytes = (0..3).map(|number| ByteArray::from(picture(number))).collect();
    pairs.write("bytes.parquet", &parquet(bytes, "")?)?;
    assert_eq!(cleaned(&pairs, "bytes.parquet")?, wanted);
    Ok(())
}

#[test]
fn addresses_are_fetched_by_the_fetchers_rules() -> AnyResult<()> {
    let pairs = Pairs::of(1)?;
    let wanted = wanted(&pairs)?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}/0.png", listener.local_addr()?);
    let served = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut connection, _) = listener.accept()?;
        let mut request = [0; 1024];
        let _ = std::io::Read::read(&mut connection, &mut request)?;
        let bytes = picture(0);
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        )?;
        connection.write_all(&bytes)
    });
    pairs.write_lines("urls.jsonl", &[json!({"url": address, "caption": caption(0)})])?;
    let refused = pairs.clean("urls.jsonl", "refused", &["--n", "0"])?;
    let error = refused[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("address"), "{error}");
    let fetched = pairs.clean("urls.jsonl", "fetched", &["--n", "0", "--private-addresses"])?;
    assert_eq!(fetched.iter().map(core).collect::<Vec<_>>(), wanted);
    served.join().map_err(|_| "the server broke")??;
    Ok(())
}

#[test]
fn what_is_packed_with_gzip_gives_the_same_rows() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let wanted = wanted(&pairs)?;
    let lines = std::fs::read(pairs.path("pairs.jsonl"))?;
    pairs.write("lines.jsonl.gz", &gzip(&lines)?)?;
    // As two that were written one behind the other.
    let (first, rest) = lines.split_at(50);
    pairs.write("two.jsonl.gz", &[gzip(first)?, gzip(rest)?].concat())?;
    let list: Vec<Value> = (0..3)
        .map(|number| json!({"image": format!("{number}.png"), "caption": caption(number)}))
        .collect();
    pairs.write("list.json.gz", &gzip(json!(list).to_string().as_bytes())?)?;
    let table = |between: &str, quote: &str| {
        let lines = (0..3).map(|number| format!("{number}.png{between}{quote}{}{quote}", caption(number)));
        let head = format!("image{between}caption");
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    };
    pairs.write("table.csv.gz", &gzip(table(",", "\"").as_bytes())?)?;
    pairs.write("table.tsv.gz", &gzip(table("\t", "").as_bytes())?)?;
    let shard = archive(&shard_of(0..3))?;
    pairs.write("00000.tar.gz", &gzip(&shard)?)?;
    pairs.write("00001.tgz", &gzip(&shard)?)?;
    for name in [
        "lines.jsonl.gz",
        "two.jsonl.gz",
        "list.json.gz",
        "table.csv.gz",
        "table.tsv.gz",
        "00000.tar.gz",
        "00001.tgz",
    ] {
        assert_eq!(cleaned(&pairs, name)?, wanted, "{name}");
    }
    assert!(pairs.path("00000.tar.gz-out/00000.jsonl").exists());
    // Without a form that is named it is that of what is packed.
    for (name, written) in [
        ("lines.jsonl.gz", "00000.jsonl"),
        ("list.json.gz", "00000.json"),
        ("table.tsv.gz", "00000.tsv"),
        ("00000.tar.gz", "00000.tar"),
    ] {
        let output = format!("{name}-as-it-is");
        succeeded(
            &pairs
                .command(name, &output, &["--n", "0", "--threshold", "0"])
                .output()?,
        );
        assert!(pairs.path(&output).join(written).is_file(), "{name}");
    }
    Ok(())
}

#[test]
fn parquet_of_other_tools_is_read_however_its_pages_are_packed() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    let read = |name: &str| -> AnyResult<Vec<Value>> {
        let input = format!("{name}.parquet");
        std::fs::copy(format!("tests/golden/parquet/{input}"), pairs.path(&input))?;
        pairs.clean(&input, name, &["--n", "0", "--output-format", "jsonl"])
    };
    let wanted = read("none")?;
    assert_eq!(wanted.len(), 20);
    for (number, row) in wanted.iter().enumerate() {
        assert_eq!(
            (&row["key"], &row["error"]),
            (&json!(format!("u{number:02}")), &Value::Null)
        );
        assert_eq!(
            (&row["image"], &row["width"]),
            (&json!(format!("{number}.png")), &json!(number))
        );
        assert_eq!(row["tags"], json!(vec!["plain"; number % 3]));
        assert_eq!(row["web"]["match"].is_number(), number != 7);
    }
    for name in ["snappy", "gzip", "zstd", "zstd-v2", "gzip-v2"] {
        assert_eq!(read(name)?, wanted, "{name}");
    }
    let brotli = pairs.write("brotli.parquet", &std::fs::read("tests/golden/parquet/brotli.parquet")?)?;
    let output = pairs.command("brotli.parquet", "brotli", &["--n", "0"]).output()?;
    let said = stderr(&output);
    assert!(
        !output.status.success() && said.contains("BROTLI") && said.contains(&*brotli.to_string_lossy()),
        "{said}"
    );
    Ok(())
}

#[test]
fn cocos_captions_come_out_as_cocos_captions() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let coco = json!({
        "info": {"year": 2014},
        "images": (0..3).map(|number| json!({"id": 100 + number, "file_name": format!("{number}.png"), "width": 12, "height": 8, "license": 3})).collect::<Vec<_>>(),
        "annotations": [
            {"id": 7, "image_id": 100, "caption": "one"},
            {"id": 8, "image_id": 100, "caption": "two"},
            {"id": 9, "image_id": 101, "caption": ""},
            {"id": 11, "image_id": 102, "caption": "three"},
        ],
    });
    pairs.write("coco.json", coco.to_string().as_bytes())?;
    succeeded(&pairs.command("coco.json", "out", &["--threshold", "0"]).output()?);
    let out: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/00000.json"))?)?;
    assert_eq!(
        out["images"][0],
        json!({"id": 100, "file_name": "0.png", "width": 12, "height": 8, "license": 3})
    );
    let captions = out["annotations"].as_array().ok_or("annotations")?;
    let told = |from: &str| -> Vec<(u64, u64)> {
        let own = captions.iter().filter(|caption| caption["from"] == from);
        own.filter_map(|caption| Some((caption["image_id"].as_u64()?, caption["id"].as_u64()?)))
            .collect()
    };
    assert_eq!(told("web"), [(100, 7), (100, 8), (102, 11)]);
    // One for each picture, though the first has two rows.
    assert_eq!(told("synthetic"), [(100, 12), (101, 13), (102, 14)]);
    assert!(captions.iter().all(|caption| caption["match"].is_number()));
    // A picture with several captions is one.
    let stats: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/_stats.json"))?)?;
    assert_eq!(
        (&stats["pictures"], &stats["kept"], &stats["duplicates"]),
        (&json!(3), &json!(3), &json!(0))
    );
    assert_eq!(
        (
            &stats["web"]["texts"],
            &stats["synthetic"]["texts"],
            &stats["synthetic"]["kept"]
        ),
        (&json!(4), &json!(3), &json!(3))
    );
    // What is not kept is not there.
    let filtered = ["--threshold", "0", "--policy", "filter"];
    succeeded(&pairs.command("coco.json", "filtered", &filtered).output()?);
    let out: Value = serde_json::from_slice(&std::fs::read(pairs.path("filtered/00000.json"))?)?;
    assert_eq!(
        (
            out["images"].as_array().map(Vec::len),
            out["annotations"].as_array().map(Vec::len)
        ),
        (Some(2), Some(3))
    );
    // What was written is an input again, and other forms become it.
    let input = pairs.path("filtered/00000.json");
    std::fs::copy(input, pairs.path("again.json"))?;
    let again = cleaned(&pairs, "again.json")?;
    assert_eq!(again.len(), 3);
    let form = ["--threshold", "0", "--output-format", "coco"];
    succeeded(&pairs.command("pairs.jsonl", "from-lines", &form).output()?);
    let out: Value = serde_json::from_slice(&std::fs::read(pairs.path("from-lines/00000.json"))?)?;
    assert_eq!(
        (
            &out["images"][2]["file_name"],
            out["annotations"].as_array().map(Vec::len)
        ),
        (&json!("2.png"), Some(6))
    );
    Ok(())
}

#[test]
fn a_folder_comes_out_as_a_folder_with_the_pictures_that_are_kept() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    for (name, number) in [("a.v1", 0), ("b/1", 1), ("b/2", 2)] {
        pairs.write(&format!("folder/{name}.png"), &picture(number))?;
        pairs.write(&format!("folder/{name}.txt"), caption(number).as_bytes())?;
    }
    pairs.write("folder/b/2.txt", b"")?;
    let more = ["--policy", "filter", "--threshold", "0"];
    let rows = pairs.clean("folder", "out", &more)?;
    let kept: Vec<&Value> = rows.iter().map(|row| &row["kept"]).collect();
    assert_eq!(kept, [true, true, false], "all rows stand beside the folder");
    let names: Vec<String> = contents(&pairs.path("out/00000"))?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            ".capfilt",
            "a.v1.json",
            "a.v1.png",
            "a.v1.txt",
            "b/1.json",
            "b/1.png",
            "b/1.txt"
        ]
    );
    assert_eq!(std::fs::read(pairs.path("out/00000/b/1.png"))?, picture(1));
    assert_eq!(std::fs::read_to_string(pairs.path("out/00000/b/1.txt"))?, caption(1));
    let row: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/00000/b/1.json"))?)?;
    assert_eq!(row, rows[1]);
    // Again with another policy: what is not kept any more goes; and what was written is an input again.
    succeeded(
        &pairs
            .command("folder", "out", &["--policy", "filter", "--threshold", "1"])
            .output()?,
    );
    assert!(!pairs.path("out/00000/b/1.png").exists());
    succeeded(&pairs.command("folder", "out", &more).output()?);
    assert_eq!(cleaned(&pairs, "out")?.len(), 2);
    // A folder of somebody else's is not touched.
    pairs.write("mine/00000/holiday.jpg", b"mine")?;
    let output = pairs.command("folder", "mine", &more).output()?;
    assert!(!output.status.success() && stderr(&output).contains("did not write it"));
    assert!(pairs.path("mine/00000/holiday.jpg").exists());
    // A picture that is another one by now is left out.
    pairs.write("folder/b/1.png", &picture(9))?;
    succeeded(&pairs.command("folder", "out", &more).output()?);
    assert!(pairs.path("out/00000/a.v1.png").exists() && !pairs.path("out/00000/b/1.png").exists());
    Ok(())
}

#[test]
fn what_is_told_of_pictures_is_what_was_written() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    for number in 0..5 {
        pairs.write(&format!("folder/{number}.png"), &picture(number))?;
        pairs.write(&format!("folder/{number}.txt"), caption(number).as_bytes())?;
    }
    let lines = |output: &str| ["--n", "0", "--threshold", "0", "--output-format", output].map(str::to_owned);
    let clean = |output: &str, form: &str| -> AnyResult<Output> {
        let more = lines(form);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let output = pairs.command("folder", output, &more).output()?;
        succeeded(&output);
        Ok(output)
    };
    clean("files", "jsonl")?;
    clean("shards", "jsonl")?;
    // One is gone, and one is another by now; those behind them are the same.
    std::fs::remove_file(pairs.path("folder/1.png"))?;
    pairs.write("folder/3.png", &picture(9))?;
    for (output, form) in [("files", "folder"), ("shards", "webdataset")] {
        let said = stderr(&clean(output, form)?);
        assert!(
            said.contains("3 of 5 pictures keep a text") && said.contains("2 could not be read"),
            "{said}"
        );
        let stats: Value = serde_json::from_slice(&std::fs::read(pairs.path(output).join("_stats.json"))?)?;
        assert_eq!(
            (
                &stats["pictures"],
                &stats["kept"],
                &stats["unreadable"],
                &stats["web"]["kept"]
            ),
            (&json!(5), &json!(3), &json!(2), &json!(3))
        );
        let report = std::fs::read_to_string(pairs.path(output).join("report.html"))?;
        assert!(report.contains("<b>3</b> of 5 pictures"), "{form}");
    }
    let told = rows(&pairs.path("files"))?;
    let kept: Vec<&Value> = told.iter().map(|row| &row["kept"]).collect();
    assert_eq!(kept, [true, false, true, false, true]);
    for (place, reason) in [(1, "not in the input any more"), (3, "not the picture any more")] {
        let error = told[place]["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason) && told[place]["texts"] == json!([]), "{error}");
    }
    let written = contents(&pairs.path("files/00000"))?;
    let written: Vec<&str> = written
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.ends_with(".png"))
        .collect();
    assert_eq!(written, ["0.png", "2.png", "4.png"]);
    let mut shard = tar::Archive::new(std::fs::File::open(pairs.path("shards/00000.tar"))?);
    assert_eq!(shard.entries()?.count(), 9);
    Ok(())
}

#[test]
fn files_of_the_same_name_are_all_read_and_keys_that_repeat_are_all_written() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    pairs.write("a/00000.tar", &archive(&shard_of(0..2))?)?;
    // The same key again, not beside the first.
    let mut files = shard_of(2..4);
    files.extend(
        shard_of(2..3)
            .into_iter()
            .map(|(name, bytes)| (name, if bytes[0] == 0x89 { picture(5) } else { bytes })),
    );
    pairs.write("b/00000.tar", &archive(&files)?)?;
    let input = "{a,b}/00000.tar";
    let read = pairs.clean(input, "lines", &["--n", "0", "--output-format", "jsonl"])?;
    let keys: Vec<_> = read.iter().filter_map(|row| row["key"].as_str()).collect();
    assert_eq!(keys, ["000000000", "000000001", "000000002", "000000003", "000000002"]);
    succeeded(
        &pairs
            .command(input, "out", &["--n", "0", "--threshold", "0"])
            .output()?,
    );
    let mut shard = tar::Archive::new(std::fs::File::open(pairs.path("out/b-00000.tar"))?);
    let names: Vec<String> = shard
        .entries()?
        .map(|entry| Ok(entry?.path()?.to_string_lossy().into_owned()))
        .collect::<AnyResult<_>>()?;
    assert_eq!(names.len(), 9);
    assert_eq!(
        (names[0].as_str(), names[6].as_str()),
        ("000000002.png", "000000002-2.png")
    );
    Ok(())
}

#[test]
fn tsv_is_written_as_it_is_read() -> AnyResult<()> {
    let pairs = Pairs::of(2)?;
    let told = "say \"cheese\"\tand\nsmile";
    let lines = [
        json!({"image": "0.png", "caption": "\"quoted", "title": told}),
        json!({"image": "1.png", "caption": told, "title": "\"open"}),
    ];
    pairs.write_lines("odd.jsonl", &lines)?;
    let tsv = ["--n", "0", "--threshold", "0", "--output-format", "tsv"];
    succeeded(&pairs.command("odd.jsonl", "tsv", &tsv).output()?);
    let table = std::fs::read_to_string(pairs.path("tsv/00000.tsv"))?;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.contains("\t\"quoted\t") && table.contains("\tsay \"cheese\" and smile\t"),
        "{table}"
    );
    // Read again: the same pictures, and the same fields.
    std::fs::copy(pairs.path("tsv/00000.tsv"), pairs.path("again.tsv"))?;
    let again = pairs.clean("again.tsv", "again", &["--n", "0", "--output-format", "jsonl"])?;
    assert_eq!(
        again.iter().map(|row| (&row["key"], &row["title"])).collect::<Vec<_>>(),
        [
            (&json!("000000000"), &json!("say \"cheese\" and smile")),
            (&json!("000000001"), &json!("\"open"))
        ]
    );
    assert!(again.iter().all(|row| row["error"].is_null()), "{again:?}");
    Ok(())
}

#[test]
fn a_key_that_no_file_can_have_as_its_name_is_written_all_the_same() -> AnyResult<()> {
    let pairs = Pairs::of(2)?;
    let keys = ["k".repeat(300), "狗".repeat(120)];
    let lines = [0, 1].map(|number| json!({"image": format!("{number}.png"), "caption": "a", "key": keys[number]}));
    pairs.write_lines("long.jsonl", &lines)?;
    let folder = ["--n", "0", "--threshold", "0", "--output-format", "folder"];
    succeeded(&pairs.command("long.jsonl", "out", &folder).output()?);
    let written = contents(&pairs.path("out/00000"))?;
    let told = written.iter().filter(|(name, _)| name.ends_with(".json"));
    let told: Vec<Value> = told
        .map(|(_, row)| serde_json::from_slice(row))
        .collect::<Result<_, _>>()?;
    assert_eq!((&told[0]["key"], &told[1]["key"]), (&json!(keys[0]), &json!(keys[1])));
    assert_eq!(
        written.len(),
        7,
        "two pictures with two files beside each, and the mark"
    );
    Ok(())
}

#[test]
fn pictures_of_the_same_bytes_are_two_in_cocos_captions() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    std::fs::copy(pairs.path("0.png"), pairs.path("1.png"))?;
    let lines = [
        ("0.png", "one"),
        ("1.png", "two"),
        ("1.png", "three"),
        ("2.png", "four"),
    ];
    let lines = lines.map(|(image, caption)| json!({"image": image, "caption": caption, "image_id": null}));
    pairs.write_lines("same.jsonl", &lines)?;
    let coco = ["--n", "0", "--threshold", "0", "--output-format", "coco"];
    succeeded(&pairs.command("same.jsonl", "out", &coco).output()?);
    let out: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/00000.json"))?)?;
    let images = out["images"].as_array().ok_or("images")?;
    let names: Vec<_> = images
        .iter()
        .map(|image| (image["id"].as_u64(), image["file_name"].as_str()))
        .collect();
    assert_eq!(
        names,
        [
            (Some(1), Some("0.png")),
            (Some(2), Some("1.png")),
            (Some(3), Some("2.png"))
        ]
    );
    let captions = out["annotations"].as_array().ok_or("annotations")?;
    let of: Vec<_> = captions
        .iter()
        .map(|caption| (caption["image_id"].as_u64(), caption["caption"].as_str()))
        .collect();
    assert_eq!(
        of,
        [
            (Some(1), Some("one")),
            (Some(2), Some("two")),
            (Some(2), Some("three")),
            (Some(3), Some("four"))
        ]
    );
    Ok(())
}

#[test]
fn what_describes_a_picture_and_is_no_json_is_told_and_left_out() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    pairs.write("folder/a.png", &picture(0))?;
    pairs.write("folder/a.txt", b"a text")?;
    pairs.write("folder/a.json", b"{\"width\": 12,")?;
    pairs.write("folder/@eaDir/a.png", &picture(1))?;
    let files = [
        ("b.png", picture(0)),
        ("b.txt", b"a text".to_vec()),
        ("b.json", b"[1]".to_vec()),
    ];
    pairs.write(
        "00000.tar",
        &archive(&files.map(|(name, bytes)| (name.to_owned(), bytes)))?,
    )?;
    for (input, name) in [("folder", "a.json"), ("00000.tar", "b.json")] {
        let output = format!("{name}-out");
        let more = ["--n", "0", "--output-format", "jsonl"];
        let run = pairs
            .command(input, &output, &more)
            .env("GLIMPSE_LOG", "warn")
            .output()?;
        succeeded(&run);
        let said = stderr(&run);
        assert!(said.contains(name), "{said}");
        assert_eq!(
            said.matches("is no JSON object").count(),
            1,
            "once, however often it is read: {said}"
        );
        let rows = rows(&pairs.path(&output))?;
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (&rows[0]["web"]["text"], &rows[0]["error"]),
            (&json!("a text"), &Value::Null)
        );
        assert!(rows[0].get("width").is_none());
    }
    Ok(())
}
