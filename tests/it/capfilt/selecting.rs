//! The second step by itself.

use serde_json::{Value, json};

use super::{AnyResult, Pairs, glimpse, rows, stderr, succeeded};

/// Rows with these scores of the web's text and of synthetic ones.
fn scored(scores: &[(Option<f64>, &[f64])]) -> Vec<Value> {
    let text = |text: String, matching: Option<f64>| json!({"text": text, "match": matching, "cosine": matching});
    let row = |(number, (web, synthetic)): (usize, &(Option<f64>, &[f64]))| {
        let synthetic = synthetic.iter().enumerate();
        let synthetic: Vec<Value> = synthetic
            .map(|(place, score)| text(format!("s{place}"), Some(*score)))
            .collect();
        json!({"key": number.to_string(), "sha256": null, "error": null, "web": text("web".into(), *web), "synthetic": synthetic, "url": "x"})
    };
    scores.iter().enumerate().map(row).collect()
}

fn selected(pairs: &Pairs, output: &str, more: &[&str]) -> AnyResult<Vec<Value>> {
    let output = pairs.path(output);
    let run = glimpse()
        .args(["capfilt", "select", "--input"])
        .arg(pairs.path("scores.jsonl"))
        .arg("--output")
        .arg(&output)
        .args(more)
        .output()?;
    succeeded(&run);
    rows(&output)
}

#[test]
fn each_policy_decides_by_the_scores_alone() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    let scores: [(Option<f64>, &[f64]); 5] = [
        (Some(0.9), &[0.8, 0.95]),
        (Some(0.3), &[0.6, 0.7]),
        (Some(0.3), &[0.2]),
        (None, &[0.55]),
        (Some(0.5), &[]),
    ];
    pairs.write_lines("scores.jsonl", &scored(&scores))?;
    let texts = |policy: &str, more: &[&str]| -> AnyResult<Vec<String>> {
        let rows = selected(&pairs, policy, &[&["--policy", policy][..], more].concat())?;
        let texts = rows.iter().map(|row| {
            let texts = row["texts"].as_array().ok_or("texts")?;
            assert_eq!((&row["kept"], &row["url"]), (&json!(!texts.is_empty()), &json!("x")));
            let texts = texts
                .iter()
                .map(|text| text["text"].as_str().unwrap_or_default().to_owned());
            Ok(texts.collect::<Vec<_>>().join(" "))
        });
        texts.collect()
    };
    assert_eq!(texts("paper", &[])?, ["web s0 s1", "s0 s1", "", "s0", "web"]);
    assert_eq!(texts("replace", &[])?, ["web", "s1", "", "s0", "web"]);
    assert_eq!(texts("best", &[])?, ["s1", "s1", "", "s0", "web"]);
    assert_eq!(texts("filter", &[])?, ["web", "", "", "", "web"]);
    assert_eq!(
        texts("filter", &["--threshold", "0.2"])?,
        ["web", "web", "web", "", "web"]
    );
    assert_eq!(texts("best", &["--threshold", "0.99"])?, [""; 5]);
    let stats: Value = serde_json::from_slice(&std::fs::read(pairs.path("paper/_stats.json"))?)?;
    assert_eq!(
        (
            &stats["kept"],
            &stats["policy"],
            &stats["web"]["noisy"],
            &stats["web"]["kept"]
        ),
        (&json!(4), &json!("paper"), &json!(2), &json!(2))
    );
    assert_eq!(stats["synthetic"]["noise_ratio"], json!(1.0 / 6.0));
    let shard: Value = serde_json::from_slice(&std::fs::read(pairs.path("paper/scores_stats.json"))?)?;
    assert_eq!(shard["pictures"], 5);
    let report = std::fs::read_to_string(pairs.path("paper/report.html"))?;
    assert!(report.contains("16.7 %") && report.contains("25.0 % drawn") && report.contains("19.0 % by beam search"));
    Ok(())
}

#[test]
fn rows_are_selected_again_and_what_is_none_is_named() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    pairs.write_lines("scores.jsonl", &scored(&[(Some(0.9), &[0.8])]))?;
    let first = selected(&pairs, "first", &["--policy", "filter"])?;
    std::fs::copy(pairs.path("first/scores.jsonl"), pairs.path("scores.jsonl"))?;
    assert_eq!(selected(&pairs, "again", &["--policy", "filter"])?, first);
    pairs.write(
        "scores.jsonl",
        b"{\"key\":\"1\",\"web\":{\"text\":\"a\"}}\n{\"key\":\"2\"}\n",
    )?;
    let output = glimpse()
        .args(["capfilt", "select", "--input"])
        .arg(pairs.path("scores.jsonl"))
        .arg("--output")
        .arg(pairs.path("wrong"))
        .output()?;
    let said = stderr(&output);
    assert!(
        output.status.code() == Some(1) && said.contains("row 2") && said.contains("web"),
        "{said}"
    );
    assert!(!pairs.path("wrong/scores.jsonl").exists(), "whole or absent");
    Ok(())
}

#[test]
fn rows_are_the_same_in_every_form() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let lines = pairs.clean("pairs.jsonl", "lines", &["--n", "2"])?;
    succeeded(
        &pairs
            .command(
                "pairs.jsonl",
                "parquet",
                &["--n", "2", "--scores-format", "parquet", "--output-format", "json"],
            )
            .output()?,
    );
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(pairs.path("parquet/00000.json"))?)?;
    let nested: Vec<String> = lines.iter().map(|row| row["more"].to_string()).collect();
    for ((row, from_parquet), nested) in lines.iter().zip(&list).zip(nested) {
        for name in [
            "key",
            "sha256",
            "error",
            "web",
            "synthetic",
            "kept",
            "texts",
            "id",
            "image",
        ] {
            assert_eq!(row[name], from_parquet[name], "{name}");
        }
        assert_eq!(from_parquet["more"], nested);
    }
    let run = glimpse()
        .args(["capfilt", "select", "--output-format", "csv", "--input"])
        .arg(pairs.path("parquet"))
        .arg("--output")
        .arg(pairs.path("csv"))
        .output()?;
    succeeded(&run);
    let table = std::fs::read_to_string(pairs.path("csv/00000.csv"))?;
    let mut read = csv::Reader::from_reader(table.as_bytes());
    let names: Vec<String> = read.headers()?.iter().map(str::to_owned).collect();
    assert_eq!(
        names[..7],
        [
            "key",
            "sha256",
            "error",
            "web_text",
            "web_match",
            "web_cosine",
            "synthetic"
        ]
    );
    let records: Vec<csv::StringRecord> = read.records().collect::<Result<_, _>>()?;
    assert_eq!(records.len(), 3);
    for (row, record) in lines.iter().zip(&records) {
        assert_eq!(
            row["web"]["match"].as_f64().map(|number| number as f32),
            record[4].parse().ok()
        );
        assert_eq!(row["synthetic"], serde_json::from_str::<Value>(&record[6])?);
        assert_eq!(row["texts"], serde_json::from_str::<Value>(&record[names.len() - 1])?);
    }
    Ok(())
}
