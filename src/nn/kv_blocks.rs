//! Which blocks of the KV pool are whose: allocated, shared by forks, and kept for whoever
//! begins with the same tokens.
//!
//! The idea is vLLM's (Kwon et al. 2023, *Efficient Memory Management for Large Language Model
//! Serving with PagedAttention*, arXiv 2309.06180): a sequence's keys and values lie in blocks of
//! a fixed number of positions, named by a table; a block that is full is known by the hash of
//! all tokens up to its end, and stays after its last user until its place is needed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use sha2::{Digest, Sha256};

/// Positions of a block: the 32 tokens of a picture fill two.
pub use crate::cpu::paged_attention::BLOCK_POSITIONS as BLOCK;

/// The tokens up to a block's end, picture included, as a hash that nobody can find a second
/// text for: what is kept of one visitor's prompt must not answer another's.
type Chain = [u8; 32];

/// The pool has no block left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for more keys and values")]
pub struct OutOfBlocks;

/// The books of a pool; cheap to clone, all clones are the same.
#[derive(Clone)]
pub struct KvBlocks(Arc<Mutex<Books>>);

struct Books {
    /// How many sequences hold each block.
    holders: Vec<u32>,
    /// Held by nobody, and known by no hash; the latest freed is taken first, so that memory that was
    /// never touched stays so.
    free: Vec<u32>,
    /// Held by nobody but kept, by the time of the last use.
    kept: BTreeMap<u64, u32>,
    /// When each kept block was used last.
    kept_since: HashMap<u32, u64>,
    by_chain: HashMap<Chain, u32>,
    chain_of: HashMap<u32, Chain>,
    /// The most blocks that are kept for nobody.
    most_kept: usize,
    clock: u64,
}

/// How the blocks of a pool are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvUsage {
    /// All of them; those neither held nor kept are free.
    pub blocks: usize,
    /// By sequences that go on.
    pub held: usize,
    /// By nobody, for whoever begins with the same tokens.
    pub kept: usize,
}

