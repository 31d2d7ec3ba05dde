//! Half-precision floats: sign, five exponent bits with bias 15, ten mantissa bits; exponent 31 is
//! infinite or NaN.

/// The value of a half, exactly.
#[must_use]
#[inline]
pub fn decode(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff);
    let sign = u32::from(bits & 0x8000) << 16;
    // The bits of a 32-bit float with exponent bias 127 in place of 15. A subnormal half has no
    // leading one, which the same trick one binade up brings in and the subtraction takes out.
    let value = if magnitude >= 0x7c00 {
        f32::from_bits((magnitude << 13) | 0x7f80_0000)
    } else if magnitude >= 0x0400 {
        f32::from_bits((magnitude << 13) + (112 << 23))
    } else {
        f32::from_bits((magnitude << 13) + (113 << 23)) - f32::from_bits(113 << 23)
    };
    f32::from_bits(value.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_its_own_value() {
        for bits in 0..=u16::MAX {
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
            let magnitude = match exponent {
                0 => mantissa * 2_f64.powi(-24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + mantissa) * 2_f64.powi(exponent - 25),
            };
            let value = f64::from(decode(bits));
            assert_eq!(value.is_sign_negative(), bits >> 15 == 1, "{bits:#06x}");
            let same = value.abs() == magnitude || value.is_nan() && magnitude.is_nan();
            assert!(same, "{bits:#06x}: {value} for {magnitude}");
        }
    }
}
