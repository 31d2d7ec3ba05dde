//! Numbers that are not finite: where they came from, found out after the fact.

use anyhow::anyhow;
use deepseek_chat::ModelSource;
use deepseek_model::flaw::{self, Flaw};
use deepseek_model::names::Renamed;
use deepseek_model::{Config, Place, Trouble};

use crate::fault::Fault;
use crate::interrupt::Interrupt;

/// The same fault, if it is of another kind; else the tensor that is to blame for it, if one is.
pub(crate) fn name(
    fault: Fault,
    source: &ModelSource,
    config: &Config,
    interrupt: &Interrupt,
) -> Fault {
    match fault.trouble() {
        None => fault,
        Some(trouble) => explain(trouble, source, config, interrupt),
    }
}

/// What made a number that is not finite.
pub(crate) fn explain(
    trouble: Trouble,
    source: &ModelSource,
    config: &Config,
    interrupt: &Interrupt,
) -> Fault {
    let damaged = "the file may be damaged: fetch it again";
    if let Place::Table(layer) = trouble.place {
        let error = anyhow!(
            "tensor layers.{layer}.engram.embed.weight: rows that are not finite, read first at position {}",
            trouble.position
        );
        return Fault::input(error).hint(damaged);
    }
    let found = source.checkpoint().map(|checkpoint| {
        let tensors = Renamed::new(&checkpoint);
        flaw::find(config, &tensors, trouble.place, &mut || interrupt.poll())
    });
    if interrupt.poll().is_break() {
        return Fault::interrupted();
    }
    match found {
        Ok(Ok(Some(Flaw { tensor, at, value }))) => {
            let error = anyhow!("tensor {tensor}: {value} at {at:?}, met in {trouble}");
            Fault::input(error).hint(damaged)
        }
        Ok(Ok(None)) => {
            let error = anyhow!("numbers that are not finite came first from {trouble}");
            Fault::input(error).hint("the weights there are finite, but what is made of them is not: hold them against their config")
        }
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    }
}
