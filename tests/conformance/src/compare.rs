//! Comparing whole tensors, with the worst element told.

/// Asserts that two tensors differ by at most `tolerance` everywhere; NaN equals NaN.
///
/// # Panics
/// With the worst element, its index and both values.
#[track_caller]
pub fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    let mut worst = (0.0, 0);
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got == want || (got.is_nan() && want.is_nan());
        let gap = if same { 0.0 } else { (got - want).abs() };
        if gap > worst.0 || gap.is_nan() {
            worst = (gap, index);
            if gap.is_nan() {
                break;
            }
        }
    }
    let (gap, index) = worst;
    assert!(
        gap <= tolerance,
        "{what}: element {index} is {} instead of {}, {gap} apart",
        got[index],
        want[index]
    );
}

/// Asserts that two tensors agree within `tolerance` of the largest magnitude of `want`.
///
/// # Panics
/// With the worst element, its index and both values.
#[track_caller]
pub fn relative(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    let largest = want
        .iter()
        .fold(1e-30_f32, |largest, x| largest.max(x.abs()));
    close(what, got, want, tolerance * largest);
}

/// Asserts that two tensors are the same bits.
///
/// # Panics
/// With the first element that is not.
#[track_caller]
pub fn same_bits(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(
            got.to_bits(),
            want.to_bits(),
            "{what}: element {index}: {got} and {want}"
        );
    }
}

/// The root of the mean square by which two tensors differ.
#[must_use]
pub fn root_mean_square(a: &[f32], b: &[f32]) -> f32 {
    let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (sum / a.len() as f32).sqrt()
}
