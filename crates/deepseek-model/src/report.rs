//! The plan of a model as text for people and as JSON for programs.

use std::fmt;

use deepseek_core::Numerics;
use serde_json::{Value, json};

use crate::bill::{Flops, Tally, Weights};
use crate::config::{Config, SPARSE_RATIO, Storage};
use crate::plan::{Budget, Plan, PlanError, SequenceMemory};

/// The levels of rounding that are offered, by name.
pub const NUMERICS: [(&str, Numerics); 3] = [
    ("exact", Numerics::EXACT),
    ("cache", Numerics::CACHE),
    ("released", Numerics::RELEASED),
];

/// The contexts at which memory and arithmetic are shown, as far as the model reaches.
const CONTEXTS: [(&str, usize); 3] = [("4K", 4 << 10), ("128K", 128 << 10), ("1M", 1 << 20)];

/// What the files of a checkpoint hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// Files with tensors.
    pub shards: u64,
    /// Tensors, and the bytes of their elements.
    pub tensors: Tally,
}

/// What `deepseek inspect` shows. Its [`Display`](fmt::Display) is the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    config: Config,
    weights: Weights,
    memory: Vec<(&'static str, SequenceMemory)>,
    files: Option<Files>,
}

impl Report {
    /// Reports on the model of `config`, with rings as `budget` asks for them.
    ///
    /// # Errors
    /// What [`Plan::new`] says.
    pub fn new(config: &Config, budget: Budget) -> Result<Self, PlanError> {
        let memory = NUMERICS
            .into_iter()
            .map(|(name, numerics)| Ok((name, Plan::new(config, numerics, budget)?.sequence())))
            .collect::<Result<_, PlanError>>()?;
        let weights = Weights::of(config, config.storage);
        Ok(Self {
            config: config.clone(),
            weights,
            memory,
            files: None,
        })
    }

    /// Adds what the files hold.
    #[must_use]
    pub fn with_files(self, files: Files) -> Self {
        Self {
            files: Some(files),
            ..self
        }
    }

    /// The contexts shown: those that the model reaches, or else all that it reaches.
    fn contexts(&self) -> Vec<(String, usize)> {
        let all = self.config.max_positions;
        let mut contexts: Vec<_> = CONTEXTS
            .into_iter()
            .filter(|(_, context)| *context <= all)
            .map(|(name, context)| (name.to_owned(), context))
            .collect();
        if contexts.is_empty() {
            contexts.push((grouped(all as u64), all));
        }
        contexts
    }

    fn flops(&self, context: usize) -> Flops {
        Flops::at(&self.config, self.weights.active, context)
    }

    /// The kinds of layers that occur, and which layers are of each.
    fn kinds(&self) -> Vec<(String, Vec<usize>)> {
        let ratios = &self.config.ratios;
        let mut kinds: Vec<u32> = ratios.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let of = |ratio: u32| {
            (0..ratios.len())
                .filter(|layer| ratios[*layer] == ratio)
                .collect()
        };
        let name = |ratio: u32| match ratio {
            0 => "window".to_owned(),
            SPARSE_RATIO => format!("sparse 1/{ratio}, top {}", self.config.index.topk),
            _ => format!("dense 1/{ratio}"),
        };
        kinds
            .into_iter()
            .map(|ratio| (name(ratio), of(ratio)))
            .collect()
    }

    /// The same as JSON. Numbers are exact.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let tally = |tally: &Tally| json!({ "tensors": tally.tensors, "bytes": tally.bytes });
        let components = self.weights.components.iter();
        let dtypes = self.weights.dtypes.iter();
        let memory = self.memory.iter().map(|(name, memory)| {
            let at = self
                .contexts()
                .into_iter()
                .map(|(_, context)| (context.to_string(), json!(memory.at(context))));
            let value = json!({
                "bytes_per_token": memory.per_token(),
                "fixed_bytes": memory.fixed(),
                "bytes_at": at.collect::<serde_json::Map<_, _>>(),
            });
            ((*name).to_owned(), value)
        });
        let flops = self.contexts().into_iter().map(|(_, context)| {
            let Flops {
                linear,
                core,
                indexer,
            } = self.flops(context);
            (
                context.to_string(),
                json!({ "linear": linear, "core": core, "indexer": indexer }),
            )
        });
        json!({
            "model_type": "deepseek_v4",
            "layers": self.config.ratios.iter().enumerate().map(|(layer, ratio)| json!({
                "ratio": ratio,
                "routing": if layer < self.config.experts.hash_layers { "token" } else { "score" },
            })).collect::<Vec<_>>(),
            "mtp_layers": self.config.mtp_layers,
            "dspark": self.config.dspark,
            "parameters": {
                "backbone": self.weights.backbone,
                "mtp": self.weights.mtp,
                "active": self.weights.active,
            },
            "weights": {
                "storage": storage(self.config.storage),
                "tensors": self.weights.total.tensors,
                "bytes": self.weights.total.bytes,
                "components": components
                    .map(|(component, sum)| (component.name().to_owned(), tally(sum)))
                    .collect::<serde_json::Map<_, _>>(),
                "dtypes": dtypes
                    .map(|(dtype, sum)| (dtype.name().to_owned(), tally(sum)))
                    .collect::<serde_json::Map<_, _>>(),
            },
            "files": self.files.map(|files| json!({
                "shards": files.shards,
                "tensors": files.tensors.tensors,
                "bytes": files.tensors.bytes,
            })),
            "memory": memory.collect::<serde_json::Map<_, _>>(),
            "flops": flops.collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_model(f)?;
        self.write_weights(f)?;
        self.write_memory(f)?;
        self.write_flops(f)
    }
}

impl Report {
    fn write_model(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            layers,
            hidden_size,
            heads,
            head_dim,
            experts,
            window,
            ..
        } = self.config;
        writeln!(
            f,
            "model      deepseek_v4, {layers} layers, hidden {hidden_size}"
        )?;
        writeln!(f, "attention  {heads} heads of {head_dim}, window {window}")?;
        writeln!(
            f,
            "experts    {} of {} and one shared",
            experts.each, experts.count
        )?;
        writeln!(
            f,
            "positions  {}",
            grouped(self.config.max_positions as u64)
        )?;
        writeln!(f)?;
        let hashed = experts.hash_layers;
        let routes = [
            ("routed by token", 0..hashed),
            ("routed by score", hashed..layers),
        ]
        .map(|(name, range)| (name.to_owned(), range.collect::<Vec<_>>()));
        writeln!(f, "layers")?;
        for (name, of) in self.kinds().into_iter().chain(routes) {
            if !of.is_empty() {
                writeln!(f, "  {name:<22} {:>4}  {}", of.len(), runs(&of))?;
            }
        }
        match (self.config.mtp_layers, self.config.dspark) {
            (_, true) => writeln!(f, "  {:<22}       left aside", "drafts by DSpark")?,
            (0, false) => {}
            (count, false) => writeln!(f, "  {:<22} {count:>4}", "drafts by MTP")?,
        }
        writeln!(f)?;
        writeln!(f, "parameters {:>27}", "count")?;
        writeln!(
            f,
            "  {:<16} {:>19}",
            "backbone",
            grouped(self.weights.backbone)
        )?;
        writeln!(
            f,
            "  {:<16} {:>19}",
            "active per token",
            grouped(self.weights.active)
        )?;
        if self.weights.mtp > 0 {
            writeln!(f, "  {:<16} {:>19}", "mtp", grouped(self.weights.mtp))?;
        }
        writeln!(f)
    }

