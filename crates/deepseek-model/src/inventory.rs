//! Every tensor of a released checkpoint, by the config alone: names, types, shapes.
//!
//! The list reproduces the published totals to the byte (spec `deepseek-v4.md` §2.1), so it is both
//! the bill of a model that is not at hand and the measure of one that is.

use deepseek_core::weights::Dtype;

use crate::config::{Config, SPARSE_RATIO, Storage};

/// What part of a model a tensor belongs to. All of the draft modules is [`Component::Mtp`].
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
    /// The mixers of residual streams.
    HyperConnections,
    /// Norms outside of compressors.
    Norms,
    /// The output matrix.
    Head,
    /// Draft modules.
    Mtp,
}

impl Component {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::Embedding,
        Self::Attention,
        Self::Compressors,
        Self::Indexers,
        Self::Routers,
        Self::SharedExperts,
        Self::RoutedExperts,
        Self::HyperConnections,
        Self::Norms,
        Self::Head,
        Self::Mtp,
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
            Self::HyperConnections => "hyper-connections",
            Self::Norms => "norms",
            Self::Head => "head",
            Self::Mtp => "mtp",
        }
    }
}

/// What a tensor's elements stand for, which decides what counts as a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A matrix that activations are multiplied with.
    Matrix,
    /// Parameters that are no such matrix: norms, biases, sinks, the embedding.
    Other,
    /// Scales and tables: no parameters.
    Side,
}

/// A tensor as a checkpoint of this config holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its released name.
    pub name: String,
    /// The type of its elements. FP4 codes come in pairs, as [`Dtype::I8`].
    pub dtype: Dtype,
    /// Its dimensions in elements of that type.
    pub shape: Vec<usize>,
    /// The part of the model that it belongs to.
    pub component: Component,
    kind: Kind,
}

impl TensorSpec {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.bytes() as u64
    }

    /// The parameters it holds: its elements, twice as many for FP4, none for scales and tables of
    /// token ids.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        match (self.kind, self.dtype) {
            (Kind::Side, _) => 0,
            (Kind::Matrix | Kind::Other, Dtype::I8) => self.elements() * 2,
            (Kind::Matrix | Kind::Other, _) => self.elements(),
        }
    }

    /// Whether every token, or every token sent to this expert, is multiplied with it.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        self.kind == Kind::Matrix
    }

    fn elements(&self) -> u64 {
        self.shape.iter().map(|count| *count as u64).product()
    }
}

/// The tensors of a checkpoint, layer after layer. No more than one layer's list is held at a time.
pub fn inventory(config: &Config, storage: Storage) -> impl Iterator<Item = TensorSpec> + '_ {
    let backbone = (0..config.layers).flat_map(move |layer| {
        let mut list = Lister::new(config, storage, format!("layers.{layer}."));
        list.layer(config.ratios[layer], layer < config.experts.hash_layers);
        list.specs
    });
    let modules = (0..config.mtp_layers).flat_map(move |module| {
        let mut list = Lister::new(config, storage, format!("mtp.{module}."));
        list.layer(0, false);
        list.draft();
        for spec in &mut list.specs {
            spec.component = Component::Mtp;
        }
        list.specs
    });
    let mut top = Lister::new(config, storage, String::new());
    top.top();
    top.specs.into_iter().chain(backbone).chain(modules)
}

/// Writes down the tensors below one prefix.
struct Lister<'a> {
    config: &'a Config,
    storage: Storage,
    prefix: String,
    specs: Vec<TensorSpec>,
}

impl<'a> Lister<'a> {
    fn new(config: &'a Config, storage: Storage, prefix: String) -> Self {
        Self {
            config,
            storage,
            prefix,
            specs: Vec::new(),
        }
    }

    fn push(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        component: Component,
        kind: Kind,
    ) {
        let name = format!("{}{name}", self.prefix);
        self.specs.push(TensorSpec {
            name,
            dtype,
            shape: shape.to_vec(),
            component,
            kind,
        });
    }

