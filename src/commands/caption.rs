//! `glimpse caption FOLDER`: a caption for each picture of a folder, written beside them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::ask::{Asker, Pending};
use super::caption_files::{CaptionFiles, Extension, Format, NotWritten};
use super::flag_names::FlagNames;
use super::folder::{Failure, Folder, name_failures};
use super::log::tell;
use super::number_args::{of, whole};
use super::options::{GenerationArgs, ModelArgs};
use super::{CommandResult, UsageError, picture, progress};
use crate::engine::{BatchLimits, EngineError, Instruction, Purpose};
use crate::generation::{GenerationOptions, bounds};
use crate::models::auto::Asked;
use crate::processor::PictureLimits;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Args)]
#[command(
    after_help = "A picture that has a caption already is skipped, so that a run that was interrupted goes on where it\nwas. Files are written whole or not at all. What could not be captioned is named at the end."
)]
pub struct CaptionArgs {
    /// The folder with the pictures; those of folders within it are captioned too
    folder: PathBuf,

    /// What is written: sidecar (beside a.jpg its caption in a.txt), metadata.jsonl (one file in
    /// FOLDER, as Hugging Face's imagefolder reads it), or csv (metadata.csv, likewise)
    #[arg(long, env = "GLIMPSE_FORMAT", default_value = "sidecar", value_name = "FORMAT")]
    format: Format,

    /// How the names of sidecars end, such as txt or caption
    #[arg(long, env = "GLIMPSE_EXTENSION", default_value = "txt", value_name = "ENDING")]
    extension: Extension,

    /// Write captions anew where there are some
    #[arg(long, env = "GLIMPSE_OVERWRITE", value_parser = BoolishValueParser::new())]
    overwrite: bool,

    /// How many captions for each picture, 1 to 10 (a line each in a sidecar); more than one are
    /// drawn, with --top-p 0.9, unless --num-beams or --do-sample says how
    #[arg(long, env = "GLIMPSE_N", default_value_t = 1, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(of(bounds::NUM_RETURN_SEQUENCES)))]
    n: usize,

    /// How captions begin, such as "a photo of": the model goes on from it, and it is written too
    #[arg(long, env = "GLIMPSE_PREFIX", value_name = "TEXT")]
    prefix: Option<String>,

    /// Put in front of every caption as it is; the model does not see it
    #[arg(
        long,
        env = "GLIMPSE_PREPEND",
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    prepend: String,

    /// Put behind every caption as it is
    #[arg(
        long,
        env = "GLIMPSE_POSTFIX",
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    postfix: String,

    #[command(flatten)]
    limits: picture::PictureLimitArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    generation: GenerationArgs,
}

/// What stands around what the model writes.
struct Around {
    /// What the model goes on from.
    beginning: Option<String>,
    prepend: String,
    postfix: String,
}

impl Around {
    /// # Errors
    /// A beginning of nothing, or lines, of which a caption is one.
    fn check(&self) -> Result<(), UsageError> {
        if self.beginning.as_ref().is_some_and(|prefix| prefix.trim().is_empty()) {
            let sentence = "--prefix (GLIMPSE_PREFIX) is empty. Say how captions begin, or leave it out.";
            return Err(UsageError(sentence.into()));
        }
        let beginning = self.beginning.as_deref().unwrap_or_default();
        for (flag, text) in [
            ("prefix", beginning),
            ("prepend", &self.prepend),
            ("postfix", &self.postfix),
        ] {
            if text.contains(char::is_control) {
                let sentence =
                    format!("--{flag} has more than a line, and a caption is one. Leave the line's end out.");
                return Err(UsageError(sentence));
            }
        }
        Ok(())
    }

    /// A caption as it is written, in one line; `None` where the model wrote nothing.
    fn caption(&self, written: &str) -> Option<String> {
        let words: String = written.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words = words.trim();
        if words.is_empty() {
            return None;
        }
        let between = match &self.beginning {
            // A comma stands at the word before it.
            Some(_) if words.starts_with(['.', ',', ';', ':', '!', '?']) => "",
            Some(_) => " ",
            None => "",
        };
        let beginning = self.beginning.as_deref().unwrap_or_default().trim_end();
        Some(format!("{}{beginning}{between}{words}{}", self.prepend, self.postfix))
    }
}

