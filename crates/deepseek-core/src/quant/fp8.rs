//! E4M3, the finite variant: sign, four exponent bits with bias 7, three mantissa bits, largest
//! value 448, NaN at 0x7f and 0xff.

/// The largest finite value.
pub const MAX: f32 = 448.0;

/// The value of a code.
#[must_use]
#[inline]
pub fn decode(code: u8) -> f32 {
    let magnitude = u32::from(code & 0x7f);
    let sign = u32::from(code & 0x80) << 24;
    // The bits of a 32-bit float with exponent bias 127 in place of 7. A subnormal code has no
    // leading one, which the same trick one binade up brings in and the subtraction takes out.
    let value = if magnitude >= 0x7f {
        f32::NAN
    } else if magnitude >= 8 {
        f32::from_bits((magnitude << 20) + (120 << 23))
    } else {
        f32::from_bits((magnitude << 20) + (121 << 23)) - 0.015_625
    };
    f32::from_bits(value.to_bits() | sign)
}

/// The code nearest to `x`, ties to even; `x` must be within ±[`MAX`]. NaN becomes NaN.
#[must_use]
#[inline]
pub fn encode(x: f32) -> u8 {
    let sign = ((x.to_bits() >> 24) & 0x80) as u8;
    let magnitude = x.abs();
    if magnitude.is_nan() {
        return sign | 0x7f;
    }
    // Below 2^-6 codes are multiples of 2^-9, and adding 2^14 leaves exactly those bits.
    let code = if magnitude < 0.015_625 {
        (magnitude + 16_384.0).to_bits() - 16_384.0_f32.to_bits()
    } else {
        let bits = magnitude.to_bits();
        ((bits + 0x0007_ffff + ((bits >> 20) & 1)) >> 20) - (120 << 3)
    };
    sign | code as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in (0..=255u8).filter(|code| code & 0x7f != 0x7f) {
            assert_eq!(
                encode(decode(code)),
                code,
                "code {code:#x} is {}",
                decode(code)
            );
        }
        assert!(decode(0x7f).is_nan() && decode(0xff).is_nan() && encode(f32::NAN) == 0x7f);
        assert_eq!(
            (decode(0x7e), decode(0x01), decode(0x08)),
            (448.0, 0.001_953_125, 0.015_625)
        );
    }

    #[test]
    fn numbers_between_two_codes_go_to_the_nearer_and_ties_to_the_even() {
        for code in 0..0x7eu8 {
            let (low, high) = (decode(code), decode(code + 1));
            let middle = (low + high) / 2.0;
            let even = if code % 2 == 0 { code } else { code + 1 };
            assert_eq!(encode(middle), even, "between {low} and {high}");
            assert_eq!(encode(middle.next_down()), code);
            assert_eq!(encode(middle.next_up()), code + 1);
            assert_eq!(encode(-middle.next_up()), 0x80 | (code + 1));
        }
    }
}
