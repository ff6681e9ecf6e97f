//! Rows as CSV or TSV: what is nested stands in its column as JSON.
//!
//! TSV is written as it is read: without quotation marks around values, so that tabs and ends of lines within
//! one become spaces.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use csv::QuoteStyle;
use serde::Serialize;
use serde_json::Value;

use super::{Columns, RowWriter};
use crate::capfilt::CapfiltError;
use crate::capfilt::row::Row;

/// Columns in front of the input's own.
const OWN: [&str; 7] = [
    "key",
    "sha256",
    "error",
    "web_text",
    "web_match",
    "web_cosine",
    "synthetic",
];

/// Columns behind them, once something was decided.
const CHOICE: [&str; 2] = ["kept", "texts"];

pub struct Table<'w> {
    path: &'w Path,
    table: csv::Writer<&'w mut BufWriter<File>>,
    is_quoted: bool,
    columns: Columns,
}

impl<'w> Table<'w> {
    pub fn new(
        path: &'w Path,
        file: &'w mut BufWriter<File>,
        delimiter: u8,
        columns: Columns,
    ) -> Result<Self, CapfiltError> {
        let is_quoted = delimiter != b'\t';
        let style = match is_quoted {
            true => QuoteStyle::Necessary,
            false => QuoteStyle::Never,
        };
        let names = OWN.iter().copied().chain(columns.fields.keys().map(String::as_str));
        let choice = CHOICE.iter().copied().filter(|_| columns.is_selected);
        let names: Vec<String> = names.chain(choice).map(str::to_owned).collect();
        let mut table = Self {
            path,
            table: csv::WriterBuilder::new()
                .delimiter(delimiter)
                .quote_style(style)
                .from_writer(file),
            is_quoted,
            columns,
        };
        table.line(&names)?;
        Ok(table)
    }

    fn line<'c>(&mut self, cells: &'c [String]) -> Result<(), CapfiltError> {
        let in_a_line = |cell: &'c String| match self.is_quoted {
            true => Cow::Borrowed(cell.as_str()),
            false => without_ends(cell),
        };
        let cells: Vec<Cow<str>> = cells.iter().map(in_a_line).collect();
        let written = self.table.write_record(cells.iter().map(|cell| cell.as_bytes()));
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }
}

impl RowWriter for Table<'_> {
    fn write(&mut self, row: Row, _: &[u8]) -> Result<(), CapfiltError> {
        let number = |number: Option<f32>| number.map(|number| number.to_string()).unwrap_or_default();
        let mut cells = vec![
            row.key.clone(),
            row.sha256.clone().unwrap_or_default(),
            row.error.clone().unwrap_or_default(),
            row.web.text.clone(),
            number(row.web.matching),
            number(row.web.cosine),
            json(&row.synthetic),
        ];
        for name in self.columns.fields.keys() {
            cells.push(match row.fields.get(name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            });
        }
        if self.columns.is_selected {
            let choice = row.choice.unwrap_or_default();
            cells.push(choice.kept.to_string());
            cells.push(json(&choice.texts));
        }
        self.line(&cells)
    }

    fn finish(&mut self) -> Result<(), CapfiltError> {
        self.table
            .flush()
            .map_err(|error| CapfiltError::unwritable(self.path, error))
    }
}

/// A value without what ends a column or a line.
fn without_ends(cell: &str) -> Cow<'_, str> {
    match cell.contains(['\t', '\n', '\r']) {
        true => cell.replace(['\t', '\n', '\r'], " ").into(),
        false => cell.into(),
    }
}

/// What is nested, in a column.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
