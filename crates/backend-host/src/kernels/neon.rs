//! Sixteen lanes as four vectors of NEON, and codes of each format decoded into them.
//!
//! Numbers are fused and folded in the order of every other set, so the bits are theirs. Codes are decoded in
//! their own order: the instructions that bring halves of bytes together put them where they belong.
#![cfg(target_arch = "aarch64")]
#![allow(unsafe_code, reason = "vector instructions")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise, that of the instruction set, covers all operations on registers"
)]
#![allow(
    clippy::wildcard_imports,
    reason = "the names of intrinsics are their own prefix"
)]

use std::arch::aarch64::*;
use std::arch::asm;

use super::codes::Halves;
use super::lanes::{LANES, Lanes};

/// Four numbers four times.
#[derive(Clone, Copy)]
pub(super) struct Quad([float32x4_t; 4]);

// SAFETY: needs NEON, which the callers of the trait's functions promise.
unsafe impl Lanes for Quad {
    // Sums take sixteen of the thirty-two registers, and what is multiplied twelve.
    const TILE: [usize; 2] = [2, 2];
    const WEIGHED: [usize; 2] = [6, 1];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: promised by the caller.
        Self([unsafe { vdupq_n_f32(x) }; 4])
    }

    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        let [a, b, c, d] = quarters::<_, LANES, 4>(from);
        // SAFETY: four numbers each; NEON is promised by the caller.
        unsafe {
            Self([
                vld1q_f32(a.as_ptr()),
                vld1q_f32(b.as_ptr()),
                vld1q_f32(c.as_ptr()),
                vld1q_f32(d.as_ptr()),
            ])
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        for (to, vector) in to.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            // SAFETY: four numbers; NEON is promised by the caller.
            unsafe { vst1q_f32(to.as_mut_ptr(), vector) };
        }
    }

    #[inline(always)]
    unsafe fn fma(self, by: Self, to: Self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            Self([
                vfmaq_f32(to.0[0], self.0[0], by.0[0]),
                vfmaq_f32(to.0[1], self.0[1], by.0[1]),
                vfmaq_f32(to.0[2], self.0[2], by.0[2]),
                vfmaq_f32(to.0[3], self.0[3], by.0[3]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn fold(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: promised by the caller.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a prefetch changes no register and no memory, and one of nothing does nothing.
        unsafe {
            asm!(
                "prfm pldl2keep, [{}]",
                in(reg) from,
                options(nomem, nostack, preserves_flags),
            );
        }
    }
}

// SAFETY: needs NEON, which the callers of the trait's functions promise.
unsafe impl Halves for Quad {
    const FEW: [usize; 4] = [4, 2, 2, 1];

    #[inline(always)]
    unsafe fn f32(codes: &[u8; 64]) -> Self {
        let [a, b, c, d] = quarters(codes);
        // SAFETY: sixteen bytes; NEON is promised by the caller.
        let four = |codes: &[u8; 16]| unsafe { vreinterpretq_f32_u8(vld1q_u8(codes.as_ptr())) };
        Self([four(a), four(b), four(c), four(d)])
    }

    #[inline(always)]
    unsafe fn bf16(codes: &[u8; 32]) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let [low, high] = words(codes);
            Self::upper_words(low, high)
        }
    }

    #[inline(always)]
    unsafe fn f16(codes: &[u8; 32]) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let [low, high] = words(codes);
            Self::halves(low, high)
        }
    }

    /// The bits of an exponent and a mantissa stand where a half has them, which makes numbers 256 times
    /// smaller, and codes without exponent become halves without.
    #[inline(always)]
    unsafe fn fp8(codes: &[u8; 16], factor: f32) -> Self {
        // SAFETY: sixteen bytes; NEON is promised by the caller.
        unsafe {
            let codes = vld1q_s8(codes.as_ptr().cast());
            // The sign was repeated over the uppermost bit of the exponent.
            let all_but_that = vdupq_n_u16(0xbfff);
            let eight = |codes| vandq_u16(vreinterpretq_u16_s16(codes), all_but_that);
            let low = eight(vshll_n_s8::<7>(vget_low_s8(codes)));
            let high = eight(vshll_high_n_s8::<7>(codes));
            Self::halves(low, high).times(factor)
        }
    }

    /// The values have no more digits than BF16: two tables give its lower bytes and its upper bytes.
    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 2] {
        const LOWER: [u8; 16] = [
            0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0, 0x00, 0x00, 0x80, 0xc0, 0x00, 0x40,
            0x80, 0xc0,
        ];
        const UPPER: [u8; 16] = [
            0x00, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x80, 0xbf, 0xbf, 0xbf, 0xc0, 0xc0,
            0xc0, 0xc0,
        ];
        // SAFETY: sixteen bytes of codes and of each table; NEON is promised by the caller.
        unsafe {
            let codes = vld1q_u8(codes.as_ptr().cast());
            let (lower, upper) = (vld1q_u8(LOWER.as_ptr()), vld1q_u8(UPPER.as_ptr()));
            let even = vandq_u8(codes, vdupq_n_u8(0x0f));
            let odd = vshrq_n_u8::<4>(codes);
            let sixteen = |codes| {
                let (lower, upper) = (vqtbl1q_u8(lower, codes), vqtbl1q_u8(upper, codes));
                let low = vreinterpretq_u16_u8(vzip1q_u8(lower, upper));
                let high = vreinterpretq_u16_u8(vzip2q_u8(lower, upper));
                Self::upper_words(low, high).times(factor)
            };
            [sixteen(vzip1q_u8(even, odd)), sixteen(vzip2q_u8(even, odd))]
        }
    }

    #[inline(always)]
    unsafe fn int8(codes: &[u8; 16], factor: f32) -> Self {
        // SAFETY: sixteen bytes; NEON is promised by the caller.
        unsafe { Self::integers(vld1q_s8(codes.as_ptr().cast()), factor) }
    }

    #[inline(always)]
    unsafe fn int4(codes: &[u8; 8], factor: f32) -> Self {
        // SAFETY: eight bytes; NEON is promised by the caller.
        unsafe {
            let codes = vld1_u8(codes.as_ptr());
            let even = vand_u8(codes, vdup_n_u8(0x0f));
            let odd = vshr_n_u8::<4>(codes);
            let codes = vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd));
            // A code of eight or more is negative: what is 8 above its place goes 16 below.
            let sign = vdupq_n_u8(8);
            let codes = vsubq_u8(veorq_u8(codes, sign), sign);
            Self::integers(vreinterpretq_s8_u8(codes), factor)
        }
    }
}

