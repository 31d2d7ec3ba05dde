//! Steps that come again, by a graph beside by calls.

use deepseek_core::{Backend, HostTensor, Result, Unary};

use crate::driver::Driver;
use crate::offload::{Captures, Offload, Options};

/// Steps that are asked for: the first few are captured, the others replayed.
const STEPS: u8 = 8;

/// What came of steps that were asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// How many were replayed, and why not.
    pub captures: Captures,
    /// The first step whose numbers are not those of the same by calls, with both.
    pub flaw: Option<String>,
}

/// Asks a device for the same step with other numbers, again and again, once with graphs and once without, and
/// holds one against the other bit for bit.
///
/// # Errors
/// What the device says.
pub fn replayed<D: Driver>(start: impl Fn(Options) -> Result<Offload<D>>) -> Result<Replayed> {
    let run = |capture| -> Result<_> {
        let options = Options {
            capture,
            ..Options::default()
        };
        let device = start(options)?;
        let steps = (0..STEPS).map(|number| step(&device, f32::from(number)));
        Ok((steps.collect::<Result<Vec<_>>>()?, device.captures()))
    };
    let ((want, _), (got, captures)) = (run(false)?, run(true)?);
    let differs = got.iter().zip(&want).position(|(got, want)| got != want);
    Ok(Replayed {
        captures,
        flaw: differs.map(|at| format!("step {at}: {:?}, {:?} by calls", got[at], want[at])),
    })
}

/// Products, sums and moves of numbers that are brought to the device twice; their bits.
fn step(be: &impl Backend, number: f32) -> Result<Vec<u32>> {
    let numbers: Vec<f32> = (0..48_u8).map(|at| number - f32::from(at) / 8.0).collect();
    let x = be.upload(&HostTensor::new(&[3, 16], numbers))?;
    let mut y = be.matmul_t(&x, &x)?;
    for _ in 0..4 {
        y = be.map(&be.add(&y, &y)?, Unary::scale(0.25))?;
    }
    let z = be.upload(&HostTensor::new(&[3, 1], vec![number + 0.5; 3]))?;
    let y = be.concat(&[&be.mul(&y, &z)?, &x], 1)?;
    let y = be.download(&be.rms_norm(&y, None, 1e-6, None)?)?;
    Ok(y.data().iter().map(|number| number.to_bits()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{HostChip, HostDriver};

    #[test]
    fn the_hosts_driver_replays_what_it_computes() -> Result<()> {
        let start =
            |options| Offload::start(options, || Ok(HostDriver::new(HostChip::Composed, 1 << 24)));
        let Replayed { captures, flaw } = replayed(start)?;
        assert_eq!(flaw, None);
        assert!(captures.replays >= 3, "{captures:?}");
        Ok(())
    }
}
