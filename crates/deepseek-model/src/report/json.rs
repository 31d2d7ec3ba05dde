//! The report for programs.

use serde_json::{Map, Value, json};

use super::{Report, kind, storage};
use crate::bill::{Flops, Phase, Tally};
use crate::config::{DsparkConfig, Numbers, SharingConfig};

impl Report {
    /// The same as JSON. Numbers are exact.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let config = self.config();
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
                "bytes_at": at.collect::<Map<_, _>>(),
            });
            ((*name).to_owned(), value)
        });
        let mut report = json!({
            "model_type": config.family.name(),
            "layers": config.ratios.iter().enumerate().map(|(layer, ratio)| json!({
                "ratio": ratio,
                "routing": if layer < config.experts.hash_layers { "token" } else { "score" },
            })).collect::<Vec<_>>(),
            "mtp_layers": config.mtp_layers,
            "dspark": config.dspark || config.drafter.is_some(),
            "parameters": {
                "backbone": self.weights.backbone,
                "mtp": self.weights.mtp,
                "active": self.weights.active,
            },
            "weights": {
                "storage": storage(config.storage),
                "tensors": self.weights.total.tensors,
                "bytes": self.weights.total.bytes,
                "components": components
                    .map(|(component, sum)| (component.name().to_owned(), tally(sum)))
                    .collect::<Map<_, _>>(),
                "dtypes": dtypes
                    .map(|(dtype, sum)| (dtype.name().to_owned(), tally(sum)))
                    .collect::<Map<_, _>>(),
            },
            "files": self.files.map(|files| json!({
                "shards": files.shards,
                "tensors": files.tensors.tensors,
                "bytes": files.tensors.bytes,
            })),
            "memory": memory.collect::<Map<_, _>>(),
            "flops": self.flops_by_context(Phase::Decode),
        });
        if let Some(sharing) = &config.sharing {
            self.add_shared(&mut report, sharing);
        }
        self.add_extras(&mut report);
        report
    }

    fn flops_by_context(&self, phase: Phase) -> Value {
        let flops = self.contexts().into_iter().map(|(_, context)| {
            let Flops {
                linear,
                core,
                indexer,
            } = self.flops(phase, context);
            let value = json!({ "linear": linear, "core": core, "indexer": indexer });
            (context.to_string(), value)
        });
        Value::Object(flops.collect())
    }

    /// What there is to say where layers share rows: whose rows a layer reads, who chose them, and
    /// what a token of a prompt takes.
    fn add_shared(&self, report: &mut Value, sharing: &SharingConfig) {
        let last = |sources: &[usize], layer: usize| {
            sources.iter().rev().find(|own| **own <= layer).copied()
        };
        for (index, layer) in self.plan.layers().iter().enumerate() {
            let reads = layer.role.source.is_some();
            let of = |sources| last(sources, index).filter(|_| reads);
            let entry = &mut report["layers"][index];
            entry["kind"] = json!(kind(&layer.role));
            entry["rows_of"] = json!(of(&sharing.kv_sources));
            entry["chosen_by"] = json!(of(&sharing.index_sources));
            entry["engram"] = json!(layer.engram.is_some());
            entry["drafter_reads"] = json!(layer.tap);
        }
        let prefill = |of: &dyn Fn(Phase) -> Value| {
            let [_, full, replay] = Phase::ALL.map(of);
            json!({ "full": full, "replay": replay })
        };
        report["parameters"]["prefill"] = prefill(&|phase| json!(self.weights.active_in(phase)));
        report["prefill_flops"] = prefill(&|phase| self.flops_by_context(phase));
    }

    /// N-gram tables, drafter, images and audio.
    fn add_extras(&self, report: &mut Value) {
        let Numbers {
            drafter,
            vision,
            audio,
            ..
        } = &**self.config();
        if let Some((engram, bytes, touched)) = self.tables() {
            report["parameters"]["engram_tables"] = json!(self.weights.tables);
            report["engram"] = json!({
                "layers": engram.layers,
                "rows": engram.rows,
                "row_width": engram.head_dim,
                "bytes": bytes,
                "bytes_touched_per_token": touched,
            });
        }
        if let Some(drafter) = drafter {
            let DsparkConfig {
                stages,
                block,
                taps,
                experts,
                top_k,
                ..
            } = drafter;
            report["drafter"] = json!({
                "layers": stages,
                "block": block,
                "reads_layers": taps,
                "experts": experts,
                "experts_per_token": top_k,
            });
        }
        if let Some(vision) = vision {
            report["parameters"]["vision"] = json!(self.weights.vision);
            report["vision"] = json!({
                "layers": vision.layers,
                "hidden": vision.hidden,
                "tokens_max": vision.max_tokens,
            });
        }
        if let Some(audio) = audio {
            report["parameters"]["audio"] = json!(self.weights.audio);
            report["audio"] = json!({
                "layers": audio.layers,
                "hidden": audio.hidden,
                "chunk_seconds": audio.chunk_seconds,
                "chunk_tokens": audio.chunk_tokens(),
            });
        }
    }
}
