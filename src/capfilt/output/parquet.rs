//! Rows as Parquet, nested as they are in JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;
use serde_json::Value;

use super::{Columns, FieldType, RowWriter};
use crate::capfilt::row::{Row, ScoredText};
use crate::capfilt::{CapfiltError, whole_file};

/// Rows that are held until they are written together.
const GROUP: usize = 10_000;

/// Writes rows in groups.
pub struct Writer<'w> {
    path: &'w Path,
    file: Option<SerializedFileWriter<&'w mut BufWriter<File>>>,
    columns: Columns,
    rows: Vec<Row>,
}

impl<'w> Writer<'w> {
    pub fn new(path: &'w Path, file: &'w mut BufWriter<File>, columns: Columns) -> Result<Self, CapfiltError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // The same rows give the same bytes, whoever wrote them.
            .set_created_by("glimpse capfilt".into())
            .build();
        let schema = schema(&columns).map_err(|error| CapfiltError::unwritable(path, error))?;
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
        Ok(Self {
            path,
            file: Some(file.map_err(|error| CapfiltError::unwritable(path, error))?),
            columns,
            rows: Vec::new(),
        })
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut leaves = leaves(&self.rows, &self.columns).into_iter();
        let mut group = file.next_row_group()?;
        while let Some(mut column) = group.next_column()? {
            if let Some(leaf) = leaves.next() {
                leaf.write(column.untyped())?;
            }
            column.close()?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

impl RowWriter for Writer<'_> {
    fn write(&mut self, row: Row, _: &[u8]) -> Result<(), CapfiltError> {
        self.rows.push(row);
        match self.rows.len() {
            GROUP => self
                .write_group()
                .map_err(|error| CapfiltError::unwritable(self.path, error)),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), CapfiltError> {
        let written = self.write_group().and_then(|()| match self.file.take() {
            Some(file) => file.close().map(drop),
            None => Ok(()),
        });
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }
}

/// Turns JSON lines of rows into Parquet.
///
/// # Errors
/// The lines are no rows, or the disk's.
pub fn convert(lines: &Path, path: &Path) -> Result<(), CapfiltError> {
    let mut columns = Columns::default();
    each_row(lines, &mut |row| {
        columns.see(&row);
        Ok(())
    })?;
    whole_file::write(path, |file| {
        let mut writer = Writer::new(path, file, columns)?;
        each_row(lines, &mut |row| writer.write(row, &[]))?;
        writer.finish()
    })
}

fn each_row(lines: &Path, each: &mut dyn FnMut(Row) -> Result<(), CapfiltError>) -> Result<(), CapfiltError> {
    let file = File::open(lines).map_err(|error| CapfiltError::unreadable(lines, error))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| CapfiltError::unreadable(lines, error))?;
        each(serde_json::from_str(&line).map_err(|error| CapfiltError::unreadable(lines, error))?)?;
    }
    Ok(())
}

const SCORED: &str = "required binary text (string); optional float match; optional float cosine;";
const KEPT: &str = "required binary text (string); required binary from (string); optional float match;";

fn schema(columns: &Columns) -> ParquetResult<Type> {
    let list = |name: &str, inside: &str| {
        format!("required group {name} (list) {{ repeated group list {{ required group element {{ {inside} }} }} }}")
    };
    let mut message = format!(
        "message row {{ required binary key (string); optional binary sha256 (string); optional binary error (string); required group web {{ {SCORED} }} {}",
        list("synthetic", SCORED)
    );
    let chosen = match columns.is_selected {
        true => format!("required boolean kept; {}", list("texts", KEPT)),
        false => String::new(),
    };
    message.push_str(&chosen);
    message.push('}');
    let own = parse_message_type(&message)?;
    // Names of the input are not for a parser.
    let mut fields = own.get_fields().to_vec();
    let behind = fields.split_off(5);
    for (name, kind) in &columns.fields {
        fields.push(Arc::new(field_type(name, *kind)?));
    }
    fields.extend(behind);
    Type::group_type_builder("row").with_fields(fields).build()
}

