//! How rows are laid out to be multiplied with a stored matrix.

use deepseek_core::weights::WeightView;

use super::lanes::{Isa, LANES};
#[cfg(target_arch = "x86_64")]
use super::pairs;
use super::pool::Pool;

/// What is multiplied with what.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// 32-bit floats, in the order of sums that all instruction sets share.
    Floats(Isa),
    /// Pairs of BF16, where nothing is lost by it: lane `i` takes numbers `2i` and `2i + 1` of each 32.
    #[cfg(target_arch = "x86_64")]
    Pairs,
}

impl Form {
    /// The form for rows by `weights`. `exact` says that the numbers of the rows are exact in BF16; a
    /// weight is where its codes are short and its scales powers of two.
    pub(super) fn of<'a>(
        isa: Isa,
        exact: bool,
        weights: impl IntoIterator<Item = &'a WeightView>,
    ) -> Self {
        #[cfg(target_arch = "x86_64")]
        if exact && isa == Isa::Avx512Bf16 && weights.into_iter().all(pairs::takes) {
            return Self::Pairs;
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (exact, weights);
        Self::Floats(isa)
    }

    /// Lanes of a row of so many numbers.
    pub(super) fn wide(self, numbers: usize) -> usize {
        match self {
            Self::Floats(_) => numbers.next_multiple_of(LANES),
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => numbers.div_ceil(2 * LANES) * LANES,
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

/// Makes `$name` run `$body` compiled for the form that it is given.
macro_rules! for_each_form {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        fn $name(form: Form, $($arg: $ty),*) $(-> $result)? {
            $crate::kernels::lanes::for_each_isa! {
                floats($($arg: $ty),*) $(-> $result)? = $body
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma,f16c")]
            unsafe fn pairs($($arg: $ty),*) $(-> $result)? {
                // SAFETY: compiled for what it needs.
                unsafe { $body::<$crate::kernels::pairs::Pairs>($($arg),*) }
            }
            match form {
                Form::Floats(isa) => floats(isa, $($arg),*),
                // SAFETY: the form comes from `Form::of`, and its instruction set asked the machine.
                #[cfg(target_arch = "x86_64")]
                Form::Pairs => unsafe { pairs($($arg),*) },
            }
        }
    };
}

pub(super) use for_each_form;
