//! A TIFF that a decoder does not survive.

/// Pixels of one grey in tiles of one channel each, of which the last stick out of the image.
pub(crate) fn tiled_planar() -> Vec<u8> {
    let (side, tile, tiles) = (40_u32, 16_u32, 3 * 9_u32);
    let aside = 8 + 2 + 12 * 12 + 4;
    let places = aside + 6;
    let entries = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 3, aside),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (277, 3, 1, 3),
        (284, 3, 1, 2),
        (322, 3, 1, tile),
        (323, 3, 1, tile),
        (324, 4, tiles, places),
        (325, 4, tiles, places + 4 * tiles),
        (339, 3, 1, 1),
    ];
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([u16::to_le_bytes(tag), u16::to_le_bytes(kind)].concat());
        bytes.extend([u32::to_le_bytes(count), u32::to_le_bytes(value)].concat());
    }
    bytes.extend([0; 4]);
    bytes.extend([8, 0, 8, 0, 8, 0]);
    let (data, each) = (places + 8 * tiles, tile * tile);
    bytes.extend((0..tiles).flat_map(|tile| (data + each * tile).to_le_bytes()));
    bytes.extend((0..tiles).flat_map(|_| each.to_le_bytes()));
    bytes.extend(vec![7; (each * tiles) as usize]);
    bytes
}
