//! The kernels of each instruction set, as one table of function pointers, chosen at the start.

use deepseek_core::kernels::Softmax;
use deepseek_core::{Format, Rounding, RowFormat, Unary};

use super::decode::Stored;
use super::dense::{Panel, Rows};
use super::simd::Portable;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use super::{decode, dense, math, rows, rows_math};

macro_rules! table {
    ($($name:ident in $home:ident: fn($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => {
        /// One compilation of every kernel.
        pub(super) struct Table {
            /// The instruction set, as in messages.
            pub(super) name: &'static str,
            $($name: unsafe fn($($ty),*) $(-> $ret)?,)*
        }

        impl Table {
            $(
                #[inline]
                pub(super) fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: `best` and `all` hand out a table only where the machine has its
                    // instructions, and nothing else does.
                    unsafe { (self.$name)($($arg),*) }
                }
            )*
        }

        static PORTABLE: Table = {
            $(fn $name($($arg: $ty),*) $(-> $ret)? { $home::$name(Portable, $($arg),*) })*
            Table { name: "portable", $($name,)* }
        };

        #[cfg(target_arch = "x86_64")]
        static AVX2: Table = {
            $(
                #[target_feature(enable = "avx2,fma,f16c")]
                fn $name($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: this function runs only where its target features are.
                    let simd = unsafe { Avx2::new() };
                    $home::$name(simd, $($arg),*)
                }
            )*
            Table { name: "avx2", $($name,)* }
        };

        #[cfg(target_arch = "x86_64")]
        static AVX512: Table = {
            $(
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                fn $name($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: this function runs only where its target features are.
                    let simd = unsafe { Avx512::new() };
                    $home::$name(simd, $($arg),*)
                }
            )*
            Table { name: "avx512", $($name,)* }
        };
    };
}

table! {
    dots in dense: fn(a: Rows<'_>, b: &Panel, out: &mut [f32], steps: [usize; 2]);
    axpys in dense: fn(a: &[f32], b: Rows<'_>, out: &mut [f32]);
    dot_stored in decode: fn(weight: Stored<'_>, x: &[f32], out: &mut [f32]);
    transpose in dense: fn(from: &[f32], stride: usize, rows: usize, to: &mut [f32]);
    decode in decode: fn(format: Format, codes: &[u8], scales: &[u8], out: &mut [f32]);
    unpack in rows: fn(format: RowFormat, packed: &[u8], width: usize, stride: usize, out: &mut [f32]);
    map in math: fn(x: &mut [f32], f: Unary);
    soften in math: fn(logits: &mut [f32], sink: f32, softmax: Softmax) -> f32;
    weigh in math: fn(products: &[f32], weights: &[f32], bf16: bool, scores: &mut [f32]);
    any_above in math: fn(x: &[f32], bar: f32) -> bool;
    swiglu in math: fn(gate: &mut [f32], up: &[f32], limit: f32, weight: f32, bf16: bool);
    fold_rows in math: fn(kv: &[&[f32]], scores: &[&[f32]], out: &mut [f32]);
    round_row in rows_math: fn(row: &mut [f32], to: Rounding);
    norm_row in rows_math: fn(row: &mut [f32], weight: Option<&[f32]>, eps: f32);
    mean_square in rows_math: fn(row: &[f32]) -> f32;
    rope_row in rows_math: fn(row: &mut [f32], cos: &[f32], sin: &[f32]);
    mix_row in rows_math: fn(shares: &[f32], parts: &[f32], out: &mut [f32]);
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Table {
    /// The tables that this machine can run, the best first.
    pub(super) fn all() -> Vec<&'static Self> {
        let mut tables = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            tables.extend(avx512.then_some(&AVX512));
            tables.extend(avx2.then_some(&AVX2));
        }
        tables.push(&PORTABLE);
        tables
    }

    /// The best table that this machine can run.
    pub(super) fn best() -> &'static Self {
        Self::all()[0]
    }
}
