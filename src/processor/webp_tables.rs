//! How much memory the code tables of a lossless WebP will take.
//!
//! A lossless picture may have 65,536 groups of five prefix codes, whatever its
//! size, and a code of a few bytes becomes a table of 76 kB: a file of 650 kB
//! makes the decoder hold 5 GB. It cannot be given a limit, so the codes are
//! counted here before it sees the file, by reading them as it does
//! (RFC 9649, section 3) up to the first pixel.

/// Bytes of the decoder's tables for the lossless stream `data` of a picture of
/// that size, whose own header has been taken off. `None` if the stream is
/// damaged, or if it takes more than `most`.
pub(super) fn table_bytes(data: &[u8], width: u32, height: u32, most: u64) -> Option<u64> {
    let mut stream = Stream { data, bit: 0 };
    let width = stream.skip_transforms(width, height)?;
    let cache_bits = stream.cache_bits()?;
    let groups = stream.groups(width, height)?;
    let mut bytes = 0;
    for _ in 0..groups {
        bytes += GROUP_BYTES;
        for alphabet in alphabets(cache_bits) {
            bytes += stream.code_lengths(alphabet)?.table_bytes();
        }
        if bytes > most {
            return None;
        }
    }
    Some(bytes)
}

/// What the decoder holds of a group besides its tables.
const GROUP_BYTES: u64 = 5 * 64;

/// Literal bytes of the first code; what follows them are lengths of copies, then the cache.
const LITERALS: u16 = 256;
const LENGTHS: u16 = 24;

/// The sizes of a group's codes: green, lengths and cache; red; blue; alpha; distances.
fn alphabets(cache_bits: u32) -> [u16; 5] {
    let cache = if cache_bits == 0 { 0 } else { 1 << cache_bits };
    [LITERALS + LENGTHS + cache, LITERALS, LITERALS, LITERALS, 40]
}

/// Reads bits, the lowest of each byte first.
struct Stream<'a> {
    data: &'a [u8],
    bit: usize,
}

