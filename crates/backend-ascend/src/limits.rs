//! Bounds.

/// Seconds that a collective waits on the device for ranks that do not come, far more than one is behind another: they meet before
/// it is queued. By the vendor's own bound it is half an hour.
pub(crate) const COLLECTIVE_SECONDS_MAX: i32 = 300;
