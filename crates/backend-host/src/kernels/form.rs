//! How rows are laid out to be multiplied with a stored matrix.

use deepseek_core::weights::WeightView;
use deepseek_core::{Format, Rounding, RowFormat, ScaleFormat};

use super::codes::UNIT;
use super::integers::{self, Bits};
use super::lanes::{Isa, LANES};
#[cfg(target_arch = "x86_64")]
use super::pairs;
use super::pool::Pool;

/// What is known of the numbers of rows, by what they were rounded to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    Nothing,
    /// All are exact in BF16.
    Bf16,
    /// Those of a row are integers of eight bits times a scale: [`Rounding::Int8`].
    Int8,
}

impl Known {
    /// What a rounding promises, if there was one.
    pub(crate) fn after(rounding: Option<Rounding>) -> Self {
        match rounding {
            Some(Rounding::Int8) => Self::Int8,
            Some(rounding) if rounding.is_exact_in_bf16() => Self::Bf16,
            Some(_) | None => Self::Nothing,
        }
    }

    /// What is known of parts of rows, or of parts that stand side by side.
    pub(crate) fn of_parts(self) -> Self {
        match self {
            Self::Int8 => Self::Nothing,
            Self::Nothing | Self::Bf16 => self,
        }
    }
}

/// What is multiplied with what.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// 32-bit floats, in the order of sums that all instruction sets share.
    Floats(Isa),
    /// Pairs of BF16, where nothing is lost by it: lane `i` takes numbers `2i` and `2i + 1` of each 32.
    #[cfg(target_arch = "x86_64")]
    Pairs,
    /// Integers, where rows and weights are: [`integers`].
    Integers(Isa, Bits),
}

impl Form {
    /// The form for rows of which something is known, by `weights`. A weight is exact in BF16 where its codes
    /// are short and its scales powers of two.
    pub(super) fn of<'a>(
        isa: Isa,
        known: Known,
        weights: impl IntoIterator<Item = &'a WeightView>,
    ) -> Self {
        match known {
            Known::Nothing => Self::Floats(isa),
            Known::Bf16 => Self::exact(isa, weights.into_iter().all(is_exact_in_bf16)),
            Known::Int8 => {
                let integers = |bits| Self::Integers(isa, bits);
                Bits::of(weights).map_or(Self::Floats(isa), integers)
            }
        }
    }

    /// The form for rows of which something is known, by rows of pools.
    pub(super) fn of_rows(
        isa: Isa,
        known: Known,
        formats: impl IntoIterator<Item = RowFormat>,
    ) -> Self {
        let exact = || formats.into_iter().all(RowFormat::is_exact_in_bf16);
        Self::exact(isa, known == Known::Bf16 && exact())
    }

    /// Pairs, where the set has them and both sides are exact in BF16.
    fn exact(isa: Isa, is_exact: bool) -> Self {
        let pairs = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Some(Self::Pairs),
            _ => None,
        };
        pairs.filter(|_| is_exact).unwrap_or(Self::Floats(isa))
    }

    /// Lanes of a row of so many numbers.
    pub(super) fn wide(self, numbers: usize) -> usize {
        match self {
            Self::Floats(_) => numbers.next_multiple_of(LANES),
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => numbers.div_ceil(2 * LANES) * LANES,
            Self::Integers(_, bits) => bits.wide(numbers),
        }
    }

    /// Lays out one row, lengthened with zeros to whole vectors. Zeros change no sum.
    pub(super) fn lay(self, row: &[f32], out: &mut [f32]) {
        match self {
            Self::Floats(_) => {
                out[..row.len()].copy_from_slice(row);
                out[row.len()..].fill(0.0);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => pairs::pack(row, out),
            Self::Integers(isa, bits) => integers::lay(isa, bits, row, out),
        }
    }

    /// Lends `work` rows of `width` numbers, laid out.
    pub(super) fn rows<T>(
        self,
        pool: &Pool,
        x: &[f32],
        width: usize,
        work: impl FnOnce(&[f32]) -> T,
    ) -> T {
        let wide = self.wide(width);
        if matches!(self, Self::Floats(_)) && wide == width {
            return work(x);
        }
        pool.scratch([x.len() / width * wide], |[laid]| {
            pool.pieces(laid, wide, x.len(), |row, out| {
                self.lay(&x[row * width..][..width], out);
            });
            work(laid)
        })
    }
}

/// Whether the numbers of a weight are exact in BF16, in units of one factor each.
fn is_exact_in_bf16(weight: &WeightView) -> bool {
    match weight.format {
        Format::Fp8 { tile, scale } => scale == ScaleFormat::E8m0 && tile[1].is_multiple_of(UNIT),
        Format::Fp4 { block, scale } => scale == ScaleFormat::E8m0 && block.is_multiple_of(UNIT),
        Format::Bf16 => true,
        // Scales of INT8 and INT4 have more digits.
        Format::F32 | Format::F16 | Format::Int8 | Format::Int4 { .. } => false,
    }
}

/// Makes `$name` run `$body` compiled for the form that it is given.
macro_rules! for_each_form {
    ($(#[$doc:meta])* $vis:vis $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        $vis fn $name(form: Form, $($arg: $ty),*) $(-> $result)? {
            $crate::kernels::lanes::for_each_isa! {
                floats($($arg: $ty),*) $(-> $result)? = $body
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vbmi,avx2,fma,f16c")]
            unsafe fn pairs($($arg: $ty),*) $(-> $result)? {
                // SAFETY: compiled for what it needs.
                unsafe { $body::<$crate::kernels::pairs::Pairs>($($arg),*) }
            }
            match form {
                Form::Floats(isa) => floats(isa, $($arg),*),
                // SAFETY: the form comes from `Form::of`, and its instruction set asked the machine.
                #[cfg(target_arch = "x86_64")]
                Form::Pairs => unsafe { pairs($($arg),*) },
                Form::Integers(..) => unreachable!("integers have a product of their own"),
            }
        }
    };
}

pub(super) use for_each_form;
