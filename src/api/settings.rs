//! The page's settings, as page and server hand them to each other.

use std::collections::BTreeMap;

/// The settings as they stand on the page: what is typed and chosen, by the field's name.
/// What is empty or off is left out.
pub type Fields = BTreeMap<String, String>;

/// What the server draws the settings' fields from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsPanel {
    /// What stands in the fields.
    pub fields: Fields,
    /// What those may be that are numbers.
    pub numbers: Vec<NumberSetting>,
}

/// What a number may be, and what it is where nothing is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumberSetting {
    pub name: &'static str,
    pub min: f64,
    pub max: f64,
    pub is_whole: bool,
    /// None where it is another one each time.
    pub default: Option<f64>,
}

/// What each setting is called on the page, by the name that it has in the reference.
const LABELS: [(&str, &str); 18] = [
    ("decoding", "Decoding"),
    ("num_beams", "Beams"),
    ("length_penalty", "Length penalty"),
    ("early_stopping", "Early stopping"),
    ("do_sample", "Draw words"),
    ("temperature", "Temperature"),
    ("top_k", "Top-k"),
    ("top_p", "Top-p"),
    ("seed", "Seed"),
    ("num_return_sequences", "Answers"),
    ("max_new_tokens", "Max new tokens"),
    ("context_turns", "Earlier turns as context"),
    ("min_new_tokens", "Min new tokens"),
    ("repetition_penalty", "Repetition penalty"),
    ("no_repeat_ngram_size", "No-repeat n-gram"),
    ("prefix", "Caption prefix"),
    ("stop_strings", "Stop strings"),
    ("raw", "Send questions as they are"),
];

/// What a setting is called on the page; its own name where there is no other.
pub fn label(name: &str) -> &str {
    let known = LABELS.iter().find(|(known, _)| *known == name);
    known.map_or(name, |(_, label)| label)
}

/// Whether the page has a field of this name among its settings.
pub fn is_setting(name: &str) -> bool {
    LABELS.iter().any(|(known, _)| *known == name)
}

/// What the page's field of this name says where nothing is set.
pub fn default_value(name: &str) -> &'static str {
    if name == "decoding" { "greedy" } else { "" }
}