impl Quad {
    /// Floats whose upper halves these are, and whose lower halves are zeros.
    #[inline(always)]
    unsafe fn upper_words(low: uint16x8_t, high: uint16x8_t) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let zero = vdupq_n_u16(0);
            Self([
                vreinterpretq_f32_u16(vzip1q_u16(zero, low)),
                vreinterpretq_f32_u16(vzip2q_u16(zero, low)),
                vreinterpretq_f32_u16(vzip1q_u16(zero, high)),
                vreinterpretq_f32_u16(vzip2q_u16(zero, high)),
            ])
        }
    }

    /// Half-precision floats as floats.
    #[inline(always)]
    unsafe fn halves(low: uint16x8_t, high: uint16x8_t) -> Self {
        // SAFETY: promised by the caller.
        let [[a, b], [c, d]] = unsafe { [widened(low), widened(high)] };
        Self([a, b, c, d])
    }

    /// Sixteen signed bytes times a factor.
    #[inline(always)]
    unsafe fn integers(codes: int8x16_t, factor: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let (low, high) = (vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes));
            Self([
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ])
            .times(factor)
        }
    }

    #[inline(always)]
    unsafe fn times(self, factor: f32) -> Self {
        // SAFETY: promised by the caller.
        Self(self.0.map(|x| unsafe { vmulq_n_f32(x, factor) }))
    }
}

/// Eight half-precision floats as floats. NEON has always had the instructions; their intrinsics want a type
/// that no stable compiler has.
#[inline(always)]
unsafe fn widened(halves: uint16x8_t) -> [float32x4_t; 2] {
    let low: float32x4_t;
    let high: float32x4_t;
    // SAFETY: registers alone; NEON is promised by the caller.
    unsafe {
        asm!(
            "fcvtl {low:v}.4s, {halves:v}.4h",
            "fcvtl2 {high:v}.4s, {halves:v}.8h",
            low = out(vreg) low,
            high = lateout(vreg) high,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

/// Sixteen words of two bytes.
#[inline(always)]
unsafe fn words(codes: &[u8; 32]) -> [uint16x8_t; 2] {
    let halves = codes.as_chunks::<16>().0;
    // SAFETY: sixteen bytes; NEON is promised by the caller.
    let eight = |codes: &[u8; 16]| unsafe { vreinterpretq_u16_u8(vld1q_u8(codes.as_ptr())) };
    [eight(&halves[0]), eight(&halves[1])]
}

/// Four parts of one length.
#[inline(always)]
fn quarters<T, const ALL: usize, const EACH: usize>(all: &[T; ALL]) -> [&[T; EACH]; 4] {
    let parts = all.as_chunks::<EACH>().0;
    [&parts[0], &parts[1], &parts[2], &parts[3]]
}
