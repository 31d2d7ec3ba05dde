//! Bytes of files that lie.

/// A PNG chunk, its checksum right.
pub(crate) fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&name[..], data].concat();
    let crc = body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    });
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &body, &(!crc).to_be_bytes()].concat()
}

/// `bytes` with other ones at `at`.
pub(crate) fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..][..other.len()].copy_from_slice(other);
    bytes
}

/// Where the `nth` such bytes begin.
pub(crate) fn find(bytes: &[u8], what: &[u8], nth: usize) -> usize {
    let found = bytes.windows(what.len()).enumerate();
    let mut found = found.filter(|(_, part)| *part == what);
    found.nth(nth).expect("it is there").0
}