    fn write_weights(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, sum: &Tally| {
            writeln!(
                f,
                "  {name:<17} {:>18} {:>9}",
                grouped(sum.bytes),
                grouped(sum.tensors)
            )
        };
        writeln!(f, "weights {:>30} {:>9}", "bytes", "tensors")?;
        for (component, sum) in &self.weights.components {
            line(f, component.name(), sum)?;
        }
        line(f, "total", &self.weights.total)?;
        writeln!(f, "of which")?;
        for (dtype, sum) in &self.weights.dtypes {
            line(f, dtype.name(), sum)?;
        }
        writeln!(
            f,
            "storage: {}, by the config",
            storage(self.config.storage)
        )?;
        if let Some(Files { shards, tensors }) = &self.files {
            let files = if *shards == 1 { "file" } else { "files" };
            line(f, &format!("in {} {files}", grouped(*shards)), tensors)?;
            match (self.config.dspark, *tensors == self.weights.total) {
                (true, _) => writeln!(f, "  the drafter among them")?,
                (false, true) => writeln!(f, "  as the config has it")?,
                (false, false) => writeln!(f, "  not as the config has it")?,
            }
        }
        writeln!(f)
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .memory
            .iter()
            .map(|(name, _)| format!("{name:>17}"))
            .collect::<String>();
        writeln!(f, "bytes of a sequence{names}")?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, of: &dyn Fn(&SequenceMemory) -> u64| {
            let cells = self
                .memory
                .iter()
                .map(|(_, memory)| format!("{:>17}", grouped(of(memory))));
            writeln!(f, "  {name:<17}{}", cells.collect::<String>())
        };
        line(f, "each token", &|memory| memory.per_token().round() as u64)?;
        line(f, "fixed", &SequenceMemory::fixed)?;
        for (name, context) in self.contexts() {
            line(f, &format!("at {name}"), &|memory| memory.at(context))?;
        }
        writeln!(f)
    }

    fn write_flops(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "GFLOP a token    linear attention   indexer     total")?;
        for (name, context) in self.contexts() {
            let flops = self.flops(context);
            let cells = [flops.linear, flops.core, flops.indexer, flops.total()];
            let cells = cells
                .map(|count| format!("{:>10.1}", count as f64 / 1e9))
                .concat();
            writeln!(f, "  {:<11}{cells}", format!("at {name}"))?;
        }
        Ok(())
    }
}

/// A storage as reports name it.
fn storage(storage: Storage) -> &'static str {
    match storage {
        Storage::Released => "FP8, experts FP4",
        Storage::Base => "FP8 with F32 scales",
        Storage::Bf16 => "BF16",
        Storage::F32 => "F32",
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Ascending numbers as runs of equal steps: `0-2, 5, 8, 10 .. 42`.
fn runs(numbers: &[usize]) -> String {
    let mut parts = Vec::new();
    let mut rest = numbers;
    while let [first, tail @ ..] = rest {
        let step = tail.first().map_or(1, |next| next - first);
        let count = 1 + rest
            .windows(2)
            .take_while(|pair| pair[1] - pair[0] == step)
            .count();
        let last = rest[count - 1];
        let taken = match (count, step) {
            (1, _) => (first.to_string(), 1),
            (_, 1) => (format!("{first}-{last}"), count),
            (2, _) => (first.to_string(), 1),
            _ => (format!("{first}, {} .. {last}", first + step), count),
        };
        parts.push(taken.0);
        rest = &rest[taken.1..];
    }
    parts.join(", ")
}
