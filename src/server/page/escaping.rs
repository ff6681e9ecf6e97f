//! Text of visitors and models within pages and files that are made here.

/// What a text says to whoever reads it, without characters that change how the text around it reads: controls but
/// the line's end, and those that turn the direction of writing until further notice.
pub fn plain(text: &str) -> String {
    let is_plain = |c: &char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        *c == '\n' || (!c.is_control() && !turns)
    };
    text.replace("\r\n", "\n").chars().filter(is_plain).collect()
}

/// The same in one line.
pub fn line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>();
    plain(&words.join(" "))
}

/// Text within HTML, in an attribute too.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Text within Markdown that says just what it is: its lines stay lines, and nothing in it is a mark.
pub fn markdown(text: &str) -> String {
    let text = plain(text);
    let lines = text.trim().lines().map(|line| markdown_line(line.trim()));
    // A backslash at a line's end keeps the end.
    lines.collect::<Vec<_>>().join("\\\n")
}

fn markdown_line(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    // What makes a list or a heading of a line that begins with it.
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let mark = match line[digits..].chars().next() {
        Some('.' | ')') if digits > 0 => Some(digits),
        Some('-' | '+' | '=' | ':') if digits == 0 => Some(0),
        _ => None,
    };
    for (at, character) in line.char_indices() {
        let is_mark = matches!(
            character,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '$'
        );
        if is_mark || mark == Some(at) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_html() {
        assert_eq!(
            html("<script>alert('\"&\")</script>\u{0}"),
            "&lt;script&gt;alert(&#39;&quot;&amp;&quot;)&lt;/script&gt;"
        );
    }

    #[test]
    fn nothing_turns_what_follows_round() {
        assert_eq!(plain("a\u{202e}cba\u{2066}\r\nb\u{7}"), "acba\nb");
        assert_eq!(line(" a\n\t b "), "a b");
        assert_eq!(plain("שלום\u{200f}"), "שלום\u{200f}", "words of either direction stay");
    }

    #[test]
    fn nothing_in_a_text_is_markdown() {
        for (text, escaped) in [
            ("[a](http://x)", "\\[a\\](http://x)"),
            ("![a](x)", "!\\[a\\](x)"),
            ("```\ncode", "\\`\\`\\`\\\ncode"),
            (
                "# a\n- b\n+ c\n1. d\n2) e\n===\n> f",
                "\\# a\\\n\\- b\\\n\\+ c\\\n1\\. d\\\n2\\) e\\\n\\===\\\n\\> f",
            ),
            (
                "<b>*x* _y_ ~z~ &amp; $1$ a|b",
                "\\<b\\>\\*x\\* \\_y\\_ \\~z\\~ \\&amp; \\$1\\$ a\\|b",
            ),
            ("    indented", "indented"),
            ("What is 2.5 - 1?", "What is 2.5 - 1?"),
        ] {
            assert_eq!(markdown(text), escaped);
        }
    }
}