    /// What is a brain float unless everything is wider.
    fn narrow(&self) -> Dtype {
        match self.storage {
            Storage::Released | Storage::Base | Storage::Bf16 => Dtype::Bf16,
            Storage::F32 => Dtype::F32,
        }
    }

    /// A matrix that is never quantised.
    fn plain(&mut self, name: &str, shape: [usize; 2], component: Component) {
        self.push(name, self.narrow(), &shape, component, Kind::Matrix);
    }

    /// A norm's weights.
    fn norm(&mut self, name: &str, width: usize, component: Component) {
        self.push(name, self.narrow(), &[width], component, Kind::Other);
    }

    /// What is always a 32-bit float, and is no matrix.
    fn wide(&mut self, name: &str, shape: &[usize], component: Component) {
        self.push(name, Dtype::F32, shape, component, Kind::Other);
    }

    /// `stem.weight` and its scales, one for each tile.
    fn tiled(&mut self, stem: &str, [out, inner]: [usize; 2], component: Component) {
        let weight = format!("{stem}.weight");
        let scale = match self.storage {
            Storage::Released => Dtype::F8E8m0,
            Storage::Base => Dtype::F32,
            Storage::Bf16 | Storage::F32 => return self.plain(&weight, [out, inner], component),
        };
        let [rows, columns] = self.config.fp8_tile;
        self.push(
            &weight,
            Dtype::F8E4m3,
            &[out, inner],
            component,
            Kind::Matrix,
        );
        let tiles = [out.div_ceil(rows), inner.div_ceil(columns)];
        self.push(
            &format!("{stem}.scale"),
            scale,
            &tiles,
            component,
            Kind::Side,
        );
    }

    /// `stem.weight` of a routed expert: FP4 with a scale for every 32 columns, where that is how
    /// experts are stored.
    fn expert(&mut self, stem: &str, [out, inner]: [usize; 2]) {
        let component = Component::RoutedExperts;
        if self.storage != Storage::Released {
            return self.tiled(stem, [out, inner], component);
        }
        let codes = [out, inner / 2];
        self.push(
            &format!("{stem}.weight"),
            Dtype::I8,
            &codes,
            component,
            Kind::Matrix,
        );
        let blocks = [out, inner.div_ceil(32)];
        self.push(
            &format!("{stem}.scale"),
            Dtype::F8E8m0,
            &blocks,
            component,
            Kind::Side,
        );
    }

    fn top(&mut self) {
        let Config {
            vocab_size,
            hidden_size,
            ..
        } = *self.config;
        let rows = [vocab_size, hidden_size];
        self.push(
            "embed.weight",
            self.narrow(),
            &rows,
            Component::Embedding,
            Kind::Other,
        );
        self.plain("head.weight", rows, Component::Head);
        self.norm("norm.weight", hidden_size, Component::Norms);
        let streams = self.config.hyper.streams;
        self.mixer("hc_head", streams, 1);
    }

    fn layer(&mut self, ratio: u32, by_token: bool) {
        let hidden = self.config.hidden_size;
        let streams = self.config.hyper.streams;
        for part in ["attn", "ffn"] {
            self.mixer(&format!("hc_{part}"), (2 + streams) * streams, 3);
            self.norm(&format!("{part}_norm.weight"), hidden, Component::Norms);
        }
        self.attention();
        if ratio != 0 {
            let (ratio, width) = (ratio as usize, self.config.head_dim);
            let overlap = ratio == SPARSE_RATIO as usize;
            self.compressor(
                "attn.compressor",
                [ratio, width],
                overlap,
                Component::Compressors,
            );
            if overlap {
                self.indexer(ratio);
            }
        }
        self.mixture(by_token);
    }

