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

/// The half nearest to `x`, ties to even; infinite beyond the largest. NaN becomes NaN.
#[must_use]
#[inline]
pub fn encode(x: f32) -> u16 {
    let sign = ((x.to_bits() >> 16) & 0x8000) as u16;
    let magnitude = x.abs();
    if magnitude.is_nan() {
        return sign | 0x7e00;
    }
    // Below 2^-14 halves are multiples of 2^-24, and adding 0.5 leaves exactly those bits. From
    // 65520 on, which is half a step beyond the largest half, all are infinite.
    let half = if magnitude < f32::from_bits(113 << 23) {
        (magnitude + 0.5).to_bits() - 0.5_f32.to_bits()
    } else if magnitude < 65_520.0 {
        let bits = magnitude.to_bits();
        ((bits + 0x0fff + ((bits >> 13) & 1)) >> 13) - (112 << 10)
    } else {
        0x7c00
    };
    sign | half as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_a_round_trip() {
        for bits in 0..=u16::MAX {
            let back = encode(decode(bits));
            let same = back == bits || decode(bits).is_nan() && decode(back).is_nan();
            assert!(same, "{bits:#06x} comes back as {back:#06x}");
        }
    }

    #[test]
    fn numbers_between_two_halves_go_to_the_nearer_and_ties_to_the_even() {
        for bits in 0..0x7c00_u16 {
            // Beyond the largest half the next would be 65536.
            let high = match bits + 1 {
                0x7c00 => 65_536.0,
                next => decode(next),
            };
            let middle = decode(bits).midpoint(high);
            let even = if bits % 2 == 0 { bits } else { bits + 1 };
            assert_eq!(encode(middle), even, "{middle}");
            assert_eq!(encode(middle.next_down()), bits);
            assert_eq!(encode(middle.next_up()), bits + 1);
            assert_eq!(encode(-middle.next_up()), 0x8000 | (bits + 1));
        }
        assert_eq!(encode(f32::INFINITY), 0x7c00);
        assert_eq!(encode(f32::MIN), 0xfc00);
    }

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
