//! What the settings are called on the page, by the name that they have in the reference.

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

/// What a setting is called; its own name where there is no other.
pub fn label(name: &'static str) -> &'static str {
    let known = LABELS.iter().find(|(known, _)| *known == name);
    known.map_or(name, |(_, label)| label)
}

/// Whether the page has a field of this name among its settings.
#[cfg(feature = "ssr")]
pub fn is_setting(name: &str) -> bool {
    LABELS.iter().any(|(known, _)| *known == name)
}
