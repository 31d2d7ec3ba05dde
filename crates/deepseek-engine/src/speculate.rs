//! Several ids of one sequence in one step, and none that would not have come anyway.
//!
//! The draft head proposes ids; the sequence's last id and the proposed ones run as one span, with
//! the logits after each. The sampler then draws from the rows in turn, at the positions and with
//! the history that it would have had without drafts. As long as the id it draws is the one that
//! was proposed, the next row is the right one to draw from; the first that differs is still drawn
//! rightly, and whatever was proposed after it is taken back.

use deepseek_model::{Decoder, DraftAsk, Result, TokenId};

/// Has ids proposed for each of the asks, in one batch: for each as many as it asks for, or fewer.
pub(crate) fn propose(decoder: &mut dyn Decoder, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>> {
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let drafted = decoder.draft(asks)?;
    let counts: Vec<_> = drafted.iter().map(Vec::len).collect();
    let fits = |(ask, count): (&DraftAsk, &usize)| *count <= ask.max as usize;
    assert!(
        counts.len() == asks.len() && asks.iter().zip(&counts).all(fits),
        "{counts:?} drafts for {asks:?}"
    );
    Ok(drafted)
}

/// Draws from the rows for as long as each id drawn is the one that was drafted for its place, and
/// says how many were. `draw` answers nothing when the sequence has ended.
pub(crate) fn verify<'a>(
    rows: impl ExactSizeIterator<Item = &'a [f32]>,
    drafted: &[TokenId],
    mut draw: impl FnMut(&'a [f32]) -> Option<TokenId>,
) -> u32 {
    assert!(
        rows.len() <= drafted.len() + 1,
        "{} rows, {} drafts",
        rows.len(),
        drafted.len()
    );
    let mut accepted = 0;
    for (index, row) in rows.enumerate() {
        let id = draw(row);
        if id.is_none() || id != drafted.get(index).copied() {
            break;
        }
        accepted += 1;
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws the ids in turn, `None` being the end; returns how many were accepted and drawn.
    fn check(drawn: &[Option<TokenId>], drafted: &[TokenId]) -> (u32, usize) {
        let row: &[f32] = &[0.0];
        let rows = vec![row; drafted.len() + 1];
        let mut draws = 0;
        let accepted = verify(rows.into_iter(), drafted, |_| {
            draws += 1;
            drawn[draws - 1]
        });
        (accepted, draws)
    }

    #[test]
    fn the_first_id_that_differs_is_the_last_drawn() {
        assert_eq!(check(&[Some(7)], &[]), (0, 1));
        assert_eq!(check(&[Some(1), Some(2), Some(3)], &[1, 2]), (2, 3));
        assert_eq!(check(&[Some(1), Some(9)], &[1, 2]), (1, 2));
        assert_eq!(check(&[Some(9)], &[1, 2]), (0, 1));
    }

    #[test]
    fn nothing_is_drawn_after_the_end() {
        assert_eq!(check(&[Some(1), None], &[1, 2]), (1, 2));
        assert_eq!(check(&[None], &[1, 2]), (0, 1));
    }
}
