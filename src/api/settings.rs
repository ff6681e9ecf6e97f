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
#[derive(Clone, Debug, PartialEq)]
pub struct NumberSetting {
    pub name: &'static str,
    pub min: f64,
    pub max: f64,
    pub is_whole: bool,
    /// None where it is another one each time.
    pub default: Option<f64>,
}
