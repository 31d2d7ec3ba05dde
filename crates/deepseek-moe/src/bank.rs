//! All experts of a layer at hand.

use deepseek_core::operands::{Experts, FeedForward};
use deepseek_core::{Backend, Loader, Result, Rounding, Use};

/// Every expert of a layer. On the host their weights stay where they are, in the mapped files.
#[derive(Debug)]
pub struct Bank<B: Backend> {
    experts: Vec<FeedForward<B>>,
    input: Option<Rounding>,
}

impl<B: Backend> Bank<B> {
    /// Reads experts `0..count` below `at`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, count: usize, [hidden, inner]: [usize; 2]) -> Result<Self> {
        let mut input = None;
        let experts = (0..count)
            .map(|id| {
                let (expert, rounding) = network(&at.at(&id.to_string()), [hidden, inner])?;
                input = rounding;
                Ok(expert)
            })
            .collect::<Result<_>>()?;
        Ok(Self { experts, input })
    }

    /// How the inputs of the experts' products are rounded.
    #[must_use]
    pub fn input_rounding(&self) -> Option<Rounding> {
        self.input
    }
}

impl<B: Backend> Experts<B> for Bank<B> {
    fn count(&self) -> usize {
        self.experts.len()
    }

    fn expert(&self, id: u32) -> Result<&FeedForward<B>> {
        Ok(&self.experts[id as usize])
    }
}

/// Reads `w1`, `w3` and `w2` of one network, and how the inputs of its products are rounded.
pub(crate) fn network<B: Backend>(
    at: &Loader<'_, B>,
    [hidden, inner]: [usize; 2],
) -> Result<(FeedForward<B>, Option<Rounding>)> {
    let gate = at.tensors.matrix("w1.weight", [inner, hidden])?;
    let rounding = at.input_rounding(gate.format);
    let network = FeedForward {
        gate: at.be.load(&gate, Use::Product)?,
        up: at.weight("w3.weight", [inner, hidden])?,
        down: at.weight("w2.weight", [hidden, inner])?,
    };
    Ok((network, rounding))
}
