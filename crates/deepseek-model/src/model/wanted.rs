//! The rows that a step wants logits or ids of.

use deepseek_attn::Span;

use crate::decoder::{Step, Want};

/// The rows that a step wants something of.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Of all rows that ran, `[n]`.
    pub(super) rows: Vec<u32>,
    /// Whose they are.
    pub(super) spans: Vec<Span>,
    /// Those of `rows` whose logits are wanted, and how many each span has.
    pub(super) logits: Vec<u32>,
    pub(super) counts: Vec<usize>,
    /// Those whose most likely ids are wanted, likewise.
    pub(super) best: Vec<u32>,
    pub(super) best_counts: Vec<usize>,
}

impl Wanted {
    fn clear(&mut self) {
        self.rows.clear();
        self.spans.clear();
        self.logits.clear();
        self.counts.clear();
        self.best.clear();
        self.best_counts.clear();
    }

    /// Becomes what another step wants. `places` are the spans that ran to the end: a prompt that goes on may
    /// have none.
    pub(super) fn fill(&mut self, step: &Step, places: &[Span]) {
        self.clear();
        let mut places = places.iter().peekable();
        for span in &step.spans {
            let place = places.next_if(|place| place.slot == span.seq.0 as usize);
            let count = match (span.want, place) {
                (Want::Nothing, _) | (_, None) => 0,
                (Want::Last, Some(_)) => 1,
                (Want::All | Want::Best, Some(_)) => span.tokens.len(),
            };
            let first = self.rows.len();
            let own = (first..first + count).map(|row| row as u32);
            let counts = if span.want == Want::Best {
                self.best.extend(own);
                [0, count]
            } else {
                self.logits.extend(own);
                [count, 0]
            };
            self.counts.push(counts[0]);
            self.best_counts.push(counts[1]);
            if let Some(place) = place {
                let rows = place.rows.end - count..place.rows.end;
                self.rows.extend(rows.map(|row| row as u32));
                self.spans.push(Span {
                    at: place.end() - count as u32,
                    rows: first..first + count,
                    ..place.clone()
                });
            }
        }
    }
}
