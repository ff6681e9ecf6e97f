//! Stands in front of the parser of multipart forms, and bounds what it does not.
//!
//! multer keeps what comes before the first boundary, and the head of a part, until it is
//! complete, and looks through all of it again for each piece that comes. Here a form is
//! looked at once, byte by byte as it comes, by a [`Scanner`] that finds boundaries and heads
//! where multer does; a head is passed on when it is whole, and one that is too long ends
//! the form.

use std::sync::{Arc, OnceLock};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use futures::{Stream, StreamExt};

/// How much a form may have beside its files.
#[derive(Clone, Copy, Debug)]
pub struct FormLimits {
    /// Bytes before the first part, and of the head of each.
    pub head_bytes: usize,
    /// Fields and files together.
    pub parts: usize,
    /// Bytes of all parts that are no files.
    pub field_bytes: usize,
}

/// Heads and parts of forms that browsers send are far below these.
const HEAD_BYTES: usize = 16 << 10;
const PARTS: usize = 100;

impl FormLimits {
    /// With so many bytes of text.
    pub fn new(field_bytes: usize) -> Self {
        Self {
            head_bytes: HEAD_BYTES,
            parts: PARTS,
            field_bytes,
        }
    }
}

/// Why a form is not read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("The form has more than {0} bytes before its first part. Load the page again and send it once more.")]
    LongPreamble(usize),
    #[error("A part of the form has a head of more than {0} bytes. Load the page again and send it once more.")]
    LongHead(usize),
    #[error("The form has more than {0} parts. Load the page again and send it once more.")]
    ManyParts(usize),
    #[error("The fields of the form have more than {0} bytes in all. Write less.")]
    LongFields(usize),
    #[error(
        "The form has something other than a line's end behind a boundary. Load the page again and send it once more."
    )]
    Malformed,
    /// As the layers around say it: its sender has gone, or is too slow.
    #[error("The form broke off on its way ({0}). Send it again.")]
    BrokeOff(String),
}

/// Looks for a pattern in bytes that come piece by piece (Knuth, Morris and Pratt).
struct Search {
    pattern: Vec<u8>,
    /// For each number of matched bytes, how many of them may begin another match.
    fallback: Vec<usize>,
    matched: usize,
}

impl Search {
    /// `pattern` has at least one byte.
    fn new(pattern: Vec<u8>) -> Self {
        let mut fallback = vec![0; pattern.len()];
        let mut matched = 0;
        for at in 1..pattern.len() {
            while matched > 0 && pattern[at] != pattern[matched] {
                matched = fallback[matched - 1];
            }
            matched += usize::from(pattern[at] == pattern[matched]);
            fallback[at] = matched;
        }
        Self {
            pattern,
            fallback,
            matched: 0,
        }
    }

    /// Where the pattern ends for the first time, if it does; the next search begins anew.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.matched == 0 {
                // Most of a file is passed here.
                at += bytes[at..].iter().position(|byte| *byte == self.pattern[0])?;
            }
            while self.matched > 0 && bytes[at] != self.pattern[self.matched] {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(bytes[at] == self.pattern[self.matched]);
            at += 1;
            if self.matched == self.pattern.len() {
                self.matched = 0;
                return Some(at);
            }
        }
        None
    }
}

/// Where in a form a scanner is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Before the first boundary.
    Preamble,
    /// Right behind a boundary, of which so many `-` follow so far.
    Boundary {
        dashes: usize,
    },
    /// Behind spaces and tabs that may follow a boundary, up to the `\r`, and behind it.
    Padding,
    LineEnd,
    Head,
    File,
    Field,
    /// Behind the last boundary.
    End,
}

/// Checks a form against its limits while it comes.
pub struct Scanner {
    limits: FormLimits,
    place: Place,
    first_boundary: Search,
    head_end: Search,
    boundary: Search,
    /// Of the preamble, or of the head that is not complete.
    head: Vec<u8>,
    parts: usize,
    field_bytes: usize,
}

