//! Who gets how much of the next step.

/// Where one sequence stands before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// So many tokens of its prompt are still to be run, at least one.
    Prefill { pending: u32 },
    /// It goes on from its last id, and could make use of so many drafted ones.
    Decode { drafts: u32 },
    /// Its reader is slow.
    Paused,
}

/// One sequence's share of a step: `tokens` of its own and up to `drafts` drafted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Which of the standings.
    pub(crate) index: usize,
    pub(crate) tokens: u32,
    pub(crate) drafts: u32,
}

/// Shares out `step_tokens`, which are no fewer than the sequences: `standings` has the oldest first.
///
/// Every sequence that decodes gets its token. The prompts get what is left, the oldest as much as
/// it can use; as each of them is one sequence that does not decode, at least one token is left for
/// the oldest. So neither side can starve the other. Drafts get what the prompts do not need.
pub(crate) fn schedule(standings: &[Standing], step_tokens: u32) -> Vec<Grant> {
    let mut grants = Vec::with_capacity(standings.len());
    let mut left = step_tokens;
    for (index, standing) in standings.iter().enumerate() {
        if let Standing::Decode { .. } = standing {
            left -= 1;
            grants.push(Grant {
                index,
                tokens: 1,
                drafts: 0,
            });
        }
    }
    let decoding = grants.len();
    for (index, standing) in standings.iter().enumerate() {
        if let Standing::Prefill { pending } = *standing
            && left > 0
        {
            let tokens = pending.min(left);
            left -= tokens;
            grants.push(Grant {
                index,
                tokens,
                drafts: 0,
            });
        }
    }
    for grant in &mut grants[..decoding] {
        if let Standing::Decode { drafts } = standings[grant.index] {
            grant.drafts = drafts.min(left);
            left -= grant.drafts;
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::Standing::{Decode, Paused, Prefill};
    use super::*;

    /// Grants as `(index, tokens, drafts)`.
    #[track_caller]
    fn check(standings: &[Standing], step_tokens: u32, want: &[(usize, u32, u32)]) {
        let grants = schedule(standings, step_tokens);
        let got: Vec<_> = grants
            .iter()
            .map(|g| (g.index, g.tokens, g.drafts))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn who_decodes_comes_before_any_prompt() {
        let standings = [
            Prefill { pending: 100 },
            Decode { drafts: 0 },
            Decode { drafts: 0 },
        ];
        check(&standings, 8, &[(1, 1, 0), (2, 1, 0), (0, 6, 0)]);
    }

    #[test]
    fn a_prompt_goes_on_beside_a_full_house() {
        let standings = [
            Decode { drafts: 3 },
            Prefill { pending: 100 },
            Decode { drafts: 3 },
        ];
        check(&standings, 3, &[(0, 1, 0), (2, 1, 0), (1, 1, 0)]);
    }

    #[test]
    fn prompts_are_served_in_the_order_in_which_they_came() {
        let standings = [
            Prefill { pending: 5 },
            Prefill { pending: 5 },
            Prefill { pending: 5 },
        ];
        check(&standings, 8, &[(0, 5, 0), (1, 3, 0)]);
        check(&standings, 5, &[(0, 5, 0)]);
    }

    #[test]
    fn drafts_get_what_nobody_else_needs() {
        let standings = [
            Decode { drafts: 3 },
            Decode { drafts: 3 },
            Prefill { pending: 2 },
        ];
        check(&standings, 8, &[(0, 1, 3), (1, 1, 1), (2, 2, 0)]);
        check(&standings, 4, &[(0, 1, 0), (1, 1, 0), (2, 2, 0)]);
        check(&standings, 100, &[(0, 1, 3), (1, 1, 3), (2, 2, 0)]);
    }

    #[test]
    fn a_slow_reader_holds_up_nobody() {
        check(&[Paused, Decode { drafts: 0 }, Paused], 8, &[(1, 1, 0)]);
        check(&[Paused], 8, &[]);
        check(&[], 8, &[]);
    }
}
