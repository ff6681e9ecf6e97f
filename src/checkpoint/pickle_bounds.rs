//! Whether a pickle stays small when it is read: candle's reader copies what is named again, and holds
//! values within values as deep as they are written, so that a few hundred bytes can fill the memory or
//! the stack. Here its instructions are followed without any value: how deep and how many they would be.

use std::collections::HashMap;

/// Values that may be made in all: the list of a model with ten thousand tensors makes a million.
const MOST_VALUES: u64 = 1 << 22;

/// How deep values may lie in each other: those of a list of tensors do so seven times.
const MOST_DEPTH: u32 = 64;

const TOO_MUCH: &str = "its list of tensors makes more values than any model's";
const CUT: &str = "its list of tensors is cut off";
const NO_LIST: &str = "its list of tensors makes no sense";

/// Of a value: what it holds, itself included, and how deep.
#[derive(Clone, Copy)]
struct Size {
    values: u64,
    depth: u32,
}

const ONE: Size = Size { values: 1, depth: 1 };

#[derive(Clone, Copy)]
enum Entry {
    Mark,
    Value(Size),
}

/// Follows a pickle's instructions to their end.
///
/// # Errors
/// Why it is not to be read, as a part of a sentence.
pub fn check(pickle: &[u8]) -> Result<(), &'static str> {
    let mut follower = Follower {
        rest: pickle,
        stack: Vec::new(),
        memo: HashMap::new(),
        made: 0,
    };
    while !follower.step()? {}
    Ok(())
}

struct Follower<'a> {
    rest: &'a [u8],
    stack: Vec<Entry>,
    memo: HashMap<u32, Size>,
    /// Values that were made or copied.
    made: u64,
}

