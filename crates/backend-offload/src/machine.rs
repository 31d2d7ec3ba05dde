//! What a vendor's library says of a machine before a device is opened.

/// An installation and what it finds on its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine<C> {
    /// Devices that this process may open, counted from 0.
    pub devices: u32,
    /// The vendor's name for the chip; empty if the release does not tell, or there is none.
    pub model: String,
    /// What is known of the chip; none if it is not served, or there is none.
    pub chip: Option<C>,
    /// The vendor's software with its version, if the release tells.
    pub software: Option<String>,
}