/// The most questions that are with the engine: as many as it answers at once, and one that waits.
fn most_asked(rows_of_caption: usize) -> usize {
    (BatchLimits::default().rows / rows_of_caption.max(1)).max(1) + 1
}

/// Threads that read pictures ahead.
const READERS: usize = 2;

/// Captions all pictures that have none.
///
/// # Errors
/// A folder without pictures or that cannot be written to, a model that writes no captions, or pictures
/// that failed (after all were tried).
pub fn run(args: CaptionArgs, flag_names: &FlagNames) -> CommandResult {
    let settings = args.generation.settings_with(flag_names, |options| {
        ask_for_several(options, args.n, flag_names);
    })?;
    let around = Around {
        beginning: args.prefix,
        prepend: args.prepend,
        postfix: args.postfix,
    };
    around.check()?;
    if args.n > 1 && flag_names.is_given("num_return_sequences") {
        let sentence = "--n and --num-return-sequences say the same. Give one of them.";
        return Err(UsageError(sentence.into()).into());
    }
    let mut folder = Folder::look_through(&args.folder)?;
    folder.remove_leftovers();
    let mut failures = std::mem::take(&mut folder.failures);
    let unread = failures.len();
    let mut files = CaptionFiles::open(&folder, args.format, args.extension)?;
    let todo = files.without_caption(&folder.pictures, args.overwrite, &mut failures);
    let mut run = Run {
        captioned: 0,
        skipped: folder.pictures.len() - todo.len() - (failures.len() - unread),
        began: Instant::now(),
        failures,
    };
    if !todo.is_empty() {
        let asker = Asker::load(args.model, Asked::Caption, &settings, &args.generation, QUEUE)?;
        if asker.purpose() == Purpose::Answers {
            let sentence = "This model answers questions and writes no captions. Use one that does, as Salesforce/blip-image-captioning-base.";
            return Err(sentence.into());
        }
        run.began = Instant::now();
        let work = Work {
            asker: &asker,
            folder: &folder,
            todo: &todo,
            limits: args.limits.limits(),
            instruction: Instruction::Caption {
                prefix: around.beginning.clone(),
            },
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        };
        let ended = work.caption_all(&around, &mut files, &mut run);
        // Whatever ended it: what was written is kept.
        files.save()?;
        ended?;
    }
    run.tell()
}

/// More than one caption have to differ: unless somebody says how, they are drawn.
fn ask_for_several(options: &mut GenerationOptions, n: usize, flag_names: &FlagNames) {
    if n == 1 {
        return;
    }
    options.num_return_sequences = n;
    let is_said = ["num_beams", "do_sample", "preset"]
        .iter()
        .any(|name| flag_names.is_given(name));
    if !is_said {
        options.do_sample = true;
        if !flag_names.is_given("top_p") {
            options.top_p = 0.9;
        }
    }
}

/// More than are ever asked at once.
const QUEUE: usize = 64;

/// What there is to do, as the threads that read pictures share it.
struct Work<'w> {
    asker: &'w Asker,
    folder: &'w Folder,
    todo: &'w [String],
    limits: PictureLimits,
    instruction: Instruction,
    next: AtomicUsize,
    is_over: AtomicBool,
}

/// A picture of the list, and its question, which waits for the model.
type AskedPicture = (usize, Result<Pending, AnyError>);

