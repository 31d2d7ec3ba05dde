//! Bounds, and what addresses are multiples of.

/// Characters of the vendor's text that an error keeps: it may be a page of a log.
pub(crate) const VENDOR_TEXT_CHARS_MAX: usize = 600;

/// What addresses of memory are multiples of, as [`Driver::allocate`](backend_offload::Driver::allocate)
/// promises. The vendor promises 64.
pub(crate) const ALIGN_BYTES: usize = 512;