impl Scanner {
    /// For the boundary that the form's content type names.
    pub fn new(boundary: &str, limits: FormLimits) -> Self {
        Self {
            limits,
            place: Place::Preamble,
            first_boundary: Search::new(format!("--{boundary}").into_bytes()),
            head_end: Search::new(b"\r\n\r\n".to_vec()),
            boundary: Search::new(format!("\r\n--{boundary}").into_bytes()),
            head: Vec::new(),
            parts: 0,
            field_bytes: 0,
        }
    }

    /// Looks at the next bytes; gives how many bytes at the end of all that has come belong to
    /// a preamble or head that is not complete.
    ///
    /// # Errors
    /// A limit is passed, or the form is none.
    pub fn scan(&mut self, mut bytes: &[u8]) -> Result<usize, FormError> {
        while !bytes.is_empty() {
            let seen = self.step(bytes)?;
            bytes = &bytes[seen..];
        }
        Ok(self.head.len())
    }

    /// Looks at bytes up to where something else begins; gives how many, at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, FormError> {
        match self.place {
            Place::Preamble => {
                let end = self.first_boundary.find_end(bytes);
                let seen = self.keep(bytes, end, FormError::LongPreamble)?;
                if end.is_some() {
                    self.place = Place::Boundary { dashes: 0 };
                    self.head.clear();
                }
                Ok(seen)
            }
            Place::Boundary { .. } | Place::Padding | Place::LineEnd => {
                self.keep(bytes, Some(1), FormError::LongHead)?;
                self.behind_boundary(bytes[0])?;
                Ok(1)
            }
            Place::Head => {
                let end = self.head_end.find_end(bytes);
                let seen = self.keep(bytes, end, FormError::LongHead)?;
                if end.is_some() {
                    self.begin_part()?;
                }
                Ok(seen)
            }
            Place::File | Place::Field => {
                let end = self.boundary.find_end(bytes);
                let seen = end.unwrap_or(bytes.len());
                if self.place == Place::Field {
                    self.count_field(seen)?;
                }
                if end.is_some() {
                    self.place = Place::Boundary { dashes: 0 };
                }
                Ok(seen)
            }
            // Whatever follows is thrown away.
            Place::End => Ok(bytes.len()),
        }
    }

    /// Keeps bytes of a preamble or head, up to `end`, within the limit.
    fn keep(&mut self, bytes: &[u8], end: Option<usize>, error: fn(usize) -> FormError) -> Result<usize, FormError> {
        let seen = end.unwrap_or(bytes.len());
        if self.head.len() + seen > self.limits.head_bytes {
            return Err(error(self.limits.head_bytes));
        }
        self.head.extend_from_slice(&bytes[..seen]);
        Ok(seen)
    }

    fn behind_boundary(&mut self, byte: u8) -> Result<(), FormError> {
        self.place = match (self.place, byte) {
            (Place::Boundary { dashes: 0 }, b'-') => Place::Boundary { dashes: 1 },
            (Place::Boundary { dashes: 1 }, b'-') => {
                self.head.clear();
                Place::End
            }
            (Place::Boundary { dashes: 0 } | Place::Padding, b' ' | b'\t') => Place::Padding,
            (Place::Boundary { dashes: 0 } | Place::Padding, b'\r') => Place::LineEnd,
            (Place::LineEnd, b'\n') => Place::Head,
            _ => return Err(FormError::Malformed),
        };
        Ok(())
    }

    fn begin_part(&mut self) -> Result<(), FormError> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(FormError::ManyParts(self.limits.parts));
        }
        let head = self.head.to_ascii_lowercase();
        let names_file = head.windows(b"filename".len()).any(|word| word == b"filename");
        self.place = if names_file { Place::File } else { Place::Field };
        self.head.clear();
        Ok(())
    }

    fn count_field(&mut self, bytes: usize) -> Result<(), FormError> {
        self.field_bytes = self.field_bytes.saturating_add(bytes);
        if self.field_bytes > self.limits.field_bytes {
            return Err(FormError::LongFields(self.limits.field_bytes));
        }
        Ok(())
    }
}

