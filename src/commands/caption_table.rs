//! The lines of one file with all captions of a folder; what somebody else wrote there stays.
//!
//! Source: Hugging Face datasets, *Create an image dataset*, `metadata.jsonl` and `metadata.csv`; RFC 4180.

use std::collections::BTreeMap;
use std::io::{self, Write};

use csv::{ReaderBuilder, StringRecord, Writer};
use serde_json::{Map, Value};

const FILE_NAME: &str = "file_name";
const TEXT: &str = "text";
const TEXTS: &str = "texts";

/// Lines by picture.
#[derive(Debug)]
pub enum TableLines {
    Json(BTreeMap<String, String>),
    Csv(CsvLines),
}

/// Of a table whose columns are somebody's own, but for two.
#[derive(Debug)]
pub struct CsvLines {
    columns: StringRecord,
    name: usize,
    text: usize,
    lines: BTreeMap<String, Vec<StringRecord>>,
}

impl TableLines {
    /// Reads a `metadata.jsonl`.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence.
    pub fn of_json(text: &str) -> Result<Self, String> {
        let lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.map(|(index, line)| {
            let value: Value =
                serde_json::from_str(line).map_err(|error| format!("line {} {}", index + 1, no_json(&error)))?;
            let name = value[FILE_NAME].as_str();
            let name = name.ok_or_else(|| format!("line {} is no object with a `{FILE_NAME}`", index + 1))?;
            Ok((name.to_owned(), line.to_owned()))
        });
        lines.collect::<Result<_, String>>().map(Self::Json)
    }

    /// Reads a `metadata.csv`.
    ///
    /// # Errors
    /// As for [`TableLines::of_json`].
    pub fn of_csv(text: &str) -> Result<Self, String> {
        CsvLines::of(text).map(Self::Csv)
    }

    /// Whether a picture has a caption.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Json(lines) => {
                let line: Option<Value> = lines.get(name).and_then(|line| serde_json::from_str(line).ok());
                let text = line.as_ref().and_then(|line| line[TEXT].as_str());
                text.is_some_and(|text| !text.trim().is_empty())
            }
            Self::Csv(csv) => {
                let mut lines = csv.lines.get(name).into_iter().flatten();
                lines.any(|line| !line[csv.text].trim().is_empty())
            }
        }
    }

    /// Puts a picture's captions in the place of those that it had.
    pub fn put(&mut self, name: &str, captions: Vec<String>) {
        match self {
            Self::Json(lines) => {
                let before = lines.get(name).and_then(|line| serde_json::from_str(line).ok());
                let mut line: Map<String, Value> = before.unwrap_or_default();
                line.insert(FILE_NAME.into(), name.into());
                line.insert(TEXT.into(), captions[0].as_str().into());
                line.remove(TEXTS);
                if captions.len() > 1 {
                    line.insert(TEXTS.into(), captions.into());
                }
                lines.insert(name.to_owned(), Value::Object(line).to_string());
            }
            Self::Csv(csv) => csv.put(name, &captions),
        }
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// As of the writer.
    pub fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Json(lines) => lines.values().try_for_each(|line| writeln!(file, "{line}")),
            Self::Csv(csv) => csv.write(file),
        }
    }
}

impl CsvLines {
    fn of(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self {
                columns: [FILE_NAME, TEXT].as_slice().into(),
                name: 0,
                text: 1,
                lines: BTreeMap::new(),
            });
        }
        let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
        let mut columns = reader.headers().map_err(|error| told(&error))?.clone();
        let place = |column| columns.iter().position(|name| name == column);
        let name = place(FILE_NAME).ok_or_else(|| format!("its first line has no `{FILE_NAME}`"))?;
        let caption = place(TEXT);
        if caption.is_none() {
            columns.push_field(TEXT);
        }
        let mut lines: BTreeMap<String, Vec<StringRecord>> = BTreeMap::new();
        for record in reader.records() {
            let mut record = record.map_err(|error| told(&error))?;
            if caption.is_none() {
                record.push_field("");
            }
            lines.entry(record[name].to_owned()).or_default().push(record);
        }
        Ok(Self {
            text: caption.unwrap_or(columns.len() - 1),
            columns,
            name,
            lines,
        })
    }

    /// A line for each caption; what other columns say of the picture is in all of them.
    fn put(&mut self, name: &str, captions: &[String]) {
        let before = self.lines.get(name).and_then(|lines| lines.first());
        let line = |caption: &String| -> StringRecord {
            let field = |column: usize| match column {
                column if column == self.name => name,
                column if column == self.text => caption,
                column => before.map_or("", |line| &line[column]),
            };
            (0..self.columns.len()).map(field).collect()
        };
        let lines = captions.iter().map(line).collect();
        self.lines.insert(name.to_owned(), lines);
    }

    fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        let mut writer = Writer::from_writer(file);
        writer.write_record(&self.columns)?;
        for line in self.lines.values().flatten() {
            writer.write_record(line)?;
        }
        writer.flush()
    }
}

