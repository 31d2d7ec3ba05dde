//! How many were right, and between which bounds the truth lies.

/// Items of a task that were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Score {
    /// All of them.
    pub(crate) items: u32,
    /// Those answered as wanted.
    pub(crate) right: u32,
}

/// The quantile of the normal distribution that leaves 2.5 % on either side.
const Z: f64 = 1.959_963_984_540_054;

impl Score {
    /// Takes in one more item.
    pub(crate) fn add(&mut self, right: bool) {
        self.items += 1;
        self.right += u32::from(right);
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            right: self.right + other.right,
        }
    }

    /// The share of right answers, from 0 to 1; 0 of nothing.
    pub(crate) fn accuracy(self) -> f64 {
        f64::from(self.right) / f64::from(self.items.max(1))
    }

    /// Wilson's interval: with 95 % confidence the accuracy over all items of the kind lies in it.
    /// Unlike the normal one it stays between 0 and 1, and does not shrink to a point where all
    /// items are right. Of nothing, anything.
    pub(crate) fn interval(self) -> [f64; 2] {
        if self.items == 0 {
            return [0.0, 1.0];
        }
        let (n, p) = (f64::from(self.items), self.accuracy());
        let share = 1.0 + Z * Z / n;
        let centre = (p + Z * Z / (2.0 * n)) / share;
        let half = Z / share * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        [(centre - half).max(0.0), (centre + half).min(1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(right: u32, items: u32, want: [f64; 2]) {
        let score = Score { items, right };
        for (got, want) in score.interval().into_iter().zip(want) {
            assert!((got - want).abs() < 5e-5, "{score:?}: {got} for {want}");
        }
    }

    /// Those of Newcombe (1998), method 3, and one more.
    #[test]
    fn intervals_are_the_published_ones() {
        check(5, 10, [0.2366, 0.7634]);
        check(81, 263, [0.2553, 0.3662]);
        check(15, 148, [0.0624, 0.1605]);
        check(1, 29, [0.0061, 0.1718]);
    }

    #[test]
    fn intervals_stay_open_where_all_are_right_or_none_is() {
        check(20, 20, [0.8389, 1.0]);
        check(0, 20, [0.0, 0.1611]);
        check(0, 0, [0.0, 1.0]);
    }

    #[test]
    fn scores_add_up() {
        let mut score = Score::default();
        assert_eq!(score.accuracy(), 0.0);
        for right in [true, false, true, true] {
            score.add(right);
        }
        assert_eq!(score.accuracy(), 0.75);
        assert_eq!(score.plus(score), Score { items: 8, right: 6 });
    }
}
