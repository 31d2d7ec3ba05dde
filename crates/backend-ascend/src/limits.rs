//! Bounds.

/// Characters of the vendor's text that an error keeps: it may be a page of a log.
pub(crate) const VENDOR_TEXT_CHARS_MAX: usize = 600;
