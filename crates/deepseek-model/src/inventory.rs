//! Every tensor of a released checkpoint, by the config alone: names, types, shapes.
//!
//! The list reproduces the published totals to the byte (`docs/models/deepseek-v4.md` §2.1,
//! `docs/models/deepseek-v41.md` §2.4), so it is both the bill of a model that is not at hand and
//! the measure of one that is.

mod lister;

use std::ops::Range;

use deepseek_attn::Role;
use deepseek_core::Shares;
use deepseek_core::weights::Dtype;

use self::lister::Lister;
use crate::config::{Config, Storage};
use crate::plan::roles;

/// What part of a model a tensor belongs to. All of the draft modules is [`Component::Mtp`], or
/// [`Component::Drafter`] where they are of the DSpark kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The rows of token ids.
    Embedding,
    /// Query, key-value and output projections, and sinks.
    Attention,
    /// What makes compressed rows.
    Compressors,
    /// What chooses among them, its own compressors included.
    Indexers,
    /// Gates, biases and tables of token ids.
    Routers,
    /// The expert that every token visits.
    SharedExperts,
    /// The experts that tokens are sent to.
    RoutedExperts,
    /// The rows of n-grams.
    EngramTables,
    /// What brings those rows into the streams.
    Engram,
    /// The mixers of residual streams.
    HyperConnections,
    /// Norms outside of compressors.
    Norms,
    /// The output matrix.
    Head,
    /// Draft modules.
    Mtp,
    /// The layers of a DSpark drafter, and its heads.
    Drafter,
    /// The image tower.
    Vision,
    /// What takes its features to the width of a stream.
    Aligner,
    /// The rows around and within an image.
    Delimiters,
    /// The audio tower.
    Audio,
    /// What takes its features to the width of a stream.
    AudioAligner,
    /// The rows around audio.
    AudioDelimiters,
}

impl Component {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 20] = [
        Self::Embedding,
        Self::Attention,
        Self::Compressors,
        Self::Indexers,
        Self::Routers,
        Self::SharedExperts,
        Self::RoutedExperts,
        Self::EngramTables,
        Self::Engram,
        Self::HyperConnections,
        Self::Norms,
        Self::Head,
        Self::Mtp,
        Self::Drafter,
        Self::Vision,
        Self::Aligner,
        Self::Delimiters,
        Self::Audio,
        Self::AudioAligner,
        Self::AudioDelimiters,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Compressors => "compressors",
            Self::Indexers => "indexers",
            Self::Routers => "routers",
            Self::SharedExperts => "shared experts",
            Self::RoutedExperts => "routed experts",
            Self::EngramTables => "engram tables",
            Self::Engram => "engram",
            Self::HyperConnections => "hyper-connections",
            Self::Norms => "norms",
            Self::Head => "head",
            Self::Mtp => "mtp",
            Self::Drafter => "draft head",
            Self::Vision => "vision",
            Self::Aligner => "aligner",
            Self::Delimiters => "image delimiters",
            Self::Audio => "audio",
            Self::AudioAligner => "audio aligner",
            Self::AudioDelimiters => "audio delimiters",
        }
    }
}

/// What a tensor's elements stand for, which decides what counts as a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A matrix that activations are multiplied with.
    Matrix,
    /// Such a matrix, of those that make compressed rows and their keys.
    Making,
    /// Parameters that are no such matrix: norms, biases, sinks, the embedding.
    Other,
    /// Scales and tables: no parameters.
    Side,
}

/// By what ranks divide a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Divided {
    /// By the groups of heads, so many rows or columns each.
    Heads {
        /// Groups of heads.
        groups: usize,
    },
    /// By the inner width of a routed expert, of which some ranks have nothing.
    Expert {
        /// Its number.
        id: usize,
        /// Experts of the layer.
        total: usize,
    },
    /// By the inner width of a shared expert.
    Shared,
    /// By the rows of the output matrix.
    Rows,
}

/// Where ranks cut a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    by: Divided,
    /// Rows or columns.
    axis: usize,
    /// How many of these the matrix has.
    length: usize,
    /// Channels that are not divided.
    block: usize,
}

