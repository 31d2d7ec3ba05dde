//! E2M1: sign, two exponent bits, one mantissa bit. Codes 0 to 7 are 0, 0.5, 1, 1.5, 2, 3, 4, 6.

/// The largest value.
pub const MAX: f32 = 6.0;

/// The value of a code, from its low four bits.
#[must_use]
#[inline]
pub fn decode(code: u8) -> f32 {
    const VALUES: [f32; 16] = [
        0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
    ];
    VALUES[usize::from(code & 15)]
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
    fn every_code_survives_a_round_trip() {
        for code in 0..16 {
            assert_eq!(encode(decode(code)), code);
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
