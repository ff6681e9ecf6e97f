//! How answers are to be generated.

use leptos::prelude::*;

use crate::api::{Fields, NumberSetting, SettingsPanel, default_value};

/// The settings as they stand on the page.
#[derive(Clone, Copy)]
pub struct SettingsState {
    /// What is not as it is by default, by name.
    fields: RwSignal<Fields>,
    numbers: StoredValue<Vec<NumberSetting>>,
}

impl SettingsState {
    pub fn new(panel: &SettingsPanel) -> Self {
        let state = Self {
            fields: RwSignal::new(Fields::new()),
            numbers: StoredValue::new(panel.numbers.clone()),
        };
        state.replace(panel.fields.clone());
        state
    }

    /// What is set by this name; its default where nothing is, which may be the empty text.
    pub fn value(self, name: &str) -> String {
        let value = self.fields.with(|fields| fields.get(name).cloned());
        value.unwrap_or_else(|| default_value(name).to_owned())
    }

    pub fn set(self, name: &str, value: String) {
        if self.fields.with_untracked(|fields| fields.get(name) == Some(&value)) {
            return;
        }
        self.fields.update(|fields| {
            if value == default_value(name) {
                fields.remove(name);
            } else {
                fields.insert(name.to_owned(), value);
            }
        });
    }

    /// All that is set.
    pub fn fields(self) -> Fields {
        self.fields.get()
    }

    /// Sets these, and nothing else.
    pub fn replace(self, mut fields: Fields) {
        fields.retain(|name, value| value != default_value(name));
        self.fields.set(fields);
    }

    /// What a field is drawn with.
    pub fn first_value(self, name: &str) -> String {
        untrack(|| self.value(name))
    }

    /// What a number may be; known to the server only, which draws its field.
    pub fn number(self, name: &str) -> NumberSetting {
        let known = |numbers: &Vec<NumberSetting>| numbers.iter().find(|number| number.name == name).cloned();
        self.numbers.with_value(known).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_by_default_is_not_set() {
        Owner::new().with(|| {
            let settings = SettingsState::new(&SettingsPanel::default());
            assert_eq!(
                (settings.value("decoding"), settings.value("seed")),
                ("greedy".into(), String::new())
            );
            settings.set("decoding", "beams".to_owned());
            settings.set("seed", "5".to_owned());
            assert_eq!(
                (settings.value("decoding"), settings.fields().len()),
                ("beams".into(), 2)
            );
            settings.set("decoding", "greedy".to_owned());
            settings.set("seed", String::new());
            assert_eq!(settings.fields(), Fields::new());
            settings.replace(Fields::from([
                ("decoding".into(), "greedy".into()),
                ("raw".into(), "true".into()),
            ]));
            assert_eq!(settings.fields(), Fields::from([("raw".into(), "true".into())]));
        });
    }
}