    fn mixer(&mut self, stem: &str, rows: usize, scales: usize) {
        let columns = self.config.hyper.streams * self.config.hidden_size;
        let component = Component::HyperConnections;
        let shape = [rows, columns];
        self.push(
            &format!("{stem}_fn"),
            Dtype::F32,
            &shape,
            component,
            Kind::Matrix,
        );
        self.wide(&format!("{stem}_base"), &[rows], component);
        self.wide(&format!("{stem}_scale"), &[scales], component);
    }

    fn attention(&mut self) {
        let Config {
            hidden_size,
            heads,
            head_dim,
            q_lora_rank,
            o_groups,
            o_lora_rank,
            ..
        } = *self.config;
        let (wide, latent) = (heads * head_dim, o_groups * o_lora_rank);
        let at = Component::Attention;
        self.wide("attn.attn_sink", &[heads], at);
        self.tiled("attn.wq_a", [q_lora_rank, hidden_size], at);
        self.norm("attn.q_norm.weight", q_lora_rank, Component::Norms);
        self.tiled("attn.wq_b", [wide, q_lora_rank], at);
        self.tiled("attn.wkv", [head_dim, hidden_size], at);
        self.norm("attn.kv_norm.weight", head_dim, Component::Norms);
        self.tiled("attn.wo_a", [latent, wide / o_groups], at);
        self.tiled("attn.wo_b", [hidden_size, latent], at);
    }

    fn compressor(&mut self, stem: &str, [ratio, width]: [usize; 2], overlap: bool, at: Component) {
        let token = if overlap { 2 * width } else { width };
        let hidden = self.config.hidden_size;
        self.wide(&format!("{stem}.ape"), &[ratio, token], at);
        self.plain(&format!("{stem}.wkv.weight"), [token, hidden], at);
        self.plain(&format!("{stem}.wgate.weight"), [token, hidden], at);
        self.norm(&format!("{stem}.norm.weight"), width, at);
    }

    fn indexer(&mut self, ratio: usize) {
        let Config {
            hidden_size,
            q_lora_rank,
            index,
            ..
        } = *self.config;
        let at = Component::Indexers;
        self.tiled(
            "attn.indexer.wq_b",
            [index.heads * index.head_dim, q_lora_rank],
            at,
        );
        self.plain(
            "attn.indexer.weights_proj.weight",
            [index.heads, hidden_size],
            at,
        );
        self.compressor("attn.indexer.compressor", [ratio, index.head_dim], true, at);
    }

    fn mixture(&mut self, by_token: bool) {
        let Config {
            hidden_size,
            vocab_size,
            experts,
            ..
        } = *self.config;
        let at = Component::Routers;
        self.plain("ffn.gate.weight", [experts.count, hidden_size], at);
        if by_token {
            let shape = [vocab_size, experts.each];
            self.push("ffn.gate.tid2eid", Dtype::I64, &shape, at, Kind::Side);
        } else {
            self.wide("ffn.gate.bias", &[experts.count], at);
        }
        let (into, back) = ([experts.inner, hidden_size], [hidden_size, experts.inner]);
        for expert in 0..experts.count {
            for (matrix, shape) in [("w1", into), ("w2", back), ("w3", into)] {
                self.expert(&format!("ffn.experts.{expert}.{matrix}"), shape);
            }
        }
        for (matrix, shape) in [("w1", into), ("w2", back), ("w3", into)] {
            let stem = format!("ffn.shared_experts.{matrix}");
            self.tiled(&stem, shape, Component::SharedExperts);
        }
    }

    /// What a draft module has beside its layer.
    fn draft(&mut self) {
        let hidden = self.config.hidden_size;
        for stem in ["e_proj", "h_proj"] {
            self.tiled(stem, [hidden, hidden], Component::Mtp);
        }
        for name in ["enorm.weight", "hnorm.weight", "norm.weight"] {
            self.norm(name, hidden, Component::Mtp);
        }
        self.mixer("hc_head", self.config.hyper.streams, 1);
    }
}
