//! What is answered to which question.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

/// Why a script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error("The script {file} cannot be read: {error}. Name another one, or none.")]
    File { file: String, error: std::io::Error },
    #[error("The script {file} is none: {error}. It looks like {EXAMPLE}.")]
    Json { file: String, error: serde_json::Error },
}

const EXAMPLE: &str = r#"{"answers": {"how many?": ["two", " circles"]}, "otherwise": ["no", " idea"]}"#;

/// What is answered to which question, token by token.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    pub answers: HashMap<String, Vec<String>>,
    /// What every other question is answered with.
    pub otherwise: Vec<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            answers: HashMap::new(),
            otherwise: ["a", " scripted", " answer"].map(str::to_owned).to_vec(),
        }
    }
}

impl Script {
    /// Reads a script from a file of JSON.
    ///
    /// # Errors
    /// The file is not there, or is no script.
    pub fn open(file: &Path) -> Result<Self, ScriptError> {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| ScriptError::File { file: name(), error })?;
        serde_json::from_str(&text).map_err(|error| ScriptError::Json { file: name(), error })
    }
}
