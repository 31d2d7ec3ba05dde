//! From luma and chroma to colours.

/// The numbers of a conversion.
pub(super) struct Matrix {
    black: f32,
    luma: f32,
    /// What red and green have of red's chroma, green and blue of blue's.
    red: [f32; 2],
    blue: [f32; 2],
}

impl Matrix {
    /// Of BT.709, or else of BT.601, which is what videos mean that say nothing.
    pub(super) fn new(is_full_range: bool, is_bt709: bool) -> Self {
        let (black, luma, chroma) = if is_full_range {
            (0.0, 1.0, 1.0)
        } else {
            (16.0, 255.0 / 219.0, 255.0 / 224.0)
        };
        // The shares of red and blue in what is bright.
        let [red, blue] = if is_bt709 {
            [0.2126, 0.0722]
        } else {
            [0.299, 0.114]
        };
        let green = 1.0 - red - blue;
        let [to_red, to_blue] = [red, blue].map(|share: f32| 2.0 * (1.0 - share) * chroma);
        Self {
            black,
            luma,
            red: [to_red, -to_red * red / green],
            blue: [-to_blue * blue / green, to_blue],
        }
    }

    pub(super) fn rgb(&self, y: u8, cb: u8, cr: u8) -> [u8; 3] {
        let y = (f32::from(y) - self.black) * self.luma;
        let [cb, cr] = [cb, cr].map(|sample| f32::from(sample) - 128.0);
        let red = y + self.red[0] * cr;
        let green = y + self.red[1] * cr + self.blue[0] * cb;
        let blue = y + self.blue[1] * cb;
        [red, green, blue].map(|value| value.round().clamp(0.0, 255.0) as u8)
    }
}
