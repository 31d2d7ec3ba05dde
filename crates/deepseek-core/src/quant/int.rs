//! Signed integers of eight and of four bits, symmetric around zero. Encoders make no code below minus
//! the largest; decoders take -128 and -8 for what they are.

/// The largest code of eight bits.
pub const MAX: f32 = 127.0;
/// The largest code of four bits.
pub const MAX4: f32 = 7.0;

/// `1.5 * 2^23`: what is added to it loses its fraction, to nearest, ties to even.
const WHOLE: f32 = 12_582_912.0;

/// The integer nearest to `x`, ties to even; `x` must be within 2^22 of zero. NaN stays NaN, and a zero
/// is positive.
#[must_use]
#[inline]
pub fn nearest(x: f32) -> f32 {
    // By arithmetic rather than `round_ties_even`, which is a call where there is no instruction for it.
    (x + WHOLE) - WHOLE
}

/// The value of a code of eight bits.
#[must_use]
#[inline]
pub fn decode(code: u8) -> f32 {
    f32::from(code.cast_signed())
}

/// The value of a code of four bits, from the low half of a byte.
#[must_use]
#[inline]
pub fn decode4(code: u8) -> f32 {
    f32::from((code << 4).cast_signed() >> 4)
}

/// The code nearest to `x`, ties to even; `x` must be within what a byte holds. NaN becomes 0. The low
/// half of it is the code of four bits, where `x` is within ±[`MAX4`].
#[must_use]
#[inline]
pub fn encode(x: f32) -> u8 {
    (nearest(x) as i8).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in 0..=255_u8 {
            assert_eq!(encode(decode(code)), code, "{code:#x}");
            assert_eq!(decode(code), f32::from(i8::from_le_bytes([code])));
        }
        for code in 0..16_u8 {
            let value = decode4(0xf0 | code);
            assert_eq!(value, f32::from(code) - if code < 8 { 0.0 } else { 16.0 });
            assert_eq!(encode(value) & 0xf, code, "{value}");
        }
    }

    #[test]
    fn numbers_between_two_codes_go_to_the_nearer_and_ties_to_the_even() {
        for low in -127..127_i8 {
            let middle = f32::from(low) + 0.5;
            let even = f32::from(if low % 2 == 0 { low } else { low + 1 });
            assert_eq!(nearest(middle), even, "{middle}");
            assert_eq!(nearest(middle.next_down()), f32::from(low));
            assert_eq!(nearest(middle.next_up()), f32::from(low) + 1.0);
        }
        assert!(nearest(f32::NAN).is_nan() && encode(f32::NAN) == 0);
        assert!(nearest(-0.3).is_sign_positive());
    }
}