impl Stream<'_> {
    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, place| Some(value | self.flag()? << place))
    }

    fn flag(&mut self) -> Option<u32> {
        let byte = self.data.get(self.bit / 8)?;
        let bit = byte >> (self.bit % 8) & 1;
        self.bit += 1;
        Some(bit.into())
    }

    /// Goes over the transforms, and returns the width that is left: a palette packs pixels.
    fn skip_transforms(&mut self, mut width: u32, height: u32) -> Option<u32> {
        // Each of the four kinds may come once.
        for _ in 0..=4 {
            if self.flag()? == 0 {
                return Some(width);
            }
            match self.bits(2)? {
                // Predictors and colours: a small picture of blocks.
                0 | 1 => {
                    self.block_picture(width, height)?;
                }
                2 => {}
                _ => {
                    let colours = self.bits(8)? + 1;
                    self.picture(colours.into())?;
                    let packed = match colours {
                        ..=2 => 8,
                        3..=4 => 4,
                        5..=16 => 2,
                        _ => 1,
                    };
                    width = width.div_ceil(packed);
                }
            }
        }
        None
    }

    fn cache_bits(&mut self) -> Option<u32> {
        match self.flag()? {
            0 => Some(0),
            _ => self.bits(4).filter(|bits| (1..=11).contains(bits)),
        }
    }

    /// How many groups of codes there are: one more than the largest number in the picture
    /// that says which block has which.
    fn groups(&mut self, width: u32, height: u32) -> Option<u32> {
        match self.flag()? {
            0 => Some(1),
            _ => self.block_picture(width, height).map(|largest| largest + 1),
        }
    }

    /// A picture with a pixel for each block; returns its largest pixel, as [`picture`](Self::picture).
    fn block_picture(&mut self, width: u32, height: u32) -> Option<u32> {
        let block = 1 << (self.bits(3)? + 2);
        self.picture(u64::from(width.div_ceil(block)) * u64::from(height.div_ceil(block)))
    }

    /// Reads a picture of one group of codes, and returns the largest of its pixels' red and
    /// green as one number. What is copied, or comes from the cache, was a literal before.
    fn picture(&mut self, pixels: u64) -> Option<u32> {
        let cache_bits = self.cache_bits()?;
        let codes: Vec<Code> = alphabets(cache_bits)
            .into_iter()
            .map(|alphabet| self.code_lengths(alphabet).map(Code::of))
            .collect::<Option<_>>()?;
        let (mut read, mut largest) = (0, 0);
        while read < pixels {
            let green = self.symbol(&codes[0])?;
            if green < LITERALS {
                let red = self.symbol(&codes[1])?;
                self.symbol(&codes[2])?;
                self.symbol(&codes[3])?;
                largest = largest.max(u32::from(red) << 8 | u32::from(green));
                read += 1;
            } else if green < LITERALS + LENGTHS {
                read += self.prefixed(green - LITERALS)?;
                let distance = self.symbol(&codes[4])?;
                self.prefixed(distance)?;
            } else {
                read += 1;
            }
        }
        Some(largest)
    }

    /// The number of a prefix and the bits that follow it.
    fn prefixed(&mut self, prefix: u16) -> Option<u64> {
        if prefix < 4 {
            return Some(u64::from(prefix) + 1);
        }
        let more = u32::from(prefix - 2) >> 1;
        let base = u64::from(2 + (prefix & 1)) << more;
        Some(base + u64::from(self.bits(more)?) + 1)
    }

    fn symbol(&mut self, code: &Code) -> Option<u16> {
        if let [symbol] = code.symbols[..] {
            return Some(symbol);
        }
        // The codes of a length are consecutive numbers, those of the next begin at twice the end.
        let (mut value, mut first, mut before) = (0, 0, 0);
        for &count in &code.counts[1..] {
            value |= self.flag()?;
            if value < first + count {
                return code.symbols.get((before + value - first) as usize).copied();
            }
            before += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        None
    }

    /// The lengths of a code's words, one for each symbol; 0 where it has none.
    fn code_lengths(&mut self, alphabet: u16) -> Option<Lengths> {
        if self.flag()? == 1 {
            return self.simple_lengths(alphabet);
        }
        /// The order in which the lengths of the lengths' own code are stored.
        const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let stored = self.bits(4)? as usize + 4;
        let mut own = vec![0; ORDER.len()];
        for &place in ORDER.get(..stored)? {
            own[place] = self.bits(3)? as u8; // below 8
        }
        let own = Code::of(Lengths(own).complete()?);
        let words = match self.flag()? {
            0 => alphabet.into(),
            _ => {
                let bits = 2 + 2 * self.bits(3)?;
                2 + self.bits(bits)?
            }
        };
        self.stored_lengths(alphabet, &own, words)?.complete()
    }

    /// One symbol, or two.
    fn simple_lengths(&mut self, alphabet: u16) -> Option<Lengths> {
        let second = self.flag()?;
        let bits = if self.flag()? == 0 { 1 } else { 8 };
        let mut lengths = vec![0; alphabet.into()];
        *lengths.get_mut(self.bits(bits)? as usize)? = 1;
        if second == 1 {
            *lengths.get_mut(self.bits(8)? as usize)? = 1;
        }
        Some(Lengths(lengths))
    }

    /// At most `words` words of the lengths' code `own`.
    fn stored_lengths(&mut self, alphabet: u16, own: &Code, words: u32) -> Option<Lengths> {
        let alphabet = usize::from(alphabet);
        let (mut lengths, mut last) = (Vec::with_capacity(alphabet), 8);
        for _ in 0..words {
            if lengths.len() == alphabet {
                break;
            }
            let (length, times) = match self.symbol(own)? {
                16 => (last, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length as u8, 1), // below 16
            };
            if length != 0 {
                last = length;
            }
            lengths.extend(std::iter::repeat_n(length, times as usize));
        }
        lengths.resize(alphabet.max(lengths.len()), 0);
        (lengths.len() == alphabet).then_some(Lengths(lengths))
    }
}

/// The lengths of a prefix code's words.
struct Lengths(Vec<u8>);

impl Lengths {
    /// How many words have each length.
    fn counts(&self) -> [u32; 16] {
        let mut counts = [0; 16];
        for &length in self.0.iter().filter(|&&length| length != 0) {
            counts[usize::from(length)] += 1;
        }
        counts
    }

    /// The code, if its words fill all there is, or it has a single one.
    fn complete(self) -> Option<Self> {
        let counts = self.counts();
        let words: u32 = counts.iter().sum();
        let filled: u32 = (1..16).map(|length| counts[length] << (15 - length)).sum();
        (words == 1 || filled == 1 << 15).then_some(self)
    }

    /// What the decoder makes of it: a table of up to ten bits, of 4 bytes an entry, and for
    /// the words that are longer two nodes of 16 bytes each.
    fn table_bytes(&self) -> u64 {
        const TABLE_BITS: usize = 10;
        let counts = self.counts();
        if counts.iter().sum::<u32>() == 1 {
            return 0;
        }
        let longest = (1..16).rev().find(|&length| counts[length] != 0).unwrap_or(1);
        let beyond: u32 = counts[TABLE_BITS + 1..].iter().sum();
        // The nodes' vector may grow once beyond what was reckoned.
        (4 << longest.min(TABLE_BITS)) + u64::from(beyond) * 2 * 16 * 2
    }
}