/// What was wrong with a form, for whoever sees only that its body broke off.
#[derive(Clone, Default)]
pub struct Verdict(Arc<OnceLock<FormError>>);

impl Verdict {
    /// The first thing that was wrong; `None` as long as nothing is, which is certain once the body
    /// was read to its end.
    pub fn error(&self) -> Option<FormError> {
        self.0.get().cloned()
    }

    /// The first reason is the one; what follows from it is none.
    fn set(&self, error: FormError) {
        let _ = self.0.set(error);
    }
}

/// Puts a scanner before the body of a form; none where the request is no form.
pub fn guarded(request: Request<Body>, limits: FormLimits) -> Option<(Request<Body>, Verdict)> {
    let content_type = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let scanner = Scanner::new(&multer::parse_boundary(content_type).ok()?, limits);
    let verdict = Verdict::default();
    let shared = verdict.clone();
    let request = request.map(|body| Body::from_stream(scanned(body.into_data_stream(), scanner, shared)));
    Some((request, verdict))
}

/// The same body, which breaks off where the scanner says so.
fn scanned<E: Into<BoxError> + 'static>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    scanner: Scanner,
    verdict: Verdict,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let whole_pieces = WholePieces {
        scanner,
        verdict,
        held_back: Vec::new(),
    };
    futures::stream::unfold(Some((Box::pin(body), whole_pieces)), |state| async {
        let (mut body, mut pieces) = state?;
        // multer takes all that it can get before it hands anything on.
        tokio::task::yield_now().await;
        loop {
            match body.next().await {
                Some(Ok(chunk)) => match pieces.next(chunk) {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => return Some((Ok(piece), Some((body, pieces)))),
                    Err(error) => return Some((Err(error.into()), None)),
                },
                Some(Err(error)) => {
                    let error = error.into();
                    pieces.verdict.set(FormError::BrokeOff(error.to_string()));
                    return Some((Err(error), None));
                }
                // The parser is to say what is missing.
                None if pieces.held_back.is_empty() => return None,
                None => return Some((Ok(pieces.held_back.into()), None)),
            }
        }
    })
}

/// Passes on what is complete, so that the parser does not look for an end again and again.
struct WholePieces {
    scanner: Scanner,
    verdict: Verdict,
    held_back: Vec<u8>,
}

