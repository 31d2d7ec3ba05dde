//! Which rows of the tables a position reads: hashes of the n-grams that end there.

use deepseek_core::Few;

use crate::draw::Draw;

/// The numbers that shape the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablesConfig {
    /// The layers that have a table, in the order of the config, which is that of the primes.
    pub layers: Vec<usize>,
    /// Tokens of the longest n-gram; the shortest has two.
    pub max_ngram: usize,
    /// Rows read for each length of n-gram.
    pub heads: usize,
    /// Channels of a row.
    pub head_dim: usize,
    /// The smallest number that may be a prime modulus.
    pub vocab_size: u64,
    /// The compressed id of the pad token.
    pub pad: u32,
    /// How many compressed ids there are.
    pub compressed_vocab: u32,
}

impl TablesConfig {
    /// The longest n-gram that is hashed. The release has 4.
    pub const NGRAM_MAX: usize = 16;
    /// The most rows that are read at a position. The release has 24.
    pub const COLUMNS_MAX: usize = 1024;
    /// The largest base of the primes. The release has 16,000,000.
    pub const VOCAB_SIZE_MAX: u64 = 1 << 32;
    /// The most compressed ids. The release has 99,092.
    pub const COMPRESSED_VOCAB_MAX: u32 = 1 << 24;

    /// Rows read at a position.
    #[must_use]
    pub fn columns(&self) -> usize {
        (self.max_ngram - 1) * self.heads
    }

    /// Bytes that a token touches in one table of FP8 rows: codes and scales.
    #[must_use]
    pub fn token_bytes(&self) -> u64 {
        (self.columns() * (self.head_dim + self.head_dim.div_ceil(SCALE_COLUMNS))) as u64
    }

    fn hold(&self) {
        let Self {
            max_ngram,
            heads,
            vocab_size,
            pad,
            compressed_vocab,
            ..
        } = *self;
        assert!(
            (2..=Self::NGRAM_MAX).contains(&max_ngram),
            "n-grams of {max_ngram}"
        );
        assert!((1..=Self::COLUMNS_MAX).contains(&heads), "{heads} heads");
        assert!(
            self.columns() <= Self::COLUMNS_MAX,
            "{} rows at a position",
            self.columns()
        );
        assert!(
            vocab_size <= Self::VOCAB_SIZE_MAX,
            "primes from {vocab_size}"
        );
        assert!(
            (1..=Self::COMPRESSED_VOCAB_MAX).contains(&compressed_vocab),
            "{compressed_vocab} compressed ids"
        );
        assert!(
            pad < compressed_vocab,
            "pad {pad} of {compressed_vocab} compressed ids"
        );
    }
}

/// Columns of a table that share a scale.
pub(crate) const SCALE_COLUMNS: usize = 32;

/// The hash functions of all tables (`docs/models/deepseek-v41.md` §3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    tables: Vec<Hasher>,
    max_ngram: usize,
    heads: usize,
    pad: u32,
}

/// How one table is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hasher {
    /// The layer that reads the table.
    pub layer: usize,
    /// The odd factors of the token itself and of those before it.
    pub multipliers: Vec<u64>,
    /// The moduli, lengths of n-grams outside, heads inside.
    pub primes: Vec<u64>,
    /// The first row of each modulus.
    pub offsets: Vec<u64>,
    /// Rows of the table.
    pub rows: u64,
}

impl Addresses {
    /// Finds the primes and draws the factors. Takes milliseconds for the release.
    ///
    /// # Panics
    /// If a number of the shape is beyond its limit, or the pad is no compressed id.
    #[must_use]
    pub fn new(config: &TablesConfig) -> Self {
        config.hold();
        // One sequence of primes for all layers, so that none serves twice.
        let mut primes = (config.vocab_size..).filter(|n| is_prime(*n));
        // No product of a factor and an id exceeds 63 bits.
        let bound = i64::MAX as u64 / u64::from(config.compressed_vocab) / 2;
        let tables = config.layers.iter().map(|&layer| {
            let mut draw = Draw::new(10_007 * layer as u64);
            let primes: Vec<u64> = primes.by_ref().take(config.columns()).collect();
            let mut rows = 0;
            let offsets = primes.iter().map(|prime| {
                rows += prime;
                rows - prime
            });
            Hasher {
                layer,
                multipliers: (0..config.max_ngram)
                    .map(|_| draw.below(bound) * 2 + 1)
                    .collect(),
                offsets: offsets.collect(),
                primes,
                rows,
            }
        });
        Self {
            tables: tables.collect(),
            max_ngram: config.max_ngram,
            heads: config.heads,
            pad: config.pad,
        }
    }

    /// The tables, in the order of the config.
    #[must_use]
    pub fn tables(&self) -> &[Hasher] {
        &self.tables
    }

    /// Rows of the table of `layer`.
    ///
    /// # Panics
    /// If the layer has no table.
    #[must_use]
    pub fn rows(&self, layer: usize) -> u64 {
        let table = self.tables.iter().find(|table| table.layer == layer);
        table.expect("a layer that has a table").rows
    }

    /// Rows read at a position of one table.
    #[must_use]
    pub fn columns(&self) -> usize {
        (self.max_ngram - 1) * self.heads
    }

    /// Tokens of the longest n-gram.
    #[must_use]
    pub fn max_ngram(&self) -> usize {
        self.max_ngram
    }

    /// Adds the rows of one position. `back` yields the compressed ids of the position and of those
    /// before it, nearest first, and nothing for an image's token; it may end early, at the
    /// beginning of the text. From the first that is not there on, all are pads.
    pub fn push(&self, back: impl IntoIterator<Item = Option<u32>>, slots: &mut Slots) {
        let known = back.into_iter().map_while(|id| id);
        let ids = known
            .chain(std::iter::repeat(self.pad))
            .take(self.max_ngram);
        let ids: Few<u64> = ids.map(u64::from).collect();
        for (table, slots) in self.tables.iter().zip(&mut slots.tables) {
            let mut products = ids
                .iter()
                .zip(&table.multipliers)
                .map(|(id, factor)| id * factor);
            let mut mixed = products.next().expect("two tokens at least");
            let mut moduli = table.primes.iter().zip(&table.offsets);
            for product in products {
                mixed ^= product;
                let heads = moduli.by_ref().take(self.heads);
                slots.extend(heads.map(|(prime, offset)| mixed % prime + offset));
            }
        }
    }

    /// No positions yet.
    #[must_use]
    pub fn slots(&self) -> Slots {
        Slots {
            layers: self.tables.iter().map(|table| table.layer).collect(),
            tables: vec![Vec::new(); self.tables.len()],
        }
    }
}

/// The rows that some positions read, for each table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    layers: Vec<usize>,
    tables: Vec<Vec<u64>>,
}

impl Slots {
    /// `[positions, columns]`: the rows in the table of `layer`, lengths of n-grams outside, heads
    /// inside.
    ///
    /// # Panics
    /// If the layer has no table.
    #[must_use]
    pub fn layer(&self, layer: usize) -> &[u64] {
        let table = self.layers.iter().position(|own| *own == layer);
        &self.tables[table.expect("a layer that has a table")]
    }

    /// No positions any more; the memory is kept.
    pub fn clear(&mut self) {
        self.tables.iter_mut().for_each(Vec::clear);
    }
}

/// By trial: below 2^33 there are few divisors to try.
fn is_prime(n: u64) -> bool {
    n > 1
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}