/// A prefix code: its symbols in the order of their words.
struct Code {
    counts: [u32; 16],
    symbols: Vec<u16>,
}

impl Code {
    fn of(lengths: Lengths) -> Self {
        let counts = lengths.counts();
        let with = |wanted: u8| {
            let places = (0..).zip(&lengths.0);
            places.filter_map(move |(symbol, &length)| (length == wanted).then_some(symbol))
        };
        let symbols = (1..16).flat_map(with).collect();
        Self { counts, symbols }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::{Picture, PictureLimits};

    /// Writes bits, the lowest of each byte first.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        free: u32,
    }

    impl Writer {
        fn put(&mut self, value: u32, count: u32) {
            for place in 0..count {
                if self.free == 0 {
                    self.bytes.push(0);
                    self.free = 8;
                }
                let last = self.bytes.last_mut().expect("one was pushed");
                *last |= ((value >> place & 1) as u8) << (8 - self.free);
                self.free -= 1;
            }
        }

        /// A code of this symbol alone, which takes no bits.
        fn put_single(&mut self, symbol: u32) {
            self.put(0b101, 3);
            self.put(symbol, 8);
        }

        /// A code of 2,048 symbols with eleven bits each.
        fn put_large(&mut self) {
            self.put(0, 1);
            // The lengths' own code has a single word: of length eleven.
            self.put(15 - 4, 4);
            (0..14).for_each(|_| self.put(0, 3));
            self.put(1, 3);
            self.put(1, 1);
            self.put(5, 3);
            self.put(2048 - 2, 12);
        }
    }

    /// A lossless stream of 8 x 8 pixels with so many groups of codes, each with a large one.
    fn groups(count: u32) -> Vec<u8> {
        let mut writer = Writer::default();
        // No transform; a cache of 2,048 colours; blocks of four pixels, each with the last group.
        writer.put(0, 1);
        writer.put(1 | 11 << 1, 5);
        writer.put(1, 1);
        writer.put(0, 3);
        writer.put(0, 1);
        let last = count - 1;
        for symbol in [last & 0xff, last >> 8, 0, 0, 0] {
            writer.put_single(symbol);
        }
        for _ in 0..count {
            writer.put_large();
            (0..4).for_each(|_| writer.put_single(0));
        }
        writer.bytes
    }

    fn webp(stream: &[u8]) -> Vec<u8> {
        let header: u32 = 7 | 7 << 14;
        let mut chunk = [&[0x2f][..], &header.to_le_bytes(), stream].concat();
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        let lengths = [chunk.len() as u32 + 12, chunk.len() as u32].map(u32::to_le_bytes);
        [b"RIFF", &lengths[0][..], b"WEBPVP8L", &lengths[1], &chunk].concat()
    }

    #[test]
    fn large_tables_of_small_codes_are_counted() {
        let of_one = GROUP_BYTES + 4 * 1024 + 2048 * 64;
        assert_eq!(table_bytes(&groups(1), 8, 8, u64::MAX), Some(of_one));
        assert_eq!(table_bytes(&groups(300), 8, 8, u64::MAX), Some(300 * of_one));
        assert_eq!(table_bytes(&groups(300), 8, 8, 300 * of_one - 1), None);
    }

    #[test]
    fn a_small_webp_that_takes_gigabytes_of_tables_is_refused() {
        let bomb = webp(&groups(1 << 16));
        assert!(bomb.len() < 2_000_000);
        for outcome in [
            Picture::decode(&bomb, &PictureLimits::default()).map(drop),
            Picture::decoding_bytes(&bomb).map(drop),
        ] {
            let sentence = outcome.expect_err("it is refused").to_string();
            assert!(sentence.contains("tables"), "{sentence}");
        }
        // The decoder reads such codes: what makes it refuse this one are the pixels, which are missing.
        let small = webp(&groups(3));
        let sentence = Picture::decode(&small, &PictureLimits::default())
            .expect_err("no pixels")
            .to_string();
        assert!(!sentence.contains("tables"), "{sentence}");
        let bytes = Picture::decoding_bytes(&small).expect("its head is right");
        assert!(bytes > 3 * 2048 * 64, "{bytes}");
    }

    #[test]
    fn a_stream_cut_anywhere_before_its_pixels_is_none() {
        let whole = groups(2);
        for length in 0..whole.len() {
            assert_eq!(table_bytes(&whole[..length], 8, 8, u64::MAX), None, "{length}");
        }
    }
}
