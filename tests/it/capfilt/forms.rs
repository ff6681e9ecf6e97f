//! Pairs in every form give the same scores.

use std::io::Write;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::{AnyResult, Pairs, caption, picture, rows, succeeded};

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
    for (name, delimiter) in [("table.csv", ","), ("table.tsv", "\t")] {
        let lines = (0..3).map(|number| format!("\"{}\"{delimiter}{number}.png{delimiter}{number}", caption(number)));
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
