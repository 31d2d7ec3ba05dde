//! Exponent bytes: `b` means `2^(b - 127)`, 255 is NaN.

/// The value of a scale byte.
#[must_use]
#[inline]
pub fn decode(byte: u8) -> f32 {
    match byte {
        // 2^-127 is subnormal in 32 bits.
        0 => f32::from_bits(0x0040_0000),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(byte) << 23),
    }
}

/// The scale byte of a positive power of two within range.
///
/// # Panics
/// In debug builds, if the number is no power of two.
#[must_use]
#[inline]
pub fn encode(scale: f32) -> u8 {
    let bits = scale.to_bits();
    debug_assert!(
        bits & 0x007f_ffff == 0 || bits == 0x0040_0000,
        "{scale} is a power of two"
    );
    (bits >> 23) as u8
}

/// The smallest power of two that is at least `x`, from the bits of a positive normal number.
#[must_use]
#[inline]
pub fn ceil_pow2(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x007f_ffff) & 0xff80_0000)
}
