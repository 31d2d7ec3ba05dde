//! The vision tower: patches to features, features to the text model's channels.

use deepseek_core::rope::Rope;
use deepseek_core::{Backend, DeviceTensor, HostTensor, Kernels, Loader, Numerics, Result};

use crate::aligner::Aligner;
use crate::block::{Affine, Block, NORM_EPS, Rotation};
use crate::config::VisionConfig;
use crate::grid::Grid;

/// Patches to features of the text model's width (`docs/models/deepseek-v41.md` §4.3, §4.4).
///
/// With BF16 asked for, the pixels and what leaves a product, a norm, the rotation, attention
/// or a sum are rounded; scores and probabilities are not.
#[derive(Debug)]
pub struct Tower<B: Backend> {
    config: VisionConfig,
    numerics: Numerics,
    rope: Rope,
    patch: Affine<B>,
    blocks: Vec<Block<B>>,
    norm: B::Tensor,
    aligner: Aligner<B>,
}

impl<B: Kernels> Tower<B> {
    /// Reads `vision` and `aligner`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    ///
    /// # Panics
    /// If the channels do not divide into heads of whole quadruples.
    pub fn load(at: &Loader<'_, B>, config: VisionConfig) -> Result<Self> {
        let VisionConfig { hidden, heads, .. } = config;
        assert_eq!(hidden % (heads * 4), 0, "{hidden} channels, {heads} heads");
        let vision = at.at("vision");
        let samples = 3 * config.patch * config.patch;
        let blocks = vision.at("blocks");
        Ok(Self {
            config,
            numerics: at.numerics,
            rope: Rope::new(hidden / heads / 2, config.rope_theta, None),
            patch: Affine::load(&vision.at("patch_embed.proj"), [hidden, samples])?,
            blocks: (0..config.layers)
                .map(|index| Block::load(&blocks.at(&index.to_string()), &config))
                .collect::<Result<_>>()?,
            norm: vision.vector("norm.weight", hidden)?,
            aligner: Aligner::load(&at.at("aligner"), &config)?,
        })
    }

    /// The numbers that it was loaded by.
    #[must_use]
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// The features of one image: `patches: [patches, 3 * patch * patch]` gives `[cells, out]`, row
    /// by row. Attention needs memory for a bounded number of queries at a time.
    ///
    /// # Panics
    /// If there are not as many patches as the grid has.
    pub fn encode(&self, be: &B, patches: &HostTensor, grid: &Grid) -> Result<B::Tensor> {
        let [columns, rows] = grid.patches;
        assert_eq!(patches.shape()[0], columns * rows, "patches of {grid:?}");
        let round = |x| self.numerics.activation(be, x);
        let rotation = self.rotation(be, grid)?;
        let mut x = self.patch.forward(be, &round(be.upload(patches)?)?)?;
        for block in &self.blocks {
            x = block.forward(be, &x, &rotation)?;
        }
        let x = be.rms_norm(&x, Some(&self.norm), NORM_EPS, self.numerics.rounding())?;
        let out = self.aligner.forward(be, &x, grid)?;
        debug_assert_eq!(
            out.shape(),
            [grid.cells[0] * grid.cells[1], self.config.out]
        );
        Ok(out)
    }

    /// The rotation of each patch. Channel `c` of a head turns against channel `c + width / 2`: the
    /// first half of those pairs by the patch's row, the second by its column.
    fn rotation(&self, be: &B, grid: &Grid) -> Result<Rotation<B>> {
        let [columns, rows] = grid.patches.map(|count| {
            let count = u32::try_from(count).expect("a canvas has few patches");
            self.rope.angles(&(0..count).collect::<Vec<_>>())
        });
        let pairs = self.rope.frequencies().len();
        let table = |rows: &[f32], columns: &[f32], signs: [f32; 2]| {
            let mut values = Vec::with_capacity(rows.len() * columns.len() / pairs * 4);
            for row in rows.chunks_exact(pairs) {
                for column in columns.chunks_exact(pairs) {
                    let half = row.iter().chain(column);
                    values.extend(
                        signs
                            .iter()
                            .flat_map(|sign| half.clone().map(move |x| sign * x)),
                    );
                }
            }
            be.upload(&HostTensor::new(
                &[values.len() / (4 * pairs), 1, 4 * pairs],
                values,
            ))
        };
        Ok(Rotation {
            cos: table(rows.cos(), columns.cos(), [1.0, 1.0])?,
            sin: table(rows.sin(), columns.sin(), [-1.0, 1.0])?,
        })
    }
}
