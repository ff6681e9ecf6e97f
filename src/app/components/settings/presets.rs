//! Settings that go together, as other programs have them: choosing one fills in the fields below.

use leptos::prelude::*;

use crate::api::{Fields, Preset, drawn, t};
use crate::app::state::{ModelsState, SettingsState};

/// What is chosen where nothing is set, and where what is set is no preset.
const OWN: &str = "Glimpse";
const CUSTOM: &str = "Custom";

/// The choice. It says which preset the fields make, whoever filled them in; it is no field itself, and none
/// where there is no script.
#[component]
pub fn Presets(settings: SettingsState, models: ModelsState) -> impl IntoView {
    let presets = move || models.info().presets;
    let active = Memo::new(move |_| active(&settings.fields(), &presets()));
    let choose = move |event| {
        let name = event_target_value(&event);
        let chosen = untrack(presets).into_iter().find(|preset| preset.name == name);
        settings.replace(chosen.map_or_else(Fields::new, |preset| preset.fields));
    };
    let option = move |name: String, words: String, is_hidden: bool| {
        let is_active = {
            let name = name.clone();
            move || active.with(|active| *active == name)
        };
        view! {
            <option value=name.clone() hidden=is_hidden selected=is_active.clone() prop:selected=is_active>
                {words}
            </option>
        }
    };
    view! {
        <div class="field presets" hidden=move || presets().is_empty()>
            <label>
                <span>{drawn("setting.preset")}</span>
                <select autocomplete="off" aria-describedby="hint-preset" on:change=choose>
                    {option(OWN.to_owned(), OWN.to_owned(), false)}
                    {option(CUSTOM.to_owned(), t("presets.custom").to_owned(), true)}
                    {move || presets().into_iter().map(|preset| option(preset.name.clone(), preset.name, false)).collect_view()}
                </select>
            </label>
            <p class="hint" id="hint-preset">{drawn("hint.preset")}</p>
        </div>
    }
}

/// What the fields are called.
fn active(fields: &Fields, presets: &[Preset]) -> String {
    let preset = presets.iter().find(|preset| preset.fields == *fields);
    match preset {
        _ if fields.is_empty() => OWN.to_owned(),
        Some(preset) => preset.name.clone(),
        None => CUSTOM.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_active_as_long_as_nothing_else_is_set() {
        let fields = |pairs: &[(&str, &str)]| -> Fields {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let demo = [("decoding", "beams"), ("num_beams", "3")];
        let presets = [Preset {
            name: "BLIP demo".to_owned(),
            fields: fields(&demo),
        }];
        assert_eq!(active(&fields(&demo), &presets), "BLIP demo");
        assert_eq!(active(&fields(&demo[..1]), &presets), CUSTOM);
        assert_eq!(active(&fields(&[demo[0], demo[1], ("seed", "1")]), &presets), CUSTOM);
        assert_eq!(active(&Fields::new(), &presets), OWN);
    }
}
