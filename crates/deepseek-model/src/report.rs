//! The plan of a model as text for people and as JSON for programs.

mod json;

use std::fmt;

use deepseek_attn::{Choice, Filter, Keys, Role};
use deepseek_core::Level;
use deepseek_moe::RouteBy;

use crate::bill::{Flops, Phase, Tally, Weights};
use crate::block::BlockPlan;
use crate::config::{Config, DsparkConfig, EngramConfig, Family, Numbers, Storage};
use crate::inventory::Component;
use crate::plan::{Budget, Plan, PlanError, SequenceMemory};

/// The levels that differ in memory; `full` keeps its rows as `cache` does.
pub const LEVELS: [Level; 3] = [Level::Exact, Level::Cache, Level::Released];

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
    plan: Plan,
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
        let memory = LEVELS
            .into_iter()
            .map(|level| Ok((level.name(), Plan::new(config, level, budget)?.sequence())))
            .collect::<Result<_, PlanError>>()?;
        Ok(Self {
            plan: Plan::new(config, Level::Exact, budget)?,
            weights: Weights::of(config, config.storage),
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

    fn config(&self) -> &Config {
        self.plan.config()
    }

    /// The contexts shown: those that the model reaches, or else all that it reaches.
    fn contexts(&self) -> Vec<(String, usize)> {
        let all = self.config().max_positions;
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

    fn flops(&self, phase: Phase, context: usize) -> Flops {
        Flops::at(&self.plan, &self.weights, phase, context)
    }

    /// The phases shown: where all are alike but for the head, the first alone.
    fn phases(&self) -> &'static [Phase] {
        match self.config().family {
            Family::V4 => &Phase::ALL[..1],
            Family::V41 => &Phase::ALL,
        }
    }

    /// The kinds of layers that occur, and which layers are of each.
    fn kinds(&self) -> Vec<(String, Vec<usize>)> {
        let mut kinds: Vec<(Role, Vec<usize>)> = Vec::new();
        for (index, BlockPlan { role, .. }) in self.plan.layers().iter().enumerate() {
            match kinds.iter_mut().find(|(own, _)| kind(own) == kind(role)) {
                Some((_, layers)) => layers.push(index),
                None => kinds.push((*role, vec![index])),
            }
        }
        if self.config().family == Family::V4 {
            kinds.sort_by_key(|(role, _)| role.ratio);
        }
        let named = kinds.into_iter();
        named.map(|(role, of)| (kind(&role), of)).collect()
    }

    /// The layers of which something holds.
    fn layers(&self, which: impl Fn(&BlockPlan) -> bool) -> Vec<usize> {
        let layers = self.plan.layers().iter().enumerate();
        layers
            .filter_map(|(index, layer)| which(layer).then_some(index))
            .collect()
    }

    /// The n-gram tables, their bytes, and how many of these a token touches.
    fn tables(&self) -> Option<(&EngramConfig, u64, u64)> {
        let engram = self.config().engram.as_ref()?;
        let bytes = self.weights.components[&Component::EngramTables].bytes;
        let row = bytes / engram.rows.iter().sum::<usize>() as u64;
        let touched = engram.layers.len() * (engram.ngram - 1) * engram.heads;
        Some((engram, bytes, touched as u64 * row))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_model(f)?;
        self.write_layers(f)?;
        self.write_parameters(f)?;
        self.write_weights(f)?;
        self.write_memory(f)?;
        self.write_flops(f)?;
        self.write_legend(f)
    }
}

impl Report {
    fn write_model(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Numbers {
            family,
            layers,
            hidden_size,
            heads,
            head_dim,
            index,
            experts,
            window,
            ..
        } = &**self.config();
        let model = family.name();
        writeln!(
            f,
            "model      {model}, {layers} layers, hidden {hidden_size}"
        )?;
        write!(f, "attention  {heads} heads of {head_dim}, window {window}")?;
        match family {
            Family::V4 => writeln!(f)?,
            Family::V41 => writeln!(f, ", top {}", index.topk)?,
        }
        let (top_k, count) = (experts.top_k, experts.count);
        writeln!(f, "experts    {top_k} of {count} and one shared")?;
        let positions = grouped(self.config().max_positions as u64);
        writeln!(f, "context    {positions} tokens at most")?;
        self.write_extras(f)?;
        writeln!(f)
    }

    /// What only some models have.
    fn write_extras(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((engram, bytes, touched)) = self.tables() {
            let rows: Vec<_> = engram
                .rows
                .iter()
                .map(|rows| grouped(*rows as u64))
                .collect();
            let rows = rows.join(" and ");
            writeln!(f, "engram     {rows} rows of {}", engram.head_dim)?;
            let (bytes, touched) = (grouped(bytes), grouped(touched));
            writeln!(
                f,
                "           {bytes} bytes, of which a token touches {touched}"
            )?;
        }
        if let Some(drafter) = &self.config().drafter {
            let DsparkConfig {
                stages,
                block,
                experts,
                top_k,
                ..
            } = drafter;
            writeln!(
                f,
                "drafts     {block} at once, {stages} layers, {top_k} of {experts} experts"
            )?;
        }
        if let Some(vision) = &self.config().vision {
            let (layers, hidden, most) = (vision.layers, vision.hidden, vision.max_tokens);
            let most = grouped(most as u64);
            writeln!(
                f,
                "vision     {layers} layers, hidden {hidden}, an image up to {most} tokens"
            )?;
        }
        if let Some(audio) = &self.config().audio {
            let (layers, hidden, seconds) = (audio.layers, audio.hidden, audio.chunk_seconds);
            let tokens = audio.chunk_tokens();
            writeln!(
                f,
                "audio      {layers} layers, hidden {hidden}, {tokens} tokens for {seconds} s"
            )?;
        }
        Ok(())
    }

    fn write_layers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routed = |by_token| self.layers(|layer| (layer.route == RouteBy::Token) == by_token);
        let rest = [
            ("routed by token", routed(true)),
            ("routed by score", routed(false)),
            ("engram", self.layers(|layer| layer.engram.is_some())),
            ("read by the drafter", self.layers(|layer| layer.tap)),
        ]
        .map(|(name, of)| (name.to_owned(), of));
        writeln!(f, "layers")?;
        for (name, of) in self.kinds().into_iter().chain(rest) {
            if !of.is_empty() {
                writeln!(f, "  {name:<22} {:>4}  {}", of.len(), runs(&of))?;
            }
        }
        let drafter = self.config().drafter.as_ref();
        match (drafter, self.config().mtp_layers, self.config().dspark) {
            (Some(own), ..) => writeln!(f, "  {:<22} {:>4}", "drafts by DSpark", own.stages)?,
            (None, _, true) => writeln!(f, "  {:<22}       left aside", "drafts by DSpark")?,
            (None, 0, false) => {}
            (None, count, false) => writeln!(f, "  {:<22} {count:>4}", "drafts by MTP")?,
        }
        writeln!(f)
    }

    fn write_parameters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weights {
            backbone,
            tables,
            active,
            mtp,
            vision,
            audio,
            ..
        } = self.weights;
        let drafts = match self.config().drafter {
            None => Component::Mtp,
            Some(_) => Component::Drafter,
        };
        let line = |f: &mut fmt::Formatter<'_>, name: &str, count: u64| match count {
            0 => Ok(()),
            count => writeln!(f, "  {name:<16} {:>19}", grouped(count)),
        };
        writeln!(f, "parameters {:>27}", "count")?;
        line(f, "backbone", backbone)?;
        if let [_] = self.phases() {
            line(f, "active per token", active)?;
        }
        line(f, Component::EngramTables.name(), tables)?;
        line(f, drafts.name(), mtp)?;
        line(f, Component::Vision.name(), vision)?;
        line(f, Component::Audio.name(), audio)?;
        if let [_, _, ..] = self.phases() {
            writeln!(f, "active per token")?;
            for phase in self.phases() {
                line(f, phase.name(), self.weights.active_in(*phase))?;
            }
        }
        writeln!(f)
    }

    fn write_weights(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, sum: &Tally| {
            writeln!(
                f,
                "  {name:<17} {:>18} {:>9} {:>9}",
                grouped(sum.bytes),
                human(sum.bytes),
                grouped(sum.tensors)
            )
        };
        writeln!(f, "weights {:>30} {:>19}", "bytes", "tensors")?;
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
            storage(self.config().storage)
        )?;
        if let Some(Files { shards, tensors }) = &self.files {
            let files = if *shards == 1 { "file" } else { "files" };
            line(f, &format!("in {} {files}", grouped(*shards)), tensors)?;
            match (self.config().dspark, *tensors == self.weights.total) {
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
            .map(|(name, _)| format!("{name:>12}"))
            .collect::<String>();
        writeln!(f, "KV cache           {names}")?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, of: &dyn Fn(&SequenceMemory) -> u64| {
            let cells = self
                .memory
                .iter()
                .map(|(_, memory)| format!("{:>12}", human(of(memory))));
            writeln!(f, "  {name:<17}{}", cells.collect::<String>())
        };
        line(f, "each token", &|memory| memory.per_token().round() as u64)?;
        line(f, "fixed", &SequenceMemory::fixed)?;
        for (name, context) in self.contexts() {
            line(f, &format!("{name} tokens"), &|memory| memory.at(context))?;
        }
        writeln!(f)
    }

    /// What the words above mean, as far as this model has what they stand for.
    fn write_legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |word: &str| self.kinds().iter().any(|(kind, _)| kind.starts_with(word));
        let lines = [
            ("window", "attends to the last tokens alone"),
            (
                "dense",
                "and to all compressed rows: 1/N is one for N tokens",
            ),
            (
                "sparse",
                "and to the compressed rows that its indexer chooses",
            ),
            ("full", "makes compressed rows and chooses among them"),
            ("reindex", "chooses anew among the rows of an earlier layer"),
            ("reuse", "attends to the rows that an earlier layer chose"),
        ];
        writeln!(f, "\nlegend")?;
        for (word, text) in lines {
            if has(word) {
                writeln!(f, "  {word:<17} {text}")?;
            }
        }
        let routed = "experts by a table of token ids, or by the router's scores";
        writeln!(f, "  {:<17} {routed}", "routed by")?;
        let active = "parameters that one token is multiplied with";
        writeln!(f, "  {:<17} {active}", "active per token")?;
        let levels = "levels of --numerics; answers of a checkpoint are at released";
        writeln!(f, "  {:<17} {levels}", "exact, released")?;
        let cache = "memory of one conversation, beside the weights, which stay in their files";
        writeln!(f, "  {:<17} {cache}", "KV cache")?;
        writeln!(
            f,
            "  {:<17} kB, MB, GB, TB: steps of 1000; exact bytes with --json",
            "units"
        )
    }

    fn write_flops(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "GFLOP a token    linear attention   indexer     total")?;
        for phase in self.phases() {
            if let [_, _, ..] = self.phases() {
                writeln!(f, "{}", phase.name())?;
            }
            for (name, context) in self.contexts() {
                let flops = self.flops(*phase, context);
                let cells = [flops.linear, flops.core, flops.indexer, flops.total()];
                let cells = cells
                    .map(|count| format!("{:>10.1}", count as f64 / 1e9))
                    .concat();
                writeln!(f, "  {name:<11}{cells}")?;
            }
        }
        Ok(())
    }
}

