//! Bicubic resizing as Pillow does it, bit for bit.
//!
//! The published loader uses that library, and one step of 255 in a pixel moves a feature by more
//! than the arithmetic of the tower does. So its fixed-point sums are repeated here: the cubic
//! with `a = -0.5`, widened where an image shrinks, weights of 22 fractional bits, one side after
//! the other, each pass rounded to 8 bits.
//!
//! Because each pass rounds, their order shows. Releases up to 12.1 resize rows first; release 13,
//! which is followed here, begins with the columns of images that lose far more height than width.

use std::borrow::Cow;

/// Fractional bits of a weight: 32 less 8 of the sample and 2 against overflow.
const FRACTION: u32 = 22;
/// Source pixels on either side of the centre that a pixel of the same scale is made of.
const SUPPORT: f64 = 2.0;
/// Red, green and blue.
const CHANNELS: usize = 3;

/// Resizes `rgb: [height, width, 3]` to `[rows, columns, 3]`. Sizes are columns, then rows.
///
/// # Panics
/// If a side is zero, or `rgb` holds another number of samples.
#[must_use]
pub fn bicubic(
    rgb: &[u8],
    [width, height]: [usize; 2],
    [columns, rows]: [usize; 2],
) -> Cow<'_, [u8]> {
    assert_eq!(rgb.len(), width * height * CHANNELS, "{width}x{height}");
    assert!(width * height * columns * rows > 0, "a side of no pixels");
    if is_down_first([width, height], [columns, rows]) {
        across(down(rgb.into(), width, [height, rows]), [width, columns])
    } else {
        down(
            across(rgb.into(), [width, columns]),
            columns,
            [height, rows],
        )
    }
}

/// Which pass comes first: the one choice in which releases of Pillow differ.
fn is_down_first([width, height]: [usize; 2], [columns, rows]: [usize; 2]) -> bool {
    let lost = |from: usize, to: usize| from as i64 - to as i64;
    lost(height, rows) > 0.max(2 * lost(width, columns))
}

/// The source pixels of one pixel, and their weights.
struct Span {
    first: usize,
    weights: Vec<i32>,
}

/// Resizes rows of `width` pixels to `columns`.
fn across(rgb: Cow<'_, [u8]>, [width, columns]: [usize; 2]) -> Cow<'_, [u8]> {
    if columns == width {
        return rgb;
    }
    let spans = spans(width, columns);
    let mut out = Vec::with_capacity(rgb.len() / width * spans.len());
    for row in rgb.chunks_exact(width * CHANNELS) {
        for span in &spans {
            let mut sums = [HALF; CHANNELS];
            let pixels = row[span.first * CHANNELS..].chunks_exact(CHANNELS);
            for (weight, pixel) in span.weights.iter().zip(pixels) {
                for (sum, sample) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(*sample);
                }
            }
            out.extend(sums.map(sample));
        }
    }
    out.into()
}

/// Resizes columns of `height` pixels to `rows`; there are `width` of them.
fn down(rgb: Cow<'_, [u8]>, width: usize, [height, rows]: [usize; 2]) -> Cow<'_, [u8]> {
    if rows == height {
        return rgb;
    }
    let spans = spans(height, rows);
    let row_bytes = width * CHANNELS;
    let mut out = Vec::with_capacity(spans.len() * row_bytes);
    let mut sums = vec![0; row_bytes];
    for span in spans {
        sums.fill(HALF);
        let rows = rgb[span.first * row_bytes..].chunks_exact(row_bytes);
        for (weight, row) in span.weights.iter().zip(rows) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(*sample);
            }
        }
        out.extend(sums.iter().copied().map(sample));
    }
    out.into()
}

/// What a sum begins with, so that cutting its fraction off rounds.
const HALF: i32 = 1 << (FRACTION - 1);

/// The sample of a sum: the cubic overshoots on both sides.
fn sample(sum: i32) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}

/// What each of `to` pixels is made of, out of `from`.
fn spans(from: usize, to: usize) -> Vec<Span> {
    let scale = from as f64 / to as f64;
    let widened = scale.max(1.0);
    let reach = SUPPORT * widened;
    (0..to)
        .map(|pixel| {
            let centre = (pixel as f64 + 0.5) * scale;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|at| cubic((at as f64 - centre + 0.5) * (1.0 / widened)))
                .collect();
            let total: f64 = weights.iter().sum();
            let fixed = |weight: &f64| {
                let scaled = weight / total * f64::from(1 << FRACTION);
                (scaled + 0.5_f64.copysign(scaled)) as i32
            };
            let weights = weights.iter().map(fixed).collect();
            Span { first, weights }
        })
        .collect()
}

/// Keys' cubic with `a = -0.5`.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < SUPPORT {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
