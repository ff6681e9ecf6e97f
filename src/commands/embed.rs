//! `glimpse embed`: pictures and texts as vectors.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::folder::write_whole;
use super::log::tell;
use super::matching::{comparer, load, text_ids};
use super::options::ModelArgs;
use super::{CommandResult, UsageError, picture, progress};
use crate::models::{Embedder, OpenModel, Vectors};
use crate::processor::PictureLimits;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Args)]
#[command(
    after_help = "Prints a JSON object a line: the picture or the text, and its embedding. Vectors have length 1, so\nthat the cosine of a picture and a text is their dot product. BLIP gives one vector a picture; BLIP-2\ngives 32, a list of lists, of which the one nearest to a text counts (the largest dot product)."
)]
pub struct EmbedArgs {
    /// Picture files, http(s) addresses (fetched as curl would, from private networks too: this is
    /// your own machine), or - for standard input
    #[arg(value_name = "PICTURE", required_unless_present = "text")]
    pictures: Vec<OsString>,

    /// A text; may be given several times (the variable holds one). Texts come behind the pictures
    #[arg(id = "text", long = "text", env = "GLIMPSE_TEXT", value_name = "TEXT")]
    texts: Vec<String>,

    /// Write the vectors to a file that numpy.load reads as well: f32, in rows of one vector, or of 32 for
    /// BLIP-2's pictures; each line then names its row
    #[arg(long, env = "GLIMPSE_OUTPUT", value_name = "FILE.npy")]
    output: Option<PathBuf>,

    #[command(flatten)]
    limits: picture::PictureLimitArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// What is printed of a picture or a text.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    of: Of<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Embedding>,
    /// In the file, where one is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding {
    One(Vec<f32>),
    /// One a query token.
    Several(Vec<Vec<f32>>),
}

impl From<&Vectors> for Embedding {
    fn from(vectors: &Vectors) -> Self {
        let mut rows: Vec<Vec<f32>> = vectors.rows().map(<[f32]>::to_vec).collect();
        match rows.len() {
            1 => Self::One(rows.remove(0)),
            _ => Self::Several(rows),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Of<'a> {
    Picture(String),
    Text(&'a str),
}

/// Prints the vectors of all pictures, then those of all texts. What fails says so in its place.
///
/// # Errors
/// A model for something else, pictures and texts that do not go into one file, a file that cannot be
/// written, or pictures that failed (after all were tried).
pub fn run(args: EmbedArgs) -> CommandResult {
    if args.texts.iter().any(|text| text.trim().is_empty()) {
        let sentence = "--text (GLIMPSE_TEXT) is empty. Give a text, or leave it out.";
        return Err(UsageError(sentence.into()).into());
    }
    if let Some(path) = &args.output {
        check_output(path)?;
    }
    let model = load(&args.model)?;
    let comparer = comparer(&model)?;
    embed(&args, &model, &comparer)
}

/// Where the name was forgotten, the first picture stands in its place.
fn check_output(path: &Path) -> Result<(), UsageError> {
    let ending = path.extension().unwrap_or_default();
    if ending.eq_ignore_ascii_case("npy") {
        return Ok(());
    }
    let sentence = format!(
        "--output (GLIMPSE_OUTPUT) is {}, and numpy's files end in .npy. Name one that does.",
        path.display()
    );
    Err(UsageError(sentence))
}

fn embed<M: Embedder>(args: &EmbedArgs, model: &OpenModel, embedder: &M) -> CommandResult {
    let vectors = embedder.vectors_of_picture();
    if args.output.is_some() && vectors > 1 && !args.pictures.is_empty() && !args.texts.is_empty() {
        return Err(format!(
            "A picture has {vectors} vectors in {} and a text has one, and the rows of a file are alike. Write pictures and texts into files of their own.",
            model.name
        )
        .into());
    }
    let limits = args.limits.limits();
    let mut rows = Rows {
        vectors: if args.pictures.is_empty() { 1 } else { vectors },
        width: embedder.width(),
        numbers: args.output.is_some().then(Vec::new),
    };
    let mut failures = 0;
    for name in &args.pictures {
        let found = of_picture(name, model, embedder, &limits);
        if let Err(error) = &found {
            failures += 1;
            tell(error);
        }
        rows.print(Of::Picture(name.to_string_lossy().into_owned()), found)?;
    }
    for text in &args.texts {
        let ids = text_ids(text, embedder, &model.processor)?;
        rows.print(Of::Text(text), Ok(finite(embedder.text_vector(&ids)?)?))?;
    }
    if let Some(path) = &args.output {
        let written = write_whole(path, |file| rows.write(file));
        written.map_err(|error| format!("{} cannot be written: {error}. Name another file.", path.display()))?;
    }
    match failures {
        0 => Ok(()),
        _ => Err(format!("{} without vectors, as said above.", progress::pictures(failures)).into()),
    }
}

/// A picture's vectors.
///
/// # Errors
/// It cannot be read, or the model's numbers are none.
fn of_picture<M: Embedder>(
    name: &OsStr,
    model: &OpenModel,
    embedder: &M,
    limits: &PictureLimits,
) -> Result<Vectors, AnyError> {
    let picture = picture::open(name, limits)?;
    let pixel_values = model.processor.image.pixel_values(&picture)?;
    finite(embedder.picture_vectors(&pixel_values)?)
}

/// # Errors
/// A number is none.
pub fn finite(vectors: Vectors) -> Result<Vectors, AnyError> {
    match vectors.numbers.iter().all(|number| number.is_finite()) {
        true => Ok(vectors),
        false => Err(crate::generation::GenerationError::NotFinite.into()),
    }
}

/// What goes into the file.
struct Rows {
    /// Vectors of a row.
    vectors: usize,
    width: usize,
    /// None where no file is written.
    numbers: Option<Vec<f32>>,
}

impl Rows {
    fn count(&self) -> usize {
        let numbers = self.numbers.as_ref().map_or(0, Vec::len);
        numbers / (self.vectors * self.width).max(1)
    }

    fn print(&mut self, of: Of, found: Result<Vectors, AnyError>) -> io::Result<()> {
        let row = self.count();
        let mut line = Line {
            of,
            embedding: None,
            row: None,
            error: None,
        };
        match found {
            Ok(vectors) => {
                line.embedding = Some(Embedding::from(&vectors));
                if let Some(numbers) = &mut self.numbers {
                    line.row = Some(row);
                    numbers.extend(vectors.numbers);
                }
            }
            Err(error) => line.error = Some(error.to_string()),
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
        stdout.flush()
    }

    /// NumPy's format, version 1.0 (`numpy.lib.format`).
    fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        let (rows, vectors, width) = (self.count(), self.vectors, self.width);
        let shape = match vectors {
            1 => format!("({rows}, {width})"),
            _ => format!("({rows}, {vectors}, {width})"),
        };
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        // Numbers begin at a multiple of 64 bytes.
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(length as u16).to_le_bytes())?;
        writeln!(file, "{header:<width$}", width = length - 1)?;
        let numbers = self.numbers.iter().flatten();
        numbers
            .into_iter()
            .try_for_each(|number| file.write_all(&number.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_numpys() {
        let rows = Rows {
            vectors: 1,
            width: 2,
            numbers: Some(vec![1.0, 2.0, 3.0, 4.0]),
        };
        let mut file = Vec::new();
        rows.write(&mut file).expect("it is written to memory");
        assert_eq!(file.len(), 128 + 16);
        assert!(
            file.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }")
        );
        assert_eq!(file[127], b'\n');
        assert_eq!(file[128..132], 1f32.to_le_bytes());
    }
}