/// What a layer is, as far as compressed rows go.
fn kind(role: &Role) -> String {
    let ratio = role.ratio;
    let makes = role.produces.map(|making| making.keys);
    match (role.choice, makes) {
        (Choice::None, _) => "window".to_owned(),
        (Choice::All, _) => format!("dense 1/{ratio}"),
        (Choice::Random { k, .. }, _) => format!("random 1/{ratio}, {k}"),
        (Choice::Carried, _) => format!("reuse 1/{ratio}"),
        (Choice::Fresh { .. }, None) => format!("reindex 1/{ratio}"),
        (Choice::Fresh { filter, .. }, Some(Keys::Projected)) => match filter {
            Filter::Keep(_) => format!("full 1/{ratio}, candidates"),
            Filter::Open | Filter::Use => format!("full 1/{ratio}"),
        },
        (Choice::Fresh { k, .. }, Some(_)) => format!("sparse 1/{ratio}, top {k}"),
    }
}

/// A storage as reports name it.
fn storage(storage: Storage) -> &'static str {
    match storage {
        Storage::Released => "FP8, experts FP4",
        Storage::Base => "FP8 with F32 scales",
        Storage::Bf16 => "BF16",
        Storage::F32 => "F32",
        Storage::W8a8 => "INT8",
        Storage::W4a8 => "INT8, experts INT4",
    }
}

/// A number of bytes in three digits and a unit, in steps of a thousand.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

    let mut size = bytes as f64;
    let mut unit = 0;
    // What would be rounded to a thousand is one of the next unit.
    while size >= 999.5 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1000.0, unit + 1);
    }
    let digits = match (unit, size) {
        (0, _) | (_, 99.95..) => 0,
        (_, 9.995..) => 1,
        _ => 2,
    };
    format!("{size:.digits$} {}", UNITS[unit])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_a_unit() {
        for (bytes, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (159_609_485_896, "160 GB"),
            (864_704_792_696, "865 GB"),
            (1_602_325_824_632, "1.60 TB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(human(bytes), want, "{bytes}");
        }
    }
}
