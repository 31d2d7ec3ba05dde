//! Memory that operators use while they run.

use deepseek_core::Result;

use crate::driver::Driver;
use crate::view::Address;

/// One block of the device's memory that all operators of a queue use in turn: their order keeps them
/// apart. It grows to what the largest of them asks for, so that a step that was made before allocates
/// nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    block: Option<(Address, usize)>,
    /// Whether a graph that was captured uses the block.
    is_captured: bool,
    /// Smaller blocks that graphs use.
    captured: Vec<Address>,
}

impl Workspace {
    /// At least `bytes`, with whatever is in them, until the next call. To grow it waits for all queued
    /// work, because that may use the smaller one.
    ///
    /// # Errors
    /// What the driver says.
    pub fn at_least<D: Driver>(&mut self, driver: &mut D, bytes: usize) -> Result<Address> {
        match self.block {
            Some((at, room)) if room >= bytes => Ok(at),
            Some(_) | None => {
                self.give_up(driver)?;
                let room = bytes.next_power_of_two();
                let at = driver.allocate(room)?;
                self.block = Some((at, room));
                Ok(at)
            }
        }
    }

    /// Keeps what there is, because a graph that was captured uses it: what is grown out of stays until
    /// [`release`](Self::release).
    pub fn keep(&mut self) {
        self.is_captured = self.block.is_some();
    }

    /// Gives back what only graphs used, which are gone.
    ///
    /// # Errors
    /// What the driver says.
    pub fn release<D: Driver>(&mut self, driver: &mut D) -> Result<()> {
        self.is_captured = false;
        std::mem::take(&mut self.captured)
            .into_iter()
            .try_for_each(|at| driver.free(at))
    }

    /// Gives all of it back, after all queued work.
    pub(crate) fn clear<D: Driver>(&mut self, driver: &mut D) -> Result<()> {
        self.release(driver)?;
        self.give_up(driver)
    }

    /// Lets go of a block that is too small.
    fn give_up<D: Driver>(&mut self, driver: &mut D) -> Result<()> {
        match self.block.take() {
            None => Ok(()),
            Some((at, _)) if std::mem::take(&mut self.is_captured) => {
                self.captured.push(at);
                Ok(())
            }
            Some((at, _)) => {
                driver.synchronize()?;
                driver.free(at)
            }
        }
    }
}
