//! The flags that make the page a host's own.

use std::path::PathBuf;

use clap::Args;

use super::UsageError;
use crate::processor::PictureLimits;
use crate::server::page::Examples;
use crate::server::{Accent, Branding, Customization};

/// What the page is called, says and shows.
#[derive(Args)]
#[command(next_help_heading = "The page")]
pub struct CustomizationArgs {
    /// What the page is called [default: Glimpse]
    #[arg(long, env = "GLIMPSE_TITLE", value_name = "TEXT", value_parser = title)]
    title: Option<String>,

    /// What the page says of itself, where it welcomes a visitor, and to search engines
    #[arg(long, env = "GLIMPSE_DESCRIPTION", value_name = "TEXT", value_parser = sentence)]
    description: Option<String>,

    /// A quiet line on the page, such as "Pictures are deleted every night."
    #[arg(long, env = "GLIMPSE_NOTICE", value_name = "TEXT", value_parser = sentence)]
    notice: Option<String>,

    /// The colour of buttons and marks, as CSS writes it: '#8a2be2', tomato, 'rgb(138 43 226)', 'hsl(271 76%
    /// 53%)' or 'oklch(53% 0.25 301)'. Words on it are black or white, and words in it as dark, or as
    /// light, as they have to be
    #[arg(long, env = "GLIMPSE_ACCENT", value_name = "COLOUR")]
    accent: Option<Accent>,

    /// A folder of pictures to try, in the place of Glimpse's own: each is asked what its file is called, as
    /// What_is_this.jpg, or described, as cat.jpg, unless an examples.json in the folder says otherwise,
    /// as [{"file": "cat.jpg", "question": "What is this?", "alt": "A cat."}]
    #[arg(long, env = "GLIMPSE_EXAMPLES", value_name = "DIR")]
    examples: Option<PathBuf>,
}

/// Characters of a title, and of a sentence.
const TITLE: usize = 60;
const SENTENCE: usize = 300;

fn title(text: &str) -> Result<String, String> {
    line(text, TITLE)
}

fn sentence(text: &str) -> Result<String, String> {
    line(text, SENTENCE)
}

fn line(text: &str, most: usize) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("write some words, or leave it out".to_owned()),
        _ if text.chars().any(char::is_control) => Err("write it in one line".to_owned()),
        count if count > most => Err(format!(
            "it has {count} characters, and at most {most} are shown: write less"
        )),
        _ => Ok(text.to_owned()),
    }
}

impl CustomizationArgs {
    /// Looks at the pictures too, within the limits that visitors' have.
    ///
    /// # Errors
    /// One of them cannot be shown.
    pub fn read(self, limits: PictureLimits) -> Result<Customization, UsageError> {
        let examples = match &self.examples {
            None => Examples::default(),
            Some(folder) => Examples::in_folder(folder, limits).map_err(|error| {
                let sentence = format!("--examples (GLIMPSE_EXAMPLES), {}: {error}", folder.display());
                UsageError(format!("{}.", sentence.trim_end_matches('.')))
            })?,
        };
        let default = Branding::default();
        Ok(Customization {
            branding: Branding {
                title: self.title.unwrap_or(default.title),
                description: self.description,
                notice: self.notice,
            },
            accent: self.accent,
            examples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_host_are_a_line() {
        assert_eq!(title("  Birds of <Kent> "), Ok("Birds of <Kent>".to_owned()));
        assert!(title(&"é".repeat(60)).is_ok() && title(&"é".repeat(61)).is_err());
        assert!(sentence(" ").is_err() && sentence("a\nb").is_err() && sentence(&"a".repeat(300)).is_ok());
    }
}
