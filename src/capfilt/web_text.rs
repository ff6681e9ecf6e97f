//! How a text is prepared before it is compared: `pre_caption` of the original (`data/utils.py`).

/// Words of a text that are compared, at most.
const MOST_WORDS: usize = 30;

/// A text as the original's filter reads it: in lower case, with a space for each of `. ! " ( ) * # : ; ~`,
/// runs of white space squeezed to a space, and at most 30 words.
pub fn prepared(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    let mut run: Option<(char, usize)> = None;
    let flush = |run: &mut Option<(char, usize)>, squeezed: &mut String| {
        // A single tab or line's end stays what it is, as in the original.
        if let Some((first, count)) = run.take() {
            squeezed.push(if count > 1 { ' ' } else { first });
        }
    };
    for letter in text.to_lowercase().chars() {
        let letter = match letter {
            '.' | '!' | '"' | '(' | ')' | '*' | '#' | ':' | ';' | '~' => ' ',
            other => other,
        };
        if is_space(letter) {
            let (first, count) = run.unwrap_or((letter, 0));
            run = Some((first, count + 1));
        } else {
            flush(&mut run, &mut squeezed);
            squeezed.push(letter);
        }
    }
    flush(&mut run, &mut squeezed);
    let trimmed = squeezed.trim_end_matches('\n').trim_matches(' ');
    let mut ends = trimmed.match_indices(' ').map(|(at, _)| at);
    match ends.nth(MOST_WORDS - 1) {
        Some(end) => trimmed[..end].to_owned(),
        None => trimmed.to_owned(),
    }
}

/// What `\s` is in Python.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}

/// Whether a text says nothing, so that there is nothing to compare.
pub fn is_empty(text: &str) -> bool {
    prepared(text).trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_prepared_as_in_the_original() {
        // What `pre_caption` gives in Python.
        for (text, want) in [
            ("A Dog!", "a dog"),
            ("\"Two\" (small) cats: one; two~", "two small cats one two"),
            ("a  b\t\tc\td\n", "a b c\td"),
            ("It's 5.5% off, really?", "it's 5 5% off, really?"),
            ("  ", ""),
            ("...", ""),
            ("a. b", "a b"),
            ("ÄPFEL\u{a0}\u{a0}und", "äpfel und"),
        ] {
            assert_eq!(prepared(text), want, "{text:?}");
        }
        let many = vec!["w"; 40].join(" ");
        assert_eq!(prepared(&many), vec!["w"; 30].join(" "));
        assert_eq!(prepared(&vec!["w"; 30].join(" ")), vec!["w"; 30].join(" "));
    }

    #[test]
    fn a_text_of_punctuation_says_nothing() {
        assert!(is_empty("") && is_empty(" \t\n") && is_empty("(...)"));
        assert!(!is_empty("?") && !is_empty("a"));
    }
}
