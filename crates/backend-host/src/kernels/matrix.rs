//! A stored matrix, and what was found out about it.

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU64, Ordering};

use deepseek_core::Format;
use deepseek_core::weights::WeightView;

/// Rows about which one thing is remembered.
pub(crate) const TOGETHER: usize = 8;

/// A weight matrix where it lies.
#[derive(Debug)]
pub(crate) struct Matrix {
    view: WeightView,
    /// A bit for each [`TOGETHER`] rows whose codes were found to be all numbers; none where all codes of the
    /// format are.
    sound: Box<[AtomicU64]>,
}

impl From<WeightView> for Matrix {
    fn from(view: WeightView) -> Self {
        let bits = match view.format {
            Format::Fp8 { .. } => view.shape[0].div_ceil(TOGETHER),
            Format::F32 | Format::Bf16 | Format::F16 => 0,
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => 0,
        };
        let words = bits.div_ceil(u64::BITS as usize);
        Self {
            sound: (0..words).map(|_| AtomicU64::new(0)).collect(),
            view,
        }
    }
}

impl Deref for Matrix {
    type Target = WeightView;

    fn deref(&self) -> &WeightView {
        &self.view
    }
}

impl Matrix {
    /// The rows about which one thing is known.
    pub(crate) fn together(&self) -> usize {
        if self.sound.is_empty() { 1 } else { TOGETHER }
    }

    /// Whether all codes of some rows are numbers, as `look` tells where it is not known yet.
    pub(crate) fn is_sound(&self, rows: Range<usize>, look: impl FnOnce() -> bool) -> bool {
        if self.sound.is_empty() {
            return true;
        }
        let ends = rows.end.is_multiple_of(TOGETHER) || rows.end == self.view.shape[0];
        let is_whole = rows.start.is_multiple_of(TOGETHER) && ends;
        let bits = || {
            let bits = rows.start / TOGETHER..rows.end.div_ceil(TOGETHER);
            bits.map(|bit| (bit / u64::BITS as usize, 1 << (bit % u64::BITS as usize)))
        };
        // Nothing else is read on the strength of a bit, so it is in no order with anything.
        let known = |(word, bit): (usize, u64)| self.sound[word].load(Ordering::Relaxed) & bit > 0;
        if is_whole && bits().all(known) {
            return true;
        }
        let is_sound = look();
        if is_whole && is_sound {
            for (word, bit) in bits() {
                self.sound[word].fetch_or(bit, Ordering::Relaxed);
            }
        }
        is_sound
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::ScaleFormat;
    use deepseek_core::weights::Bytes;

    use super::*;

    #[test]
    fn whole_rows_that_are_sound_are_looked_at_once() {
        let (tile, scale) = ([128, 128], ScaleFormat::E8m0);
        let matrix = |format| {
            Matrix::from(WeightView {
                name: "w".to_owned(),
                format,
                shape: [1030, 2],
                data: Bytes::from(vec![0; 2060]),
                scales: Bytes::from(vec![127; 9]),
                tile_row: 0,
                stride: None,
            })
        };
        let fp8 = matrix(Format::Fp8 { tile, scale });
        let looks = |matrix: &Matrix, rows: Range<usize>, is_sound| {
            let mut looks = false;
            let told = matrix.is_sound(rows, || {
                looks = true;
                is_sound
            });
            assert!(told == is_sound || !looks);
            looks
        };
        // What is not sound is looked at again, and so is a part of rows that are remembered together.
        for (rows, is_sound, again) in [
            (0..8, true, false),
            (8..40, false, true),
            (504..536, true, false),
            (1024..1030, true, false),
            (100..104, true, true),
            (44..52, true, true),
        ] {
            assert!(looks(&fp8, rows.clone(), is_sound), "{rows:?}");
            assert_eq!(looks(&fp8, rows.clone(), is_sound), again, "{rows:?}");
        }
        assert!(!looks(&fp8, 504..512, true) && looks(&fp8, 496..512, true));
        assert!(!looks(&matrix(Format::Int8), 0..8, true));
    }
}
