//! The numbers that shape images and their tower.

/// The numbers that shape images and their tower (`docs/models/deepseek-v41.md` §1.1,
/// `vision_config`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionConfig {
    /// Blocks of the tower.
    pub layers: usize,
    /// Channels of a patch within the tower.
    pub hidden: usize,
    /// Attention heads, each of a width that is a multiple of four.
    pub heads: usize,
    /// Channels inside a block's feed-forward network.
    pub inner: usize,
    /// Pixels of a patch's side.
    pub patch: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Patches of a cell's side.
    pub downsample: usize,
    /// Most tokens of an image.
    pub max_tokens: usize,
    /// Pixels below which an image is enlarged.
    pub min_pixels: usize,
    /// Width over height above which an image is stretched; none in the released models.
    pub max_wh_ratio: Option<f32>,
    /// Channels of the text model.
    pub out: usize,
}

impl VisionConfig {
    /// The numbers of the released models (`docs/models/deepseek-v41.md` §1.1).
    pub const RELEASED: Self = Self {
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
}
