//! Cuts a stream of bytes into lines.

/// Holds the bytes of a line whose end has not arrived. Chunks are cut and
/// merged on the way, inside a character too, so text is made of whole lines only.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes the next chunk and gives the lines that it completes.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        self.rest.extend_from_slice(chunk);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let rest = self.rest.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.rest, rest);
            line.truncate(end);
            if !line.trim_ascii().is_empty() {
                lines.push(line);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_may_be_cut_and_merged_anywhere() {
        let sent = "{\"a\":\"Käse 🧀\"}\n\n{\"b\":1}\n{\"c\"";
        for size in 1..=sent.len() {
            let mut lines = Lines::default();
            let got: Vec<_> = sent
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| lines.push(chunk))
                .collect();
            assert_eq!(
                got,
                ["{\"a\":\"Käse 🧀\"}".as_bytes(), b"{\"b\":1}"],
                "chunks of {size} bytes"
            );
            assert_eq!(lines.push(b":2}\n"), [b"{\"c\":2}"]);
        }
    }
}
