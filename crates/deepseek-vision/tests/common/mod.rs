//! What the tests share: the released shape.

use deepseek_vision::VisionShape;

/// The numbers of the released models (`docs/models/deepseek-v41.md` §1.1).
pub(crate) const RELEASED: VisionShape = VisionShape {
    layers: 32,
    hidden: 1024,
    heads: 16,
    inner: 2816,
    patch: 14,
    rope_theta: 10_000.0,
    downsample: 3,
    max_tokens: 1024,
    min_pixels: 544 * 544,
    max_wh_ratio: None,
    out: 5120,
};
