//! The byte alphabet of byte-level BPE: each byte is written as one character.
//!
//! Bytes that print stand for themselves; the others are, in order, the characters from U+0100.

/// The bytes that stand for themselves: visible ASCII and Latin-1 without its soft hyphen.
fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character that writes each byte, by byte.
pub(super) fn letters() -> [char; 256] {
    let mut others = '\u{100}'..;
    std::array::from_fn(|index| match u8::try_from(index) {
        Ok(byte) if prints(byte) => char::from(byte),
        _ => others.next().unwrap_or(char::REPLACEMENT_CHARACTER),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_letter_of_its_own() {
        let letters = letters();
        let distinct: std::collections::HashSet<char> = letters.iter().copied().collect();
        assert_eq!(distinct.len(), 256);
        let known = [
            (b' ', 'Ġ'),
            (b'\n', 'Ċ'),
            (b'A', 'A'),
            (0xC3, 'Ã'),
            (0xAD, 'Ń'),
        ];
        for (byte, letter) in known {
            assert_eq!(
                letters.get(usize::from(byte)),
                Some(&letter),
                "byte {byte:#04x}"
            );
        }
    }
}
