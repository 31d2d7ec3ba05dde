//! Sixteen lanes of 32-bit floats, under three instruction sets.

use deepseek_core::quant::{fp4, fp8};

/// Lanes of a vector, whatever the machine's own width: the order of every sum follows from it.
pub(super) const LANES: usize = 16;

/// Sixteen neighbours in memory.
pub(super) type Chunk = [f32; LANES];

/// An instruction set, as a token that exists only where the machine has it.
///
/// Kernels are written once over this trait and compiled for each set. They give the same bits
/// under each, because every method is exact or rounds as its documentation says.
pub(super) trait Simd: Copy {
    /// Sixteen floats in registers.
    type V: Copy;
    /// The sixteen values of E2M1 times a scale.
    type Fp4: Copy;
    /// Whether a product may keep sixteen vectors in registers, or four.
    const WIDE: bool;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &Chunk) -> Self::V;
    fn store(self, x: Self::V, to: &mut Chunk);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The sum of the lanes: lane `i` and lane `i + 8`, then `i + 4`, `i + 2`, `i + 1`.
    fn sum(self, x: Self::V) -> f32;
    /// Lane `j` of vector `i` becomes lane `i` of vector `j`.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];
    /// Sixteen brain floats.
    fn bf16(self, bytes: &[u8; 2 * LANES]) -> Self::V;
    /// The values of sixteen E4M3 codes.
    fn fp8(self, codes: &[u8; LANES]) -> Self::V;
    /// Prepares [`Self::fp4`].
    fn fp4_table(self, scale: f32) -> Self::Fp4;
    /// The values of sixteen E2M1 codes, low nibbles first, times the scale of the table.
    fn fp4(self, codes: &[u8; LANES / 2], table: Self::Fp4) -> Self::V;

    /// [`Self::sum`] of sixteen vectors at once.
    #[inline(always)]
    fn sums(self, rows: [Self::V; LANES]) -> Self::V {
        let mut lanes = self.transpose(rows);
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = self.add(lanes[i], lanes[i + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// Plain Rust, for every machine; the compiler makes vectors of it where it can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type V = Chunk;
    type Fp4 = f32;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Chunk {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &Chunk) -> Chunk {
        *from
    }

    #[inline(always)]
    fn store(self, x: Chunk, to: &mut Chunk) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: Chunk, b: Chunk) -> Chunk {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul(self, a: Chunk, b: Chunk) -> Chunk {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fma(self, a: Chunk, b: Chunk, c: Chunk) -> Chunk {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn sum(self, mut x: Chunk) -> f32 {
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                x[i] += x[i + half];
            }
            half /= 2;
        }
        x[0]
    }

    #[inline(always)]
    fn transpose(self, rows: [Chunk; LANES]) -> [Chunk; LANES] {
        std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j]))
    }

    #[inline(always)]
    fn bf16(self, bytes: &[u8; 2 * LANES]) -> Chunk {
        std::array::from_fn(|i| {
            f32::from_bits(u32::from_le_bytes([0, 0, bytes[2 * i], bytes[2 * i + 1]]))
        })
    }

    #[inline(always)]
    fn fp8(self, codes: &[u8; LANES]) -> Chunk {
        codes.map(fp8::decode)
    }

    #[inline(always)]
    fn fp4_table(self, scale: f32) -> f32 {
        scale
    }

    #[inline(always)]
    fn fp4(self, codes: &[u8; LANES / 2], scale: f32) -> Chunk {
        std::array::from_fn(|i| fp4::decode(codes[i / 2] >> (4 * (i % 2))) * scale)
    }
}