impl Work<'_> {
    /// # Errors
    /// The model is gone, or nothing can be written.
    fn caption_all(&self, around: &Around, files: &mut CaptionFiles, run: &mut Run) -> Result<(), AnyError> {
        let (sender, asked) = sync_channel(most_asked(self.asker.settings().rows_of_caption()));
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                let sender = sender.clone();
                scope.spawn(move || self.ask_on(&sender));
            }
            drop(sender);
            let written = self.write_all(asked, around, files, run);
            self.is_over.store(true, Ordering::Relaxed);
            written
        })
    }

    /// Reads picture after picture, and asks about each.
    fn ask_on(&self, sender: &SyncSender<AskedPicture>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = self.todo.get(index) else { return };
            if sender.send((index, self.ask(name))).is_err() {
                return;
            }
        }
    }

    fn ask(&self, name: &str) -> Result<Pending, AnyError> {
        let picture = picture::open(self.folder.whole(name).as_os_str(), &self.limits)?;
        let picture = self.asker.prepare(&picture);
        Ok(self.asker.submit(&picture, self.instruction.clone())?)
    }

    fn write_all(
        &self,
        asked: Receiver<AskedPicture>,
        around: &Around,
        files: &mut CaptionFiles,
        run: &mut Run,
    ) -> Result<(), AnyError> {
        let bar = progress::show_count(self.todo.len(), "captioned");
        let written = asked
            .into_iter()
            .try_for_each(|(index, pending)| -> Result<(), AnyError> {
                let name = &self.todo[index];
                let captions = self.captions(pending, around);
                match captions.and_then(|captions| Ok(files.write(name, captions)?)) {
                    Ok(()) => run.captioned += 1,
                    Err(error) if is_the_end(error.as_ref()) => return Err(error),
                    Err(error) => run.failures.push(Failure {
                        picture: self.folder.whole(name).to_string_lossy().into_owned(),
                        reason: error.to_string(),
                    }),
                }
                bar.inc(1);
                Ok(())
            });
        progress::hide(&bar);
        written
    }

    fn captions(&self, pending: Result<Pending, AnyError>, around: &Around) -> Result<Vec<String>, AnyError> {
        let record = self.asker.wait(pending?, |_| Ok(()))?;
        let captions: Vec<String> = record.texts().filter_map(|text| around.caption(text)).collect();
        match captions.is_empty() {
            true => Err("the model wrote no caption; ask for one with --min-new-tokens 1".into()),
            false => Ok(captions),
        }
    }
}

/// Whether nothing more can be asked, or written.
fn is_the_end(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let is_gone = matches!(
        error.downcast_ref::<EngineError>(),
        Some(EngineError::Gone | EngineError::DeviceFailed)
    );
    is_gone || error.downcast_ref::<NotWritten>().is_some_and(NotWritten::is_the_end)
}

/// What came of it.
struct Run {
    captioned: usize,
    skipped: usize,
    began: Instant,
    failures: Vec<Failure>,
}

impl Run {
    /// Says it on standard error.
    fn tell(&self) -> CommandResult {
        name_failures(&self.failures);
        let seconds = self.began.elapsed().as_secs_f64();
        let mut line = format!("{} captioned", progress::pictures(self.captioned));
        if self.captioned > 0 {
            line += &format!(
                " in {seconds:.1} s ({:.2} a second)",
                self.captioned as f64 / seconds.max(1e-9)
            );
        }
        if self.skipped > 0 {
            line += &format!(
                ", {} with a caption skipped (--overwrite writes them anew)",
                self.skipped
            );
        }
        tell(format_args!("{line}."));
        match self.failures.len() {
            0 => Ok(()),
            failed => Err(format!("{} without a caption, as said above.", progress::pictures(failed)).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(beginning: Option<&str>, prepend: &str, postfix: &str) -> Around {
        Around {
            beginning: beginning.map(str::to_owned),
            prepend: prepend.to_owned(),
            postfix: postfix.to_owned(),
        }
    }

    #[test]
    fn a_caption_is_one_line_with_what_stands_around_it() {
        let plain = around(None, "", "");
        assert_eq!(
            plain.caption(" a dog\non a\u{1b} beach \n"),
            Some("a dog on a  beach".into())
        );
        assert_eq!(plain.caption(" \n"), None);
        let begun = around(Some("a photo of "), "sks, ", ", 4k");
        assert_eq!(begun.caption(" a dog"), Some("sks, a photo of a dog, 4k".into()));
        assert_eq!(begun.caption(", a dog"), Some("sks, a photo of, a dog, 4k".into()));
    }

    #[test]
    fn the_engine_has_as_many_as_it_answers_at_once_and_one_more() {
        assert_eq!(
            (most_asked(1), most_asked(5), most_asked(0), most_asked(100)),
            (17, 4, 17, 2)
        );
    }
}
