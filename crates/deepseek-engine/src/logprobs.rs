//! How likely an id was.

use deepseek_model::TokenId;

/// How likely an id was, and which were the most likely in its place: natural logarithms of the
/// probabilities that the model's logits say, before penalties, temperature and all else that chooses.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Of the id that was drawn.
    pub drawn: f32,
    /// Of the most likely ids, falling; of two alike the lower id first.
    pub top: Vec<(TokenId, f32)>,
}

impl Logprobs {
    /// Reads a row `[vocabulary]` from which `id` was drawn, and names `count` of the most likely.
    pub(crate) fn of(logits: &[f32], id: TokenId, count: usize) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
        let log = |x: f32| (f64::from(x - max) - sum.ln()) as f32;
        let mut top: Vec<(TokenId, f32)> = (0..).zip(logits.iter().copied()).collect();
        let falling =
            |a: &(TokenId, f32), b: &(TokenId, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if count < top.len() {
            top.select_nth_unstable_by(count, falling);
            top.truncate(count);
        }
        top.sort_unstable_by(falling);
        top.retain(|(_, x)| *x > f32::NEG_INFINITY);
        for (_, x) in &mut top {
            *x = log(*x);
        }
        Self {
            drawn: log(logits[id as usize]),
            top,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_fall() {
        let logits = [1.0, 3.0, f32::NEG_INFINITY, 3.0, -2.0];
        let all = Logprobs::of(&logits, 4, 9);
        let ids: Vec<TokenId> = all.top.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 3, 0, 4]);
        let sum: f32 = all.top.iter().map(|(_, log)| log.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{all:?}");
        assert_eq!(all.drawn, all.top[3].1);
        // A logit of 2 more is a probability e^2 times as large.
        assert!((all.top[0].1 - all.top[2].1 - 2.0).abs() < 1e-6, "{all:?}");
        let two = Logprobs::of(&logits, 4, 2);
        assert_eq!((two.top.as_slice(), two.drawn), (&all.top[..2], all.drawn));
        assert!(Logprobs::of(&logits, 0, 0).top.is_empty());
    }
}