impl WholePieces {
    fn next(&mut self, chunk: Bytes) -> Result<Bytes, FormError> {
        let scanned = self.scanner.scan(&chunk);
        let incomplete = scanned.inspect_err(|error| self.verdict.set(error.clone()))?;
        if incomplete == 0 && self.held_back.is_empty() {
            return Ok(chunk);
        }
        let mut piece = std::mem::take(&mut self.held_back);
        piece.extend_from_slice(&chunk);
        self.held_back = piece.split_off(piece.len() - incomplete);
        Ok(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FormLimits = FormLimits {
        head_bytes: 100,
        parts: 3,
        field_bytes: 50,
    };

    /// A form as multer's own tests have them, with all that is odd and allowed.
    const FORM: &[u8] = b"pre--\r\n---b \t\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n\
        \r\r\n--\r\n-\r\n-- b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"question\"\r\n\r\n\
        what?\r\n--b--\r\nrest --b nothing";

    fn parts_of(pieces: Vec<Bytes>) -> Vec<(String, Vec<u8>)> {
        let body = futures::stream::iter(pieces.into_iter().map(Ok::<_, BoxError>));
        let guarded = scanned(body, Scanner::new("b", LIMITS), Verdict::default());
        futures::executor::block_on(async {
            let mut form = multer::Multipart::new(guarded, "b");
            let mut parts = Vec::new();
            while let Some(field) = form.next_field().await.expect("it is a form") {
                let name = field.name().expect("it has one").to_owned();
                parts.push((name, field.bytes().await.expect("it is whole").to_vec()));
            }
            parts
        })
    }

    #[test]
    fn a_form_comes_through_unchanged_wherever_it_is_cut() {
        let whole = parts_of(vec![Bytes::from_static(FORM)]);
        let names: Vec<_> = whole.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["picture", "question"]);
        assert_eq!(whole[0].1, b"\r\r\n--\r\n-\r\n-- b\r\n");
        assert_eq!(whole[1].1, b"what?");
        for first in 0..=FORM.len() {
            for second in (first..=FORM.len()).step_by(7) {
                let pieces = [&FORM[..first], &FORM[first..second], &FORM[second..]];
                let pieces = pieces.map(Bytes::copy_from_slice).to_vec();
                assert_eq!(parts_of(pieces), whole, "cut at {first} and {second}");
            }
        }
        let bytes = FORM.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
        assert_eq!(parts_of(bytes), whole, "byte by byte");
    }

    /// What the scanner says of a form that comes in pieces of this size.
    fn verdict(form: &[u8], piece: usize) -> Option<FormError> {
        let mut scanner = Scanner::new("b", LIMITS);
        form.chunks(piece).find_map(|piece| scanner.scan(piece).err())
    }

    #[test]
    fn each_limit_holds_wherever_a_form_is_cut_and_its_last_byte_is_accepted() {
        let part = |head: usize, body: &str| format!("--b\r\n{}\r\n\r\n{body}\r\n", "h".repeat(head));
        let close = "--b--\r\n";
        let cases = [
            (format!("{}--b--", "x".repeat(97)), None),
            (format!("{}--b--", "x".repeat(98)), Some(FormError::LongPreamble(100))),
            (part(94, "") + close, None),
            (part(95, "") + close, Some(FormError::LongHead(100))),
            (format!("--b{}\r\n", " ".repeat(200)), Some(FormError::LongHead(100))),
            (part(1, "").repeat(3) + close, None),
            (part(1, "").repeat(4) + close, Some(FormError::ManyParts(3))),
            (part(1, &"x".repeat(45)) + close, None),
            (part(1, &"x".repeat(46)) + close, Some(FormError::LongFields(50))),
            ("--b\r\nname; FileName=x\r\n\r\n".to_owned() + &"x".repeat(500), None),
            ("--bx\r\n".into(), Some(FormError::Malformed)),
            ("--b-x".into(), Some(FormError::Malformed)),
            ("--b\rx".into(), Some(FormError::Malformed)),
        ];
        for (form, expected) in cases {
            for piece in 1..=form.len() {
                assert_eq!(verdict(form.as_bytes(), piece), expected, "{form} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn an_endless_head_ends_the_form_after_a_few_bytes() {
        let mut pulled = 0;
        let endless = std::iter::from_fn(|| {
            pulled += 1;
            Some(if pulled == 1 {
                Bytes::from_static(b"--b\r\nX: ")
            } else {
                Bytes::from_static(&[b'x'; 10])
            })
        });
        let verdict = Verdict::default();
        let mut pieces = WholePieces {
            scanner: Scanner::new("b", LIMITS),
            verdict: verdict.clone(),
            held_back: Vec::new(),
        };
        let error = endless.map(|chunk| pieces.next(chunk)).find_map(Result::err);
        assert_eq!(
            (error, verdict.error()),
            (Some(FormError::LongHead(100)), Some(FormError::LongHead(100)))
        );
        assert!(pulled < 12, "{pulled} pieces were read");
        assert!(pieces.held_back.len() <= 100);
    }

    #[test]
    fn a_head_is_passed_on_when_it_is_whole() {
        let mut pieces = WholePieces {
            scanner: Scanner::new("b", LIMITS),
            verdict: Verdict::default(),
            held_back: Vec::new(),
        };
        let mut next = |text: &'static str| pieces.next(Bytes::from_static(text.as_bytes()));
        assert_eq!(next("--b\r\nname: "), Ok(Bytes::from_static(b"--b")));
        assert_eq!(next("x\r\n\r"), Ok(Bytes::new()));
        assert_eq!(next("\nbody\r"), Ok(Bytes::from_static(b"\r\nname: x\r\n\r\nbody\r")));
    }
}
