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
                self.clear(driver)?;
                let room = bytes.next_power_of_two();
                let at = driver.allocate(room)?;
                self.block = Some((at, room));
                Ok(at)
            }
        }
    }

    /// Gives it back, after all queued work.
    pub(crate) fn clear<D: Driver>(&mut self, driver: &mut D) -> Result<()> {
        match self.block.take() {
            None => Ok(()),
            Some((at, _)) => {
                driver.synchronize()?;
                driver.free(at)
            }
        }
    }
}