/// What is wrong with a line that is not read as JSON, as the end of a sentence. Python reads numbers that are too
/// large to be any.
fn no_json(error: &serde_json::Error) -> String {
    match error.to_string() {
        said if said.starts_with("number out of range") => {
            format!("has a number at column {} that is too large to be read", error.column())
        }
        said => format!("is no JSON: {said}"),
    }
}

/// What is wrong with a CSV file, as the end of a sentence.
fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} fields instead of {expected_len}")
        }
        _ => format!("is no CSV file: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> TableLines {
        TableLines::of_csv(text).expect(text)
    }

    fn written(lines: &TableLines) -> String {
        let mut file = Vec::new();
        lines.write(&mut file).expect("memory takes it");
        String::from_utf8(file).expect("it is text")
    }

    #[test]
    fn a_csv_file_is_read_as_it_is_written() {
        let names = ["a.jpg", "b, \"c\"\n.jpg"];
        let mut lines = csv("");
        lines.put(names[1], vec!["say \"x\", he said".into()]);
        lines.put(names[0], vec!["one".into(), "two\nlines".into()]);
        let text = written(&lines);
        assert!(
            text.starts_with("file_name,text\na.jpg,one\na.jpg,\"two\nlines\"\n"),
            "{text}"
        );
        let again = csv(&format!("\u{feff}{}", text.replace("one\n", "one\r\n")));
        assert_eq!(written(&again), text);
        assert!(names.iter().all(|name| again.has(name)) && !again.has("c.jpg"));
    }

    #[test]
    fn other_columns_stay() {
        let mut lines = csv("split,file_name,label\ntrain,a.jpg,cat\ntest,b.jpg,dog\n");
        assert!(!lines.has("a.jpg"), "a picture without a text has no caption");
        lines.put("a.jpg", vec!["a cat".into(), "two cats".into()]);
        lines.put("c.jpg", vec!["a cow".into()]);
        assert!(lines.has("a.jpg") && !lines.has("b.jpg"));
        let expected = "split,file_name,label,text\ntrain,a.jpg,cat,a cat\ntrain,a.jpg,cat,two cats\n\
                        test,b.jpg,dog,\n,c.jpg,,a cow\n";
        assert_eq!(written(&lines), expected);
    }

    #[test]
    fn what_is_no_table_of_pictures_is_refused() {
        for (text, reason) in [
            ("image,text\na,b\n", "its first line has no `file_name`"),
            ("file_name,text\na\n", "line 2 has 1 fields instead of 2"),
        ] {
            assert_eq!(TableLines::of_csv(text).expect_err(text), reason);
        }
    }

    #[test]
    fn a_line_of_json_without_a_text_is_kept_and_has_no_caption() {
        let mut lines = TableLines::of_json("{\"file_name\": \"a.jpg\", \"label\": 3}\n\n").expect("it is one");
        assert!(!lines.has("a.jpg"));
        lines.put("a.jpg", vec!["a cat".into()]);
        assert!(lines.has("a.jpg"));
        let line: Value = serde_json::from_str(&written(&lines)).expect("it is JSON");
        assert_eq!(
            line,
            serde_json::json!({"file_name": "a.jpg", "label": 3, "text": "a cat"})
        );
        let refused = TableLines::of_json("{}\n").expect_err("it names no picture");
        assert_eq!(refused, "line 1 is no object with a `file_name`");
        let refused = |line: &str| TableLines::of_json(line).expect_err(line);
        let large = refused("{\"file_name\": \"a.jpg\"}\n{\"file_name\": \"a.jpg\", \"n\": 1e400}\n");
        assert_eq!(large, "line 2 has a number at column 33 that is too large to be read");
        assert!(refused("{\"file_name\": ").starts_with("line 1 is no JSON: EOF"));
    }
}
