//! JSON as the hub's files have it: some hold a key twice, of which the last counts, as in Python, and
//! some a comma behind the last element.

use serde_json::{Error, Value};

/// Reads a file's bytes.
///
/// # Errors
/// Those of the bytes as they are, where they are no JSON without such commas either.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).or_else(|error| {
        let mended = String::from_utf8_lossy(bytes);
        serde_json::from_str(&without_last_commas(&mended)).map_err(|_| error)
    })
}

/// The text without commas that nothing but the end of a list or an object follows.
fn without_last_commas(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for (index, letter) in text.char_indices() {
        let is_last_comma = !in_string && letter == ',' && text[index + 1..].trim_start().starts_with(['}', ']']);
        if !is_last_comma {
            kept.push(letter);
        }
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_hubs_files_have_is_read() {
        let read = |text: &str| parse(text.as_bytes()).ok();
        assert_eq!(read(r#"{"a": 1, "a": [2, 3]}"#), Some(json!({"a": [2, 3]})));
        assert_eq!(
            read("{\"a\": [1, 2,],\n \"b\": \",]\",\n}\n"),
            Some(json!({"a": [1, 2], "b": ",]"}))
        );
        assert_eq!(read(r#"{"a": "\",}",}"#), Some(json!({"a": "\",}"})));
        for wrong in ["{", "[1,,2]", "", "{,}x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_error_is_that_of_the_file_as_it_is() {
        let error = parse(b"{\"a\": 1,\n}").and_then(|_| parse(b"{\n\"a\" 1,}"));
        assert!(error.is_err_and(|error| error.line() == 2));
    }
}