impl Cut {
    /// The rows or columns that a rank has.
    fn own(self, shares: &Shares) -> Range<usize> {
        match self.by {
            Divided::Heads { groups } => {
                let (own, each) = (shares.heads.range(groups), self.length / groups);
                own.start * each..own.end * each
            }
            Divided::Expert { id, total } if shares.experts.range(total).contains(&id) => {
                shares.inner.blocks(self.length, self.block)
            }
            Divided::Expert { .. } => 0..0,
            Divided::Shared => shares.all.blocks(self.length, self.block),
            Divided::Rows => shares.all.range(self.length),
        }
    }
}

/// A tensor as a checkpoint of this config holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its released name.
    pub name: String,
    /// The type of its elements. FP4 codes come in pairs, as [`Dtype::I8`], INT4 codes by eight, as
    /// [`Dtype::I32`].
    pub dtype: Dtype,
    /// Its dimensions in elements of that type.
    pub shape: Vec<usize>,
    /// The part of the model that it belongs to.
    pub component: Component,
    /// The layer of the backbone that it stands in, if it does.
    pub layer: Option<usize>,
    kind: Kind,
    /// Parameters in an element.
    packed: u64,
    /// How ranks divide it, if they do.
    cut: Option<Cut>,
}

impl TensorSpec {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.bytes() as u64
    }

    /// The bytes that a rank holds of it, with every scale that its rows and columns need.
    #[must_use]
    pub fn bytes_on(&self, shares: &Shares) -> u64 {
        let Some(cut) = self.cut else {
            return self.bytes();
        };
        let (own, elements) = (cut.own(shares), self.shape[cut.axis]);
        // Rows or columns that an element stands for: codes are packed, scales are shared.
        let each = cut.length.div_ceil(elements).max(1);
        let held = own.end.div_ceil(each) - own.start / each;
        if own.is_empty() {
            return 0;
        }
        self.bytes() / elements as u64 * held as u64
    }

    /// The parameters it holds: as many as an element packs for each of its elements, none for scales and
    /// tables of token ids.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        match self.kind {
            Kind::Side => 0,
            Kind::Matrix | Kind::Making | Kind::Other => self.elements() * self.packed,
        }
    }

    /// Whether every token, or every token sent to this expert, is multiplied with it.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        matches!(self.kind, Kind::Matrix | Kind::Making)
    }

    /// Whether it holds the scales of a matrix.
    #[must_use]
    pub fn is_scale(&self) -> bool {
        self.kind == Kind::Side && self.dtype != Dtype::I64
    }

    /// Whether it is such a matrix and makes compressed rows or their keys: all that a prompt needs
    /// of the layer where it may end (`docs/models/deepseek-v41.md` §3.10).
    #[must_use]
    pub fn makes_rows(&self) -> bool {
        self.kind == Kind::Making
    }

    fn elements(&self) -> u64 {
        self.shape.iter().map(|count| *count as u64).product()
    }
}

/// The tensors of a checkpoint, layer after layer. No more than one layer's list is held at a time.
pub fn inventory(config: &Config, storage: Storage) -> impl Iterator<Item = TensorSpec> + '_ {
    let list = move |prefix| Lister::new(config, storage, prefix);
    let mut top = list(String::new());
    top.top();
    let layers = roles(config).into_iter().enumerate();
    let backbone = layers.flat_map(move |(layer, role)| {
        let mut list = list(format!("layers.{layer}."));
        list.layer(
            role,
            config.experts.count,
            layer < config.experts.hash_layers,
        );
        list.engram(layer);
        for spec in &mut list.specs {
            spec.layer = Some(layer);
        }
        list.specs
    });
    let mtp = (0..config.mtp_layers).flat_map(move |module| {
        let mut list = list(format!("mtp.{module}."));
        list.layer(Role::WINDOW, config.experts.count, false);
        list.mtp();
        list.owned_by(Component::Mtp)
    });
    let dspark = config.drafter.iter().flat_map(move |drafter| {
        (0..drafter.stages).flat_map(move |stage| {
            let mut list = list(format!("mtp.{stage}."));
            list.layer(Role::WINDOW, drafter.experts, false);
            list.dspark(drafter, stage);
            list.owned_by(Component::Drafter)
        })
    });
    let vision = config.vision.into_iter().flat_map(move |shape| {
        let mut list = list(String::new());
        list.vision(shape);
        list.specs
    });
    let audio = config.audio.into_iter().flat_map(move |shape| {
        let mut list = list(String::new());
        list.audio(shape);
        list.specs
    });
    let top = top.specs.into_iter();
    let drafts = mtp.chain(dspark);
    top.chain(backbone).chain(drafts).chain(vision).chain(audio)
}
