//! The tensors of each part of a model, as they are named and stored.

use deepseek_attn::{Choice, Compression, Keys, Role};
use deepseek_audio::AudioConfig;
use deepseek_core::Format;
use deepseek_core::weights::Dtype;
use deepseek_vision::VisionConfig;

use super::{Component, Cut, Divided, Kind, TensorSpec};
use crate::config::{Config, DsparkConfig, EngramConfig, Family, Numbers, Storage};

/// The dimensions of a matrix.
const ROWS: usize = 0;
const COLUMNS: usize = 1;

/// Writes down the tensors below one prefix.
pub(super) struct Lister<'a> {
    config: &'a Config,
    storage: Storage,
    prefix: String,
    /// What it has written down.
    pub(super) specs: Vec<TensorSpec>,
}

impl<'a> Lister<'a> {
    /// Nothing yet.
    pub(super) fn new(config: &'a Config, storage: Storage, prefix: String) -> Self {
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
            layer: None,
            kind,
            packed: 1,
            cut: None,
        });
    }

    /// What `list` writes down, divided among ranks along `axis`, of which the matrix has `length`.
    fn divided(
        &mut self,
        by: Divided,
        (axis, length): (usize, usize),
        list: impl FnOnce(&mut Self),
    ) {
        let (first, block) = (self.specs.len(), self.config.fp8_tile[1]);
        list(self);
        for spec in &mut self.specs[first..] {
            spec.cut = Some(Cut {
                by,
                axis,
                length,
                block,
            });
        }
    }

    /// `stem.weight`, `packed` parameters an element, and `stem.scale`.
    fn packed(
        &mut self,
        stem: &str,
        (dtype, packed, shape): (Dtype, usize, [usize; 2]),
        (scale, scales): (Dtype, [usize; 2]),
        component: Component,
    ) {
        let [out, inner] = shape;
        let (weight, codes) = (format!("{stem}.weight"), [out, inner / packed]);
        self.push(&weight, dtype, &codes, component, Kind::Matrix);
        if let Some(spec) = self.specs.last_mut() {
            spec.packed = packed as u64;
        }
        let name = format!("{stem}.scale");
        self.push(&name, scale, &scales, component, Kind::Side);
    }

    /// The list, all of it of one part of the model.
    pub(super) fn owned_by(mut self, component: Component) -> Vec<TensorSpec> {
        for spec in &mut self.specs {
            spec.component = component;
        }
        self.specs
    }

    /// What is a BF16 value unless everything is wider.
    fn narrow(&self) -> Dtype {
        match self.storage {
            Storage::Released | Storage::Base | Storage::Bf16 => Dtype::Bf16,
            Storage::W8a8 | Storage::W4a8 => Dtype::Bf16,
            Storage::F32 => Dtype::F32,
        }
    }

    /// A matrix that is never quantised.
    fn plain(&mut self, name: &str, shape: [usize; 2], component: Component) {
        self.push(name, self.narrow(), &shape, component, Kind::Matrix);
    }

    /// The same, of those that make compressed rows and their keys.
    fn making(&mut self, name: &str, shape: [usize; 2], component: Component) {
        self.push(name, self.narrow(), &shape, component, Kind::Making);
    }

    /// The weights of a norm, or another vector as narrow.
    fn norm(&mut self, name: &str, width: usize, component: Component) {
        self.push(name, self.narrow(), &[width], component, Kind::Other);
    }

    /// What is always a 32-bit float, and is no matrix.
    fn wide(&mut self, name: &str, shape: &[usize], component: Component) {
        self.push(name, Dtype::F32, shape, component, Kind::Other);
    }

    /// `stem.weight` and its scales, one for each tile, or for each row of integers.
    fn tiled(&mut self, stem: &str, shape: [usize; 2], component: Component) {
        let [rows, columns] = self.config.fp8_tile;
        let tiles = [shape[0].div_ceil(rows), shape[1].div_ceil(columns)];
        let (dtype, scales) = match self.storage {
            Storage::Released => (Dtype::F8E4m3, (Dtype::F8E8m0, tiles)),
            Storage::Base => (Dtype::F8E4m3, (Dtype::F32, tiles)),
            Storage::W8a8 | Storage::W4a8 => (Dtype::I8, (Dtype::F32, [shape[0], 1])),
            Storage::Bf16 | Storage::F32 => {
                return self.plain(&format!("{stem}.weight"), shape, component);
            }
        };
        self.packed(stem, (dtype, 1, shape), scales, component);
    }

    /// The same, of groups of channels whose input is never rounded: no integers.
    fn grouped(&mut self, stem: &str, shape: [usize; 2], component: Component) {
        match self.storage {
            Storage::W8a8 | Storage::W4a8 => {
                self.plain(&format!("{stem}.weight"), shape, component);
            }
            _ => self.tiled(stem, shape, component),
        }
    }

    /// `stem.weight` of a routed expert: FP4 with a scale for every 32 columns, or INT4, where that is
    /// how experts are stored.
    fn expert(&mut self, stem: &str, shape: [usize; 2]) {
        let component = Component::RoutedExperts;
        let [out, inner] = shape;
        match (self.storage, Format::int4(inner)) {
            (Storage::Released, _) => {
                let scales = (Dtype::F8E8m0, [out, inner.div_ceil(32)]);
                self.packed(stem, (Dtype::I8, 2, shape), scales, component);
            }
            (Storage::W4a8, Some(Format::Int4 { group })) => {
                let scales = (Dtype::F32, [out, inner / group]);
                self.packed(stem, (Dtype::I32, 8, shape), scales, component);
            }
            _ => self.tiled(stem, shape, component),
        }
    }

    /// What stands outside of layers, but for images.
    pub(super) fn top(&mut self) {
        let Numbers {
            vocab_size,
            hidden_size,
            ..
        } = **self.config;
        let rows = [vocab_size, hidden_size];
        self.rows("embed.weight", rows, Component::Embedding);
        self.divided(Divided::Rows, (ROWS, vocab_size), |list| {
            list.plain("head.weight", rows, Component::Head);
        });
        self.norm("norm.weight", hidden_size, Component::Norms);
        // A single pass needs no mixer of its own at the end.
        if self.config.family == Family::V4 {
            self.mixer("hc_head", self.config.hyper.streams, 1);
        }
    }

    /// Rows that are looked up, as narrow as norms.
    fn rows(&mut self, name: &str, shape: [usize; 2], component: Component) {
        self.push(name, self.narrow(), &shape, component, Kind::Other);
    }

    /// A layer, without n-grams.
    pub(super) fn layer(&mut self, role: Role, experts: usize, by_token: bool) {
        let hidden = self.config.hidden_size;
        let streams = self.config.hyper.streams;
        for part in ["attn", "ffn"] {
            self.mixer(&format!("hc_{part}"), (2 + streams) * streams, 3);
            self.norm(&format!("{part}_norm.weight"), hidden, Component::Norms);
        }
        self.attention();
        self.compressed(role);
        self.mixture(experts, by_token);
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
        let Numbers {
            hidden_size,
            heads,
            head_dim,
            q_lora_rank,
            o_groups,
            o_lora_rank,
            ..
        } = **self.config;
        let (wide, latent) = (heads * head_dim, o_groups * o_lora_rank);
        let at = Component::Attention;
        let by = Divided::Heads { groups: o_groups };
        self.divided(by, (ROWS, heads), |list| {
            list.wide("attn.attn_sink", &[heads], at);
        });
        self.tiled("attn.wq_a", [q_lora_rank, hidden_size], at);
        self.norm("attn.q_norm.weight", q_lora_rank, Component::Norms);
        self.divided(by, (ROWS, wide), |list| {
            list.tiled("attn.wq_b", [wide, q_lora_rank], at);
        });
        self.tiled("attn.wkv", [head_dim, hidden_size], at);
        self.norm("attn.kv_norm.weight", head_dim, Component::Norms);
        self.divided(by, (ROWS, latent), |list| {
            list.grouped("attn.wo_a", [latent, wide / o_groups], at);
        });
        self.divided(by, (COLUMNS, latent), |list| {
            list.tiled("attn.wo_b", [hidden_size, latent], at);
        });
    }

    /// What makes the layer's rows and keys, and what chooses among those of its source.
    fn compressed(&mut self, role: Role) {
        let Numbers {
            hidden_size,
            head_dim,
            q_lora_rank,
            index,
            ..
        } = **self.config;
        let ratio = role.ratio as usize;
        if let Some(making) = role.produces {
            let stem = "attn.compressor";
            let shape = [ratio, head_dim];
            self.compressor(stem, shape, making.compression, Component::Compressors);
        }
        let at = Component::Indexers;
        if let Choice::Fresh { .. } = role.choice {
            let wide = index.heads * index.head_dim;
            self.tiled("attn.indexer.wq_b", [wide, q_lora_rank], at);
            let shape = [index.heads, hidden_size];
            self.plain("attn.indexer.weights_proj.weight", shape, at);
        }
        match role
            .produces
            .map(|making| (making.keys, making.compression))
        {
            None | Some((Keys::None, _)) => {}
            Some((Keys::Compressed, compression)) => {
                let stem = "attn.indexer.compressor";
                self.compressor(stem, [ratio, index.head_dim], compression, at);
            }
            Some((Keys::Projected, _)) => {
                self.making("attn.indexer.wk.weight", [index.head_dim, head_dim], at);
                self.norm("attn.indexer.k_norm.weight", index.head_dim, at);
            }
        }
    }

    fn compressor(
        &mut self,
        stem: &str,
        [ratio, width]: [usize; 2],
        compression: Compression,
        at: Component,
    ) {
        let (bias, overlap, gated) = match compression {
            Compression::Each => (false, false, false),
            Compression::Gated { bias, overlap } => (bias, overlap, true),
        };
        let token = if overlap { 2 * width } else { width };
        let shape = [token, self.config.hidden_size];
        if bias {
            self.wide(&format!("{stem}.ape"), &[ratio, token], at);
        }
        self.making(&format!("{stem}.wkv.weight"), shape, at);
        if gated {
            self.making(&format!("{stem}.wgate.weight"), shape, at);
        }
        self.norm(&format!("{stem}.norm.weight"), width, at);
    }

    fn mixture(&mut self, count: usize, by_token: bool) {
        let Numbers {
            hidden_size,
            vocab_size,
            experts,
            ..
        } = **self.config;
        let at = Component::Routers;
        self.plain("ffn.gate.weight", [count, hidden_size], at);
        if by_token {
            let shape = [vocab_size, experts.top_k];
            self.push("ffn.gate.tid2eid", Dtype::I64, &shape, at, Kind::Side);
        } else {
            self.wide("ffn.gate.bias", &[count], at);
            if self.config.family == Family::V41 {
                self.wide("ffn.gate.bias_vl", &[count], at);
            }
        }
        let inner = experts.inner;
        let (into, back) = ([inner, hidden_size], [hidden_size, inner]);
        let matrices = [
            ("w1", into, ROWS),
            ("w2", back, COLUMNS),
            ("w3", into, ROWS),
        ];
        for id in 0..count {
            let by = Divided::Expert { id, total: count };
            for (matrix, shape, axis) in matrices {
                self.divided(by, (axis, inner), |list| {
                    list.expert(&format!("ffn.experts.{id}.{matrix}"), shape);
                });
            }
        }
        for (matrix, shape, axis) in matrices {
            let stem = format!("ffn.shared_experts.{matrix}");
            self.divided(Divided::Shared, (axis, inner), |list| {
                list.tiled(&stem, shape, Component::SharedExperts);
            });
        }
    }

    /// The n-gram table of a layer and what reads it, if the layer has one.
    pub(super) fn engram(&mut self, layer: usize) {
        let Some(engram) = &self.config.engram else {
            return;
        };
        let EngramConfig { layers, rows, .. } = engram;
        let Some((_, rows)) = layers.iter().zip(rows).find(|(own, _)| **own == layer) else {
            return;
        };
        self.table("engram.embed", [*rows, engram.head_dim]);
        let (hidden, streams) = (self.config.hidden_size, self.config.hyper.streams);
        let recalled = (engram.ngram - 1) * engram.heads * engram.head_dim;
        let at = Component::Engram;
        self.tiled("engram.wkv", [(streams + 1) * hidden, recalled], at);
        for name in ["engram.q_weight", "engram.k_weight"] {
            self.rows(name, [streams, hidden], at);
        }
    }

    /// `stem.weight` of rows that are read one by one, each with its own scales where it has any.
    fn table(&mut self, stem: &str, [rows, width]: [usize; 2]) {
        let at = Component::EngramTables;
        let weight = format!("{stem}.weight");
        let scale = match self.storage {
            // What is read row by row, and multiplied with nothing, is not converted.
            Storage::Released | Storage::W8a8 | Storage::W4a8 => Dtype::F8E8m0,
            Storage::Base => Dtype::F32,
            Storage::Bf16 | Storage::F32 => return self.rows(&weight, [rows, width], at),
        };
        self.push(&weight, Dtype::F8E4m3, &[rows, width], at, Kind::Other);
        let blocks = [rows, width.div_ceil(32)];
        self.push(&format!("{stem}.scale"), scale, &blocks, at, Kind::Side);
    }

    /// What an MTP module has beside its layer.
    pub(super) fn mtp(&mut self) {
        let hidden = self.config.hidden_size;
        for stem in ["e_proj", "h_proj"] {
            self.tiled(stem, [hidden, hidden], Component::Mtp);
        }
        for name in ["enorm.weight", "hnorm.weight", "norm.weight"] {
            self.norm(name, hidden, Component::Mtp);
        }
        self.mixer("hc_head", self.config.hyper.streams, 1);
    }

    /// What the first and the last layer of a drafter have beside.
    pub(super) fn dspark(&mut self, drafter: &DsparkConfig, stage: usize) {
        let Numbers {
            hidden_size,
            vocab_size,
            ..
        } = **self.config;
        let at = Component::Drafter;
        if stage == 0 {
            let taps = drafter.taps.len();
            self.tiled("main_proj", [hidden_size, taps * hidden_size], at);
            self.norm("main_norm.weight", hidden_size, at);
        }
        if stage + 1 == drafter.stages {
            let rank = drafter.markov_rank;
            self.norm("norm.weight", hidden_size, at);
            self.rows("markov_head.embed.weight", [vocab_size, rank], at);
            self.plain("markov_head.head.weight", [vocab_size, rank], at);
            let shape = [1, hidden_size + rank];
            self.plain("confidence_head.proj.weight", shape, at);
        }
    }

    /// The image tower, the aligner and the delimiters.
    pub(super) fn vision(&mut self, config: VisionConfig) {
        let VisionConfig {
            layers,
            hidden,
            inner,
            patch,
            downsample,
            out,
            ..
        } = config;
        let at = Component::Vision;
        self.affine("vision.patch_embed.proj", [hidden, 3 * patch * patch], at);
        for block in 0..layers {
            let name = |part| format!("vision.blocks.{block}.{part}");
            self.norm(&name("norm1.weight"), hidden, at);
            self.norm(&name("norm2.weight"), hidden, at);
            self.affine(&name("attn.wqkv"), [3 * hidden, hidden], at);
            self.affine(&name("attn.wo"), [hidden, hidden], at);
            self.plain(&name("mlp.w1.weight"), [2 * inner, hidden], at);
            self.plain(&name("mlp.w2.weight"), [hidden, inner], at);
        }
        self.norm("vision.norm.weight", hidden, at);
        let cell = downsample * downsample * hidden;
        self.affine("aligner.w1", [out, cell], Component::Aligner);
        self.affine("aligner.w2", [out, out], Component::Aligner);
        for name in ["image_start", "image_end", "image_newline"] {
            self.norm(name, out, Component::Delimiters);
        }
    }

    /// The audio tower, its projector and the delimiters. The table of positions is not stored.
    pub(super) fn audio(&mut self, config: AudioConfig) {
        let AudioConfig {
            layers,
            hidden,
            inner,
            mels,
            pool,
            projector_bias,
            out,
            ..
        } = config;
        let at = Component::Audio;
        for (stem, inputs) in [("audio.conv1", mels), ("audio.conv2", hidden)] {
            let (weight, shape) = (format!("{stem}.weight"), [hidden, inputs, 3]);
            self.push(&weight, self.narrow(), &shape, at, Kind::Matrix);
            self.norm(&format!("{stem}.bias"), hidden, at);
        }
        for layer in 0..layers {
            let name = |part: &str| format!("audio.layers.{layer}.{part}");
            for part in ["q_proj", "v_proj", "out_proj"] {
                self.affine(&name(&format!("self_attn.{part}")), [hidden, hidden], at);
            }
            self.plain(&name("self_attn.k_proj.weight"), [hidden, hidden], at);
            self.affine(&name("fc1"), [inner, hidden], at);
            self.affine(&name("fc2"), [hidden, inner], at);
            for part in ["self_attn_layer_norm", "final_layer_norm"] {
                self.layer_norm(&name(part), hidden, at);
            }
        }
        self.layer_norm("audio.layer_norm", hidden, at);
        let inputs = hidden * pool.stack();
        for (stem, inputs) in [("linear_1", inputs), ("linear_2", out)] {
            let (stem, shape) = (format!("audio_aligner.{stem}"), [out, inputs]);
            if projector_bias {
                self.affine(&stem, shape, Component::AudioAligner);
            } else {
                self.plain(&format!("{stem}.weight"), shape, Component::AudioAligner);
            }
        }
        for name in ["audio_start", "audio_end"] {
            self.norm(name, out, Component::AudioDelimiters);
        }
    }

    /// The weights and the biases of a norm.
    fn layer_norm(&mut self, stem: &str, width: usize, component: Component) {
        self.norm(&format!("{stem}.weight"), width, component);
        self.norm(&format!("{stem}.bias"), width, component);
    }

    /// A matrix that is never quantised, and its bias.
    fn affine(&mut self, stem: &str, [out, inner]: [usize; 2], component: Component) {
        self.plain(&format!("{stem}.weight"), [out, inner], component);
        self.norm(&format!("{stem}.bias"), out, component);
    }
}