impl KvBlocks {
    /// So many blocks, of which at most `most_kept` are kept when nobody holds them any more.
    pub fn new(blocks: usize, most_kept: usize) -> Self {
        let count = u32::try_from(blocks).unwrap_or(u32::MAX);
        Self(Arc::new(Mutex::new(Books {
            holders: vec![0; blocks],
            free: (0..count).rev().collect(),
            kept: BTreeMap::new(),
            kept_since: HashMap::new(),
            by_chain: HashMap::new(),
            chain_of: HashMap::new(),
            most_kept,
            clock: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // No change calls anything that panics before it is complete.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counted at this moment. A block that several hold counts once.
    pub fn usage(&self) -> KvUsage {
        let books = self.lock();
        let (blocks, kept) = (books.holders.len(), books.kept.len());
        KvUsage {
            blocks,
            held: blocks - books.free.len() - kept,
            kept,
        }
    }

    /// A sequence that nothing is known of but its own tokens.
    pub fn unshared(&self) -> KvSequence {
        KvSequence::new(self.clone(), None)
    }

    /// A sequence whose tokens are `ids` behind a `root`, which stands for what the ids do not say
    /// (the picture): it begins with the blocks that are kept or held of the same tokens, but never
    /// with all of `ids`, since the last is to be read for its logits.
    pub fn shared(&self, root: [u8; 32], ids: &[u32]) -> KvSequence {
        let mut books = self.lock();
        let found = books.find(root, ids);
        found.iter().for_each(|(block, _)| books.hold(*block));
        drop(books);
        let mut sequence = KvSequence::new(self.clone(), Some(root));
        sequence.length = BLOCK * found.len();
        (sequence.blocks, sequence.chains) = found.into_iter().unzip();
        sequence
    }

    /// How many positions of these tokens [`KvBlocks::shared`] would find.
    pub fn known(&self, root: [u8; 32], ids: &[u32]) -> usize {
        BLOCK * self.lock().find(root, ids).len()
    }
}

fn chained(before: &Chain, tokens: &[u32]) -> Chain {
    let mut hash = Sha256::new_with_prefix(before);
    for token in tokens {
        hash.update(token.to_le_bytes());
    }
    hash.finalize().into()
}

impl Books {
    /// The blocks that are there of these tokens, all but the last of which may be found.
    fn find(&self, root: Chain, ids: &[u32]) -> Vec<(u32, Chain)> {
        let mut last = root;
        let most = ids.len().saturating_sub(1) / BLOCK;
        let block = |tokens: &[u32]| {
            last = chained(&last, tokens);
            Some((*self.by_chain.get(&last)?, last))
        };
        ids.chunks_exact(BLOCK).take(most).map_while(block).collect()
    }

    /// One more holder of a block that is held or kept.
    fn hold(&mut self, block: u32) {
        self.holders[block as usize] += 1;
        if let Some(since) = self.kept_since.remove(&block) {
            self.kept.remove(&since);
        }
    }

    fn take(&mut self) -> Result<u32, OutOfBlocks> {
        if self.free.is_empty() {
            self.forget_oldest();
        }
        let block = self.free.pop().ok_or(OutOfBlocks)?;
        self.holders[block as usize] = 1;
        Ok(block)
    }

    fn let_go(&mut self, block: u32) {
        let holders = &mut self.holders[block as usize];
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        if !self.chain_of.contains_key(&block) {
            self.free.push(block);
            return;
        }
        self.clock += 1;
        self.kept.insert(self.clock, block);
        self.kept_since.insert(block, self.clock);
        while self.kept.len() > self.most_kept {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, block)) = self.kept.pop_first() else {
            return;
        };
        self.kept_since.remove(&block);
        if let Some(chain) = self.chain_of.remove(&block) {
            self.by_chain.remove(&chain);
        }
        self.free.push(block);
    }

    /// A block that is full: it is known by its tokens from now on, unless another is.
    fn name(&mut self, block: u32, chain: Chain) {
        if self.by_chain.contains_key(&chain) {
            return;
        }
        self.by_chain.insert(chain, block);
        self.chain_of.insert(block, chain);
    }
}

/// The blocks of one sequence, which go back when it is dropped.
pub struct KvSequence {
    books: KvBlocks,
    blocks: Vec<u32>,
    length: usize,
    /// What the first block goes on from; none where nothing is shared by its tokens.
    root: Option<Chain>,
    /// Of each full block.
    chains: Vec<Chain>,
    /// The tokens behind the last full block.
    tail: Vec<u32>,
}

impl KvSequence {
    fn new(books: KvBlocks, root: Option<Chain>) -> Self {
        Self {
            books,
            blocks: Vec::new(),
            length: 0,
            root,
            chains: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Positions that were read.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The table: block `i` has the positions from `16 i` on.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Another sequence that begins with the same positions, and shares them.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut books = self.books.lock();
        for block in &self.blocks {
            books.hold(*block);
        }
        drop(books);
        Self {
            books: self.books.clone(),
            blocks: self.blocks.clone(),
            length: self.length,
            root: self.root,
            chains: self.chains.clone(),
            tail: self.tail.clone(),
        }
    }

    /// Makes room for so many further positions. Where the last block is not full and another
    /// sequence holds it, it is replaced, and given back as `(old, new)`: the positions in it are
    /// to be copied before anything is written.
    ///
    /// # Errors
    /// There are not as many blocks. What was taken stays, for the next try.
    pub fn make_room(&mut self, positions: usize) -> Result<Option<(u32, u32)>, OutOfBlocks> {
        let mut books = self.books.lock();
        let last = self.length / BLOCK;
        let mut copied = None;
        if positions > 0
            && !self.length.is_multiple_of(BLOCK)
            && let Some(&old) = self.blocks.get(last)
            && books.holders[old as usize] > 1
        {
            let new = books.take()?;
            books.let_go(old);
            self.blocks[last] = new;
            copied = Some((old, new));
        }
        while self.blocks.len() * BLOCK < self.length + positions {
            match books.take() {
                Ok(block) => self.blocks.push(block),
                // A block was replaced: whoever asked must copy it.
                Err(_) if copied.is_some() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// Notes tokens that were read: their keys and values are in the blocks.
    pub fn advance(&mut self, tokens: &[u32]) {
        self.length += tokens.len();
        debug_assert!(self.length <= self.blocks.len() * BLOCK);
        let Some(root) = self.root else { return };
        self.tail.extend_from_slice(tokens);
        let full = self.tail.len() / BLOCK;
        if full == 0 {
            return;
        }
        let mut books = self.books.lock();
        for tokens in self.tail.chunks_exact(BLOCK) {
            let chain = chained(self.chains.last().unwrap_or(&root), tokens);
            books.name(self.blocks[self.chains.len()], chain);
            self.chains.push(chain);
        }
        drop(books);
        self.tail.drain(..full * BLOCK);
    }
}

impl Drop for KvSequence {
    fn drop(&mut self) {
        let mut books = self.books.lock();
        // The last first: of what is kept, a beginning is worth more than what follows it.
        for block in self.blocks.iter().rev() {
            books.let_go(*block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: [u8; 32] = [7; 32];

    fn ids(count: u32) -> Vec<u32> {
        (0..count).collect()
    }

    /// A sequence that has read these tokens.
    fn read(books: &KvBlocks, root: [u8; 32], ids: &[u32]) -> KvSequence {
        let mut sequence = books.shared(root, ids);
        let rest = &ids[sequence.length()..];
        sequence.make_room(rest.len()).expect("there is room");
        sequence.advance(rest);
        sequence
    }

    #[test]
    fn what_was_read_is_found_again_by_the_same_picture_and_tokens_alone() {
        let books = KvBlocks::new(10, 10);
        let first = read(&books, ROOT, &ids(40));
        assert_eq!(first.blocks().len(), 3);
        assert_eq!(books.known(ROOT, &ids(40)), 32);
        assert_eq!(books.known(ROOT, &ids(32)), 16, "the last token is to be read");
        assert_eq!(books.known([8; 32], &ids(40)), 0);
        let mut others = ids(40);
        others[20] = 99;
        assert_eq!(books.known(ROOT, &others), 16);
        let second = read(&books, ROOT, &ids(40));
        assert_eq!(second.blocks()[..2], first.blocks()[..2]);
        assert_ne!(second.blocks()[2], first.blocks()[2]);
        drop((first, second));
        assert_eq!(
            books.usage(),
            KvUsage {
                blocks: 10,
                held: 0,
                kept: 2
            }
        );
        assert_eq!(books.known(ROOT, &ids(40)), 32, "it is kept");
    }

    #[test]
    fn forks_share_all_but_what_they_write() {
        let books = KvBlocks::new(10, 0);
        let mut first = read(&books, ROOT, &ids(20));
        let mut fork = first.fork();
        assert_eq!(books.usage().held, 2);
        let (old, new) = fork.make_room(1).expect("there is room").expect("it is shared");
        assert_eq!((old, fork.blocks()[1]), (first.blocks()[1], new));
        assert_eq!(first.make_room(1), Ok(None), "it is the first's alone now");
        assert_eq!(books.usage().held, 3);
        drop((first, fork));
        assert_eq!(
            books.usage(),
            KvUsage {
                blocks: 10,
                held: 0,
                kept: 0
            }
        );
    }

    #[test]
    fn what_is_kept_makes_room_and_the_oldest_goes_first() {
        let books = KvBlocks::new(4, 3);
        for root in 0..3 {
            drop(read(&books, [root; 32], &ids(17)));
        }
        assert_eq!(books.usage().kept, 3);
        let large = read(&books, [9; 32], &ids(33));
        assert_eq!(large.blocks().len(), 3);
        assert_eq!([0, 1, 2].map(|root| books.known([root; 32], &ids(17))), [0, 0, 16]);
        let mut more = books.unshared();
        assert_eq!(more.make_room(17), Err(OutOfBlocks));
        drop(large);
        assert_eq!(more.make_room(17), Ok(None), "nobody holds the rest");
    }
}