fn field_type(name: &str, kind: Option<FieldType>) -> ParquetResult<Type> {
    use parquet::basic::{LogicalType, Repetition, Type as Physical};
    let (physical, logical) = match kind {
        Some(FieldType::Bool) => (Physical::BOOLEAN, None),
        Some(FieldType::Integer) => (Physical::INT64, None),
        Some(FieldType::Float) => (Physical::DOUBLE, None),
        Some(FieldType::Other) => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Some(FieldType::Text) | None => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

/// The values of a column, with what says where they are.
struct Leaf {
    values: Values,
    definitions: Option<Vec<i16>>,
    repetitions: Option<Vec<i16>>,
}

enum Values {
    Bytes(Vec<ByteArray>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Integers(Vec<i64>),
    Bools(Vec<bool>),
}

impl Leaf {
    fn required(values: Values) -> Self {
        Self {
            values,
            definitions: None,
            repetitions: None,
        }
    }

    /// Of values that may be missing.
    fn optional<T>(values: Vec<Option<T>>, wrap: impl FnOnce(Vec<T>) -> Values) -> Self {
        let definitions = values.iter().map(|value| i16::from(value.is_some())).collect();
        Self {
            values: wrap(values.into_iter().flatten().collect()),
            definitions: Some(definitions),
            repetitions: None,
        }
    }

    /// Of a list in each row, whose values may be missing where `is_optional`.
    fn list<T>(rows: Vec<Vec<Option<T>>>, is_optional: bool, wrap: impl FnOnce(Vec<T>) -> Values) -> Self {
        let (mut definitions, mut repetitions) = (Vec::new(), Vec::new());
        for row in &rows {
            if row.is_empty() {
                definitions.push(0);
                repetitions.push(0);
            }
            for (place, value) in row.iter().enumerate() {
                definitions.push(1 + i16::from(is_optional && value.is_some()));
                repetitions.push(i16::from(place > 0));
            }
        }
        Self {
            values: wrap(rows.into_iter().flatten().flatten().collect()),
            definitions: Some(definitions),
            repetitions: Some(repetitions),
        }
    }

    fn write(self, column: &mut ColumnWriter) -> ParquetResult<()> {
        let (definitions, repetitions) = (self.definitions.as_deref(), self.repetitions.as_deref());
        match (self.values, column) {
            (Values::Bytes(values), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(&values, definitions, repetitions)?;
            }
            (Values::Floats(values), ColumnWriter::FloatColumnWriter(writer)) => {
                writer.write_batch(&values, definitions, repetitions)?;
            }
            (Values::Doubles(values), ColumnWriter::DoubleColumnWriter(writer)) => {
                writer.write_batch(&values, definitions, repetitions)?;
            }
            (Values::Integers(values), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(&values, definitions, repetitions)?;
            }
            (Values::Bools(values), ColumnWriter::BoolColumnWriter(writer)) => {
                writer.write_batch(&values, definitions, repetitions)?;
            }
            _ => {
                return Err(parquet::errors::ParquetError::General(
                    "a column is of another type".into(),
                ));
            }
        }
        Ok(())
    }
}

fn bytes(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

/// The columns of rows, in the schema's order.
fn leaves(rows: &[Row], columns: &Columns) -> Vec<Leaf> {
    let text = |text: &Option<String>| text.as_deref().map(bytes);
    let mut leaves = vec![
        Leaf::required(Values::Bytes(rows.iter().map(|row| bytes(&row.key)).collect())),
        Leaf::optional(rows.iter().map(|row| text(&row.sha256)).collect(), Values::Bytes),
        Leaf::optional(rows.iter().map(|row| text(&row.error)).collect(), Values::Bytes),
        Leaf::required(Values::Bytes(rows.iter().map(|row| bytes(&row.web.text)).collect())),
        Leaf::optional(rows.iter().map(|row| row.web.matching).collect(), Values::Floats),
        Leaf::optional(rows.iter().map(|row| row.web.cosine).collect(), Values::Floats),
    ];
    let synthetic = |number: fn(&ScoredText) -> Option<f32>| -> Vec<Vec<Option<f32>>> {
        rows.iter()
            .map(|row| row.synthetic.iter().map(number).collect())
            .collect()
    };
    let texts = rows
        .iter()
        .map(|row| row.synthetic.iter().map(|text| Some(bytes(&text.text))).collect());
    leaves.push(Leaf::list(texts.collect(), false, Values::Bytes));
    leaves.push(Leaf::list(synthetic(|text| text.matching), true, Values::Floats));
    leaves.push(Leaf::list(synthetic(|text| text.cosine), true, Values::Floats));
    for (name, kind) in &columns.fields {
        let values = rows
            .iter()
            .map(|row| row.fields.get(name).filter(|value| !value.is_null()));
        leaves.push(match kind {
            Some(FieldType::Bool) => Leaf::optional(values.map(|value| value?.as_bool()).collect(), Values::Bools),
            Some(FieldType::Integer) => Leaf::optional(values.map(|value| value?.as_i64()).collect(), Values::Integers),
            Some(FieldType::Float) => Leaf::optional(values.map(|value| value?.as_f64()).collect(), Values::Doubles),
            Some(FieldType::Text) | None => {
                Leaf::optional(values.map(|value| value?.as_str().map(bytes)).collect(), Values::Bytes)
            }
            Some(FieldType::Other) => {
                let json = |value: Option<&Value>| value.map(|value| bytes(&value.to_string()));
                Leaf::optional(values.map(json).collect(), Values::Bytes)
            }
        });
    }
    if columns.is_selected {
        let choices = || rows.iter().map(|row| row.choice.clone().unwrap_or_default());
        leaves.push(Leaf::required(Values::Bools(
            choices().map(|choice| choice.kept).collect(),
        )));
        let texts = choices().map(|choice| choice.texts.iter().map(|text| Some(bytes(&text.text))).collect());
        leaves.push(Leaf::list(texts.collect(), false, Values::Bytes));
        let origins = choices().map(|choice| choice.texts.iter().map(|text| Some(bytes(text.from.name()))).collect());
        leaves.push(Leaf::list(origins.collect(), false, Values::Bytes));
        let matches = choices().map(|choice| choice.texts.iter().map(|text| text.matching).collect());
        leaves.push(Leaf::list(matches.collect(), true, Values::Floats));
    }
    leaves
}
