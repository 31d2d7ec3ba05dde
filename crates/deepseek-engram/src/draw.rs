//! Numbers drawn as numpy's default generator draws them: the multipliers of the released tables
//! came from there.
//!
//! A seed is spread by numpy's `SeedSequence` (after O'Neill's `seed_seq_fe`), the generator is
//! PCG-XSL-RR 128/64, and bounded integers are Lemire's. All arithmetic wraps.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::RngCore as _;

/// `numpy.random.default_rng(seed)`.
#[derive(Debug)]
pub(crate) struct Draw(Pcg64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        let [a, b, c, d] = spread(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        Self(Pcg64::new(wide(a, b), wide(c, d)))
    }

    /// A number below `bound`, as `integers(bound)` draws it.
    ///
    /// # Panics
    /// If the bound fits 32 bits: numpy draws such numbers in another way.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 1 << 32, "numbers below {bound} are drawn otherwise");
        let uneven = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(bound);
            if product as u64 >= uneven {
                return (product >> 64) as u64;
            }
        }
    }
}

/// Four words of state from a seed: its 32-bit halves are hashed into a pool of four, each of the
/// pool is mixed with each other, and the state is drawn from the pool twice around.
fn spread(seed: u64) -> [u64; 4] {
    let mut hash = Hash {
        factor: 0x43b0_d7e5,
        step: 0x931e_8875,
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.of(word));
    for from in 0..pool.len() {
        for to in (0..pool.len()).filter(|to| *to != from) {
            let other = hash.of(pool[from]);
            let mixed = pool[to]
                .wrapping_mul(0xca01_f9dd)
                .wrapping_sub(other.wrapping_mul(0x4973_f715));
            pool[to] = mixed ^ mixed >> 16;
        }
    }
    let mut hash = Hash {
        factor: 0x8b51_f9dd,
        step: 0x58f3_8ded,
    };
    let mut words = pool.iter().cycle().map(|word| u64::from(hash.of(*word)));
    std::array::from_fn(|_| {
        let mut word = || words.next().expect("a cycle has no end");
        word() | word() << 32
    })
}

/// A multiplicative hash whose factor moves on with every word.
struct Hash {
    factor: u32,
    step: u32,
}

impl Hash {
    fn of(&mut self, word: u32) -> u32 {
        let word = word ^ self.factor;
        self.factor = self.factor.wrapping_mul(self.step);
        let word = word.wrapping_mul(self.factor);
        word ^ word >> 16
    }
}
