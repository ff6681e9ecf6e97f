//! The page's settings, as page and server hand them to each other.

use std::collections::BTreeMap;

use super::drawn;

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

/// The page's settings, by the names that they have in the reference, and the keys of what they are called.
const LABELS: [(&str, &str); 18] = [
    ("decoding", "setting.decoding"),
    ("num_beams", "setting.num_beams"),
    ("length_penalty", "setting.length_penalty"),
    ("early_stopping", "setting.early_stopping"),
    ("do_sample", "setting.do_sample"),
    ("temperature", "setting.temperature"),
    ("top_k", "setting.top_k"),
    ("top_p", "setting.top_p"),
    ("seed", "setting.seed"),
    ("num_return_sequences", "setting.num_return_sequences"),
    ("max_new_tokens", "setting.max_new_tokens"),
    ("context_turns", "setting.context_turns"),
    ("min_new_tokens", "setting.min_new_tokens"),
    ("repetition_penalty", "setting.repetition_penalty"),
    ("no_repeat_ngram_size", "setting.no_repeat_ngram_size"),
    ("prefix", "setting.prefix"),
    ("stop_strings", "setting.stop_strings"),
    ("raw", "setting.raw"),
];

/// What a setting is called on the page; its own name where there is no other. Known to the server only, which
/// draws the fields.
pub fn label(name: &'static str) -> &'static str {
    let known = LABELS.iter().find(|(known, _)| *known == name);
    known.map_or(name, |(_, key)| drawn(key))
}

/// Whether the page has a field of this name among its settings.
pub fn is_setting(name: &str) -> bool {
    LABELS.iter().any(|(known, _)| *known == name)
}

/// What the page's field of this name says where nothing is set.
pub fn default_value(name: &str) -> &'static str {
    if name == "decoding" { "greedy" } else { "" }
}
