//! One matrix in another format, a band of rows at a time, and what that loses.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use deepseek_core::quant::{decode_row, encode_rows};
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{Error as CoreError, Format};

use crate::error::Result;
use crate::limits::BAND_NUMBERS;

/// What became of numbers, summed up in 64 bits in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Loss {
    /// Numbers that are finite.
    pub(crate) count: u64,
    /// Those that are not, of which nothing else is counted.
    pub(crate) not_finite: u64,
    /// The sum of the squares of what they were.
    pub(crate) squares: f64,
    /// The sum of the squares of what they are off.
    pub(crate) error_squares: f64,
    /// The most that one is off.
    pub(crate) max_error: f64,
}

impl Loss {
    fn row(&mut self, was: &[f32], is: &[f32]) {
        for (was, is) in was.iter().zip(is) {
            if !was.is_finite() {
                self.not_finite += 1;
                continue;
            }
            let (was, is) = (f64::from(*was), f64::from(*is));
            let off = was - is;
            self.count += 1;
            self.squares += was * was;
            // Beside a number that is not finite there may be none left.
            if off.is_finite() {
                self.error_squares += off * off;
                self.max_error = self.max_error.max(off.abs());
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.not_finite += other.not_finite;
        self.squares += other.squares;
        self.error_squares += other.error_squares;
        self.max_error = self.max_error.max(other.max_error);
    }
}

/// Takes the codes and the scales of a band.
type Write<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Some rows as they are stored, and what they lost.
struct Band {
    made: WeightView,
    loss: Loss,
}

/// Converts `view`, and gives `write` codes and scales of one band after the other. At most `threads` bands
/// are held at once, and they are the same for any number of threads.
pub(crate) fn convert(
    view: &WeightView,
    to: Format,
    threads: usize,
    write: &mut Write<'_>,
) -> Result<Loss> {
    let [rows, columns] = view.shape;
    // No tile belongs to two bands.
    let tall = match to {
        Format::Fp8 { tile, .. } => tile[0],
        _ => 1,
    };
    let band = (BAND_NUMBERS / columns / tall).max(1) * tall;
    let bands = (0..rows).step_by(band);
    let bands: Vec<_> = bands.map(|first| first..rows.min(first + band)).collect();
    let mut loss = Loss::default();
    for some in bands.chunks(threads.max(1)) {
        for band in together(view, to, some)? {
            write(&band.made.data, &band.made.scales)?;
            loss.add(band.loss);
        }
    }
    Ok(loss)
}

/// Bands side by side, the first on this thread.
fn together(view: &WeightView, to: Format, bands: &[Range<usize>]) -> Result<Vec<Band>> {
    let Some((first, others)) = bands.split_first() else {
        return Ok(Vec::new());
    };
    thread::scope(|scope| {
        let start = |rows: &Range<usize>| {
            let rows = rows.clone();
            let builder = thread::Builder::new().name("convert".to_owned());
            builder.spawn_scoped(scope, move || one(view, to, rows))
        };
        let running: Result<Vec<_>, _> = others.iter().map(start).collect();
        let running = running.map_err(|error| CoreError::NoThreads {
            device: "the conversion".to_owned(),
            count: bands.len(),
            why: error.to_string(),
        })?;
        let mut made = vec![one(view, to, first.clone())];
        for band in running {
            made.push(band.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        Ok(made)
    })
}

fn one(view: &WeightView, to: Format, rows: Range<usize>) -> Band {
    let columns = view.shape[1];
    let mut values = vec![0.0; rows.len() * columns];
    for (row, out) in rows.clone().zip(values.chunks_exact_mut(columns)) {
        decode_row(view, row, out);
    }
    let encoded = encode_rows(&values, columns, to);
    let made = WeightView {
        name: view.name.clone(),
        format: to,
        shape: [rows.len(), columns],
        data: Bytes::from(encoded.data),
        scales: Bytes::from(encoded.scales),
        tile_row: 0,
        stride: None,
    };
    let (mut loss, mut back) = (Loss::default(), vec![0.0; columns]);
    for (row, was) in values.chunks_exact(columns).enumerate() {
        decode_row(&made, row, &mut back);
        loss.row(was, &back);
    }
    Band { made, loss }
}

#[cfg(test)]
mod tests {
    use deepseek_core::ScaleFormat;

    use super::*;

    fn floats(shape: [usize; 2]) -> WeightView {
        let values = (0..shape[0] * shape[1]).map(|at| ((at * 7919) as f32 * 0.37).sin());
        WeightView {
            name: "w".to_owned(),
            format: Format::F32,
            shape,
            data: Bytes::from(values.flat_map(f32::to_le_bytes).collect::<Vec<_>>()),
            scales: Bytes::from(Vec::new()),
            tile_row: 0,
            stride: None,
        }
    }

    fn converted(view: &WeightView, to: Format, threads: usize) -> (Vec<u8>, Vec<u8>, Loss) {
        let (mut data, mut scales) = (Vec::new(), Vec::new());
        let loss = convert(view, to, threads, &mut |codes, own| {
            data.extend_from_slice(codes);
            scales.extend_from_slice(own);
            Ok(())
        });
        (data, scales, loss.expect("nothing refuses"))
    }

    #[test]
    fn bands_are_the_whole_for_any_number_of_threads() {
        // Two bands and a part of one, and of tiles a part of the last.
        let view = floats([2500, 1000]);
        let mut values = vec![0.0; 2500 * 1000];
        for (row, out) in values.chunks_exact_mut(1000).enumerate() {
            decode_row(&view, row, out);
        }
        let tile = [128, 128];
        let scale = ScaleFormat::E8m0;
        for to in [
            Format::Int8,
            Format::Int4 { group: 8 },
            Format::Fp8 { tile, scale },
        ] {
            let whole = encode_rows(&values, 1000, to);
            let alone = converted(&view, to, 1);
            assert_eq!((&alone.0, &alone.1), (&whole.data, &whole.scales), "{to}");
            assert_eq!(converted(&view, to, 3), alone, "{to}");
        }
    }

    #[test]
    fn what_is_lost_is_counted() {
        let mut values = vec![1.0_f32, 0.25, -127.0, 3.5, f32::NAN, 1.0, 1.0, 1.0];
        values.extend([2.0; 4]);
        let view = WeightView {
            shape: [3, 4],
            data: Bytes::from(
                values
                    .into_iter()
                    .flat_map(f32::to_le_bytes)
                    .collect::<Vec<_>>(),
            ),
            ..floats([0, 4])
        };
        let (_, scales, loss) = converted(&view, Format::Int8, 1);
        // In the first row the scale is 1, so a quarter is lost, and a half: 3.5 goes to 4. The second
        // holds no number any more, and the third is exact.
        let scale = |row| ScaleFormat::F32.decode(&scales, row);
        assert!(scale(0) == 1.0 && scale(1).is_nan());
        assert_eq!((loss.count, loss.not_finite), (11, 1));
        assert!(
            (loss.error_squares - (0.0625 + 0.25)).abs() < 1e-12,
            "{loss:?}"
        );
        assert_eq!(loss.max_error, 0.5);
        let squares = 1.0 + 0.0625 + 127.0 * 127.0 + 12.25 + 3.0 + 16.0;
        assert_eq!(loss.squares, squares);
    }
}
