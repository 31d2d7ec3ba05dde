//! E2M1: sign, two exponent bits, one mantissa bit. Codes 0 to 7 are 0, 0.5, 1, 1.5, 2, 3, 4, 6.

/// The largest value.
pub const MAX: f32 = 6.0;

/// The value of a code, from its low four bits.
#[must_use]
#[inline]
pub fn decode(code: u8) -> f32 {
    // By arithmetic rather than a table, which vectors have no use for.
    let magnitude = u32::from(code & 7);
    let sign = u32::from(code & 8) << 28;
    // A code without exponent has no leading one: 0 or 0.5 is what is left above 1.
    let subnormal = f32::from_bits((magnitude << 22) + (127 << 23)) - 1.0;
    let normal = f32::from_bits((magnitude << 22) + (126 << 23));
    let value = if magnitude < 2 { subnormal } else { normal };
    f32::from_bits(value.to_bits() | sign)
}

/// The code nearest to `x`, ties to the even code; `x` must be within ±[`MAX`].
#[must_use]
#[inline]
pub fn encode(x: f32) -> u8 {
    let magnitude = x.abs();
    // Midpoints between neighbours; one that goes up on a tie stands with `>=`.
    let code = u8::from(magnitude > 0.25)
        + u8::from(magnitude >= 0.75)
        + u8::from(magnitude > 1.25)
        + u8::from(magnitude >= 1.75)
        + u8::from(magnitude > 2.5)
        + u8::from(magnitude >= 3.5)
        + u8::from(magnitude > 5.0);
    code | if x.is_sign_negative() { 8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_value_and_survives_a_round_trip() {
        let values = [0.0_f32, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        for (code, value) in (0..16).zip([values, values.map(|x| -x)].as_flattened()) {
            assert_eq!(decode(code).to_bits(), value.to_bits());
            assert_eq!(decode(0xf0 | code).to_bits(), value.to_bits());
            assert_eq!(encode(*value), code);
        }
    }

    #[test]
    fn ties_go_to_the_even_code() {
        for code in 0..7 {
            let middle = (decode(code) + decode(code + 1)) / 2.0;
            assert_eq!(
                encode(middle),
                if code % 2 == 0 { code } else { code + 1 },
                "{middle}"
            );
        }
    }
}
