//! What the frames of an animated image are drawn on, one over the other.

/// Pixels in four channels. One that nothing was drawn on has no opacity, and a colour all the same:
/// in the end opacity is dropped, not blended (`docs/models/deepseek-v41.md` §4.2).
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    width: usize,
    pixels: Vec<[u8; 4]>,
    /// What happens to the last frame before the next one is drawn.
    due: Option<(Region, Disposal)>,
    /// What was there before a frame that is taken back.
    saved: Vec<[u8; 4]>,
}

/// A part of a screen, or of what lies around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// What is left of a frame when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposal {
    /// All of it.
    Keep,
    /// Nothing, as if nothing had ever been drawn where it was.
    Clear,
    /// What was there before.
    Restore,
}

/// How a frame is laid over what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blend {
    /// In its place.
    Replace,
    /// By its opacity.
    Over,
}

impl Screen {
    /// A screen on which nothing is drawn, in a colour.
    pub(crate) fn new(width: usize, height: usize, [red, green, blue]: [u8; 3]) -> Self {
        Self {
            width,
            pixels: vec![[red, green, blue, 0]; width * height],
            due: None,
            saved: Vec::new(),
        }
    }

    /// Draws a frame's rows of pixels; what lies beyond the screen is cut off.
    pub(crate) fn draw<'a>(
        &mut self,
        region: Region,
        rows: impl Iterator<Item = &'a [[u8; 4]]>,
        blend: Blend,
        disposal: Disposal,
    ) {
        match self.due.take() {
            None | Some((_, Disposal::Keep)) => {}
            Some((region, Disposal::Clear)) => {
                for row in rows_of(&mut self.pixels, self.width, region) {
                    row.fill([0; 4]);
                }
            }
            Some((_, Disposal::Restore)) => std::mem::swap(&mut self.pixels, &mut self.saved),
        }
        if disposal == Disposal::Restore {
            self.saved.clone_from(&self.pixels);
        }
        for (to, from) in rows_of(&mut self.pixels, self.width, region).zip(rows) {
            match blend {
                Blend::Replace => {
                    let width = to.len().min(from.len());
                    to[..width].copy_from_slice(&from[..width]);
                }
                Blend::Over => {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = over(*to, *from);
                    }
                }
            }
        }
        self.due = Some((region, disposal));
    }

    /// What is seen: red, green and blue for each pixel.
    pub(crate) fn rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(self.pixels.len() * 3);
        for [red, green, blue, _] in &self.pixels {
            rgb.extend([red, green, blue]);
        }
        rgb
    }
}

/// The parts of the rows that a region covers.
fn rows_of(
    pixels: &mut [[u8; 4]],
    width: usize,
    region: Region,
) -> impl Iterator<Item = &mut [[u8; 4]]> {
    let start = region.left.min(width);
    let end = region.left.saturating_add(region.width).min(width);
    let rows = pixels.chunks_exact_mut(width);
    let rows = rows.skip(region.top).take(region.height);
    rows.map(move |row| &mut row[start..end])
}

/// A pixel laid over another by its opacity. Over nothing it stays as it is.
fn over(below: [u8; 4], above: [u8; 4]) -> [u8; 4] {
    match (above[3], below[3]) {
        (255, _) | (_, 0) => above,
        (0, _) => below,
        (front, back) => {
            // All in 255ths of 255ths.
            let front = u32::from(front) * 255;
            let back = u32::from(back) * (255 - front / 255);
            let both = front + back;
            let mix = |index: usize| {
                let sum = u32::from(above[index]) * front + u32::from(below[index]) * back;
                ((sum + both / 2) / both) as u8
            };
            [mix(0), mix(1), mix(2), ((both + 127) / 255) as u8]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Region = Region {
        left: 0,
        top: 0,
        width: 3,
        height: 2,
    };
    const CORNER: Region = Region {
        left: 2,
        top: 1,
        width: 2,
        height: 2,
    };

    /// A frame of one colour.
    fn draw(screen: &mut Screen, region: Region, pixel: [u8; 4], disposal: Disposal) -> Vec<u8> {
        let pixels = vec![pixel; region.width * region.height];
        let rows = pixels.chunks(region.width);
        screen.draw(region, rows, Blend::Over, disposal);
        // The reds tell all.
        screen.rgb().into_iter().step_by(3).collect()
    }

    #[test]
    fn frames_are_kept_cleared_or_taken_back() {
        let mut screen = Screen::new(3, 2, [9; 3]);
        assert_eq!(screen.rgb(), [9; 18]);
        let mut draw =
            |region, red, disposal| draw(&mut screen, region, [red, 0, 0, 255], disposal);
        assert_eq!(draw(WHOLE, 1, Disposal::Keep), [1; 6]);
        assert_eq!(draw(CORNER, 2, Disposal::Restore), [1, 1, 1, 1, 1, 2]);
        assert_eq!(draw(CORNER, 3, Disposal::Clear), [1, 1, 1, 1, 1, 3]);
        let small = Region {
            width: 1,
            height: 1,
            ..WHOLE
        };
        assert_eq!(draw(small, 4, Disposal::Keep), [4, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn opacity_decides_over_what_was_drawn_and_not_over_nothing() {
        let mut screen = Screen::new(3, 2, [9; 3]);
        let mut draw = |pixel| draw(&mut screen, WHOLE, pixel, Disposal::Keep);
        assert_eq!(draw([50, 0, 0, 0]), [50; 6]);
        assert_eq!(draw([60, 0, 0, 102]), [60; 6]);
        // (200 · 191 · 255 + 60 · 102 · 64) / (191 · 255 + 102 · 64) = 183.45.
        assert_eq!(over([60, 0, 0, 102], [200, 0, 0, 191]), [183, 0, 0, 217]);
        assert_eq!(draw([0, 0, 0, 0]), [60; 6]);
        assert_eq!(draw([7, 0, 0, 255]), [7; 6]);
    }
}
