//! `glimpse export`: what visitors asked and what they think of the answers, as lines of JSON.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::CommandResult;
use crate::service::export::{ExportedConversation, ExportedRating};
use crate::store::{Archive, StoreError};

#[derive(Args)]
pub struct ExportArgs {
    /// The folder that `glimpse serve` keeps conversations in; a server may be running with it
    #[arg(long, env = "GLIMPSE_DATA", value_name = "DIR", required = true)]
    data: PathBuf,

    /// Print what visitors think of answers (Good answer, Bad answer), in the place of conversations
    #[arg(long, env = "GLIMPSE_FEEDBACK")]
    feedback: bool,
}

pub fn run(args: &ExportArgs) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut lines = BufWriter::new(std::io::stdout().lock());
    runtime.block_on(async {
        let mut archive = Archive::open(&args.data).await?;
        match args.feedback {
            true => ratings(&mut archive, &mut lines).await,
            false => conversations(&mut archive, &mut lines).await,
        }
    })?;
    Ok(lines.flush()?)
}

async fn conversations(archive: &mut Archive, lines: &mut impl Write) -> CommandResult {
    for id in archive.conversations().await? {
        match archive.conversation(&id).await {
            Ok(conversation) => line(lines, &ExportedConversation::of_many(conversation))?,
            // Deleted meanwhile.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn ratings(archive: &mut Archive, lines: &mut impl Write) -> CommandResult {
    for rated in archive.rated_answers().await? {
        line(lines, &ExportedRating::from(rated))?;
    }
    Ok(())
}

fn line(lines: &mut impl Write, object: &impl serde::Serialize) -> CommandResult {
    writeln!(lines, "{}", serde_json::to_string(object)?)?;
    Ok(())
}
