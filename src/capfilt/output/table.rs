//! Rows as CSV or TSV: what is nested stands in its column as JSON.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

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
    columns: Columns,
}

impl<'w> Table<'w> {
    pub fn new(
        path: &'w Path,
        file: &'w mut BufWriter<File>,
        delimiter: u8,
        columns: Columns,
    ) -> Result<Self, CapfiltError> {
        let mut table = csv::WriterBuilder::new().delimiter(delimiter).from_writer(file);
        let names = OWN.iter().copied().chain(columns.fields.keys().map(String::as_str));
        let choice = CHOICE.iter().copied().filter(|_| columns.is_selected);
        let written = table.write_record(names.chain(choice));
        written.map_err(|error| CapfiltError::unwritable(path, error))?;
        Ok(Self { path, table, columns })
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
        let written = self.table.write_record(&cells);
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }

    fn finish(&mut self) -> Result<(), CapfiltError> {
        self.table
            .flush()
            .map_err(|error| CapfiltError::unwritable(self.path, error))
    }
}

/// What is nested, in a column.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