impl<'a> Follower<'a> {
    /// One instruction; whether it was the last. The letters are those of Python's `pickletools`.
    fn step(&mut self) -> Result<bool, &'static str> {
        match self.bytes(1)?[0] {
            b'.' => return Ok(true),
            0x80 => {
                self.bytes(1)?;
            }
            b'c' => {
                self.line()?;
                self.line()?;
                self.push(ONE)?;
            }
            b'N' | b')' | b']' | b'}' | 0x88 | 0x89 => self.push(ONE)?,
            b'K' => self.number(1)?,
            b'M' => self.number(2)?,
            b'J' => self.number(4)?,
            b'G' => self.number(8)?,
            0x8a => {
                // Eight bytes are what the reader has room for.
                let length = usize::from(self.bytes(1)?[0]);
                self.number(Some(length).filter(|length| *length <= 8).ok_or(NO_LIST)?)?;
            }
            b'X' => {
                let length = self.index()?;
                self.number(length as usize)?;
            }
            b'(' => {
                self.made(1)?;
                self.stack.push(Entry::Mark);
            }
            b't' => {
                let inside = self.pop_to_mark()?;
                self.wrap(&inside)?;
            }
            b'Q' | 0x85 => self.wrap_last(1)?,
            b'R' | b'b' | 0x81 | 0x86 => self.wrap_last(2)?,
            0x87 => self.wrap_last(3)?,
            b'a' => self.put_in(1)?,
            b's' => self.put_in(2)?,
            b'e' | b'u' => {
                let inside = self.pop_to_mark()?;
                self.fill(&inside)?;
            }
            b'h' => {
                let index = u32::from(self.bytes(1)?[0]);
                self.again(index)?;
            }
            b'j' => {
                let index = self.index()?;
                self.again(index)?;
            }
            b'q' => {
                let index = u32::from(self.bytes(1)?[0]);
                self.remember(index)?;
            }
            b'r' => {
                let index = self.index()?;
                self.remember(index)?;
            }
            _ => return Err("its list of tensors has what such lists have not"),
        }
        Ok(false)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(CUT)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<(), &'static str> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(CUT)?;
        self.bytes(end + 1).map(|_| ())
    }

    fn index(&mut self) -> Result<u32, &'static str> {
        let bytes: [u8; 4] = self.bytes(4)?.try_into().map_err(|_| CUT)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn made(&mut self, values: u64) -> Result<(), &'static str> {
        self.made = self.made.saturating_add(values);
        if self.made > MOST_VALUES { Err(TOO_MUCH) } else { Ok(()) }
    }

    fn push(&mut self, size: Size) -> Result<(), &'static str> {
        if size.depth > MOST_DEPTH {
            return Err("its list of tensors is too deep");
        }
        self.made(1)?;
        self.stack.push(Entry::Value(size));
        Ok(())
    }

    /// A number or a text of so many bytes.
    fn number(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.bytes(bytes)?;
        self.push(ONE)
    }

    fn pop(&mut self) -> Result<Size, &'static str> {
        match self.stack.pop() {
            Some(Entry::Value(size)) => Ok(size),
            _ => Err(NO_LIST),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Size>, &'static str> {
        let mut inside = Vec::new();
        loop {
            match self.stack.pop().ok_or(NO_LIST)? {
                Entry::Mark => return Ok(inside),
                Entry::Value(size) => inside.push(size),
            }
        }
    }

    /// A new value around others.
    fn wrap(&mut self, inside: &[Size]) -> Result<(), &'static str> {
        let deepest = inside.iter().map(|size| size.depth).max().unwrap_or(0);
        let values = inside.iter().fold(1u64, |all, size| all.saturating_add(size.values));
        self.push(Size {
            values,
            depth: deepest + 1,
        })
    }

    fn wrap_last(&mut self, count: usize) -> Result<(), &'static str> {
        let inside = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        self.wrap(&inside)
    }

    /// The last value takes others in.
    fn fill(&mut self, inside: &[Size]) -> Result<(), &'static str> {
        let taker = self.pop()?;
        let deepest = inside.iter().map(|size| size.depth + 1).fold(taker.depth, u32::max);
        let values = inside
            .iter()
            .fold(taker.values, |all, size| all.saturating_add(size.values));
        self.push(Size { values, depth: deepest })
    }

    fn put_in(&mut self, count: usize) -> Result<(), &'static str> {
        let inside = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        self.fill(&inside)
    }

    fn remember(&mut self, index: u32) -> Result<(), &'static str> {
        match self.stack.last() {
            Some(Entry::Value(size)) => {
                let size = *size;
                self.made(size.values)?;
                self.memo.insert(index, size);
                Ok(())
            }
            _ => Err(NO_LIST),
        }
    }

    fn again(&mut self, index: u32) -> Result<(), &'static str> {
        let size = *self.memo.get(&index).ok_or(NO_LIST)?;
        self.made(size.values)?;
        self.push(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_double_each_time_are_refused_before_they_are_made() {
        let mut pickle = b"\x80\x02]q\x00".to_vec();
        for index in 0..60 {
            pickle.extend([b'h', index, b'h', index, 0x86, b'q', index + 1]);
        }
        pickle.push(b'.');
        assert_eq!(check(&pickle), Err(TOO_MUCH));
    }

    #[test]
    fn values_that_lie_too_deep_are_refused() {
        let nested = |one: &[u8], open: &[u8], close: &[u8]| {
            let mut pickle = b"\x80\x02".to_vec();
            pickle.extend(open.repeat(200_000));
            pickle.extend(one);
            pickle.extend(close.repeat(200_000));
            pickle.push(b'.');
            check(&pickle)
        };
        for (one, open, close) in [
            (&b")"[..], &b""[..], &b"\x85"[..]),
            (b"}", b"(", b"tQ"),
            (b"]", b"]", b"a"),
        ] {
            assert!(nested(one, open, close).is_err_and(|said| said.contains("deep")));
        }
        assert_eq!(check(&b"(".repeat(10_000_000)), Err(TOO_MUCH));
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        assert_eq!(check(b""), Err(CUT));
        assert_eq!(check(b"\x80\x02X\xff\xff\xff\xffab"), Err(CUT));
        assert_eq!(check(b"cos\nsystem"), Err(CUT));
        assert_eq!(check(b"h\x07."), Err(NO_LIST));
        assert_eq!(check(b"t."), Err(NO_LIST));
        assert!(check(b"\x95\x01\x00\x00\x00\x00\x00\x00\x00.").is_err());
    }

    #[test]
    fn a_list_of_a_tensor_is_followed_to_its_end() {
        let pickle = b"\x80\x02}q\x00X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storagectorch\nFloatStorage\nq\x03X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tq\x04QK\x00K\x02K\x03\x86q\x05K\x03K\x01\x86q\x06\x89ccollections\nOrderedDict\nq\x07)Rq\x08tq\x09Rq\x0as.";
        assert_eq!(check(pickle), Ok(()));
    }
}
