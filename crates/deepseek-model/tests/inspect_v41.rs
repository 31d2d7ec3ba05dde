//! The bill of V4.1: of the released model by its config alone, and of small ones by their files.

#[expect(dead_code, reason = "the others refuse configs")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use deepseek_attn::{
    Choice, Compression, Filter, Keys, Producer, Role, RopeSet, SourceConfig, SourceId,
};
use deepseek_core::operands::Blocks;
use deepseek_core::weights::{Checkpoint, Dtype};
use deepseek_core::{Fp4Scale, Numerics, RowFormat};
use deepseek_engram::{Addresses, TablesConfig};
use deepseek_model::bill::{Flops, Phase, Tally, Weights};
use deepseek_model::config::Storage;
use deepseek_model::inventory::{Component, TensorSpec, inventory};
use deepseek_model::{Budget, Config, Plan, Prefill, Report};
use deepseek_moe::RouteBy;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::common::{changed, parse, released};

/// The config of the published model.
fn flash() -> Config {
    parse(&released())
}

fn specs(keep: impl Fn(&TensorSpec) -> bool) -> Vec<TensorSpec> {
    let config = flash();
    let specs = inventory(&config, Storage::Released);
    specs.filter(keep).collect()
}

fn bytes(specs: &[TensorSpec]) -> u64 {
    specs.iter().map(TensorSpec::bytes).sum()
}

fn plan(numerics: Numerics, prefill: Prefill) -> Plan {
    let budget = Budget {
        prefill,
        ..Budget::default()
    };
    Plan::new(&flash(), numerics, budget).expect("the budget is sound")
}

/// The published totals, and the tensors of each type (`docs/models/deepseek-v41.md` §2.1).
#[test]
fn the_published_totals_are_met_to_the_byte() {
    let weights = Weights::of(&flash(), Storage::Released);
    let total = Tally {
        tensors: 96_085,
        bytes: 510_286_023_000,
    };
    assert_eq!(weights.total, total);
    let counts: BTreeMap<&str, u64> = weights
        .dtypes
        .iter()
        .map(|(dtype, sum)| (dtype.name(), sum.tensors))
        .collect();
    let want = [
        ("BF16", 520),
        ("F32", 387),
        ("F8_E4M3", 357),
        ("F8_E8M0", 47_589),
        ("I8", 47_232),
    ];
    assert_eq!(counts, BTreeMap::from(want));
}

/// The bytes of each part (§2.4).
#[test]
fn every_part_has_its_published_bytes() {
    let of = |components: &[Component]| bytes(&specs(|spec| components.contains(&spec.component)));
    let dense = specs(|spec| {
        use Component::{Attention, HyperConnections, Norms, Routers, SharedExperts as Shared};
        spec.layer.is_some()
            && [Attention, HyperConnections, Norms, Routers, Shared].contains(&spec.component)
    });
    assert_eq!(bytes(&dense), 6_802_205_120);
    assert_eq!(of(&[Component::RoutedExperts]), 288_777_830_400);
    assert_eq!(of(&[Component::Compressors]), 36_704_256);
    assert_eq!(of(&[Component::Indexers]), 45_130_752);
    assert_eq!(of(&[Component::EngramTables]), 202_758_032_400);
    assert_eq!(of(&[Component::Engram]), 315_043_840);
    assert_eq!(of(&[Component::Embedding]), 1_323_827_200);
    assert_eq!(of(&[Component::Head]), 1_323_827_200);
    assert_eq!(bytes(&specs(|spec| spec.name == "norm.weight")), 10_240);
    assert_eq!(of(&[Component::Vision]), 823_685_120);
    assert_eq!(of(&[Component::Aligner]), 146_821_120);
    assert_eq!(of(&[Component::Delimiters]), 30_720);
    let drafter = |routed: bool| {
        specs(|spec| {
            spec.component == Component::Drafter && spec.name.contains(".experts.") == routed
        })
    };
    assert_eq!(bytes(&drafter(false)), 713_428_872);
    assert_eq!(bytes(&drafter(true)), 7_219_445_760);
    let streamed = of(&[Component::RoutedExperts, Component::EngramTables]);
    assert_eq!(510_286_023_000 - streamed, 18_750_160_200);
}

/// The tensors of each kind of layer (§2.1), and the runs of an expert's bytes.
#[test]
fn every_layer_has_its_published_tensors() {
    let all = specs(|spec| spec.layer.is_some());
    let counts: Vec<usize> = (0..40)
        .map(|layer| all.iter().filter(|spec| spec.layer == Some(layer)).count())
        .collect();
    for (layer, count) in counts.into_iter().enumerate() {
        let want = match layer {
            1 => 2_340,
            2 | 8 => 2_342,
            14 => 2_348,
            20 => 2_341,
            24 | 28 | 32 | 36 => 2_337,
            _ => 2_334,
        };
        assert_eq!(count, want, "layer {layer}");
    }
    let expert = |suffix| {
        specs(|spec| {
            spec.name.starts_with("layers.7.ffn.experts.9.") && spec.name.ends_with(suffix)
        })
    };
    assert_eq!(bytes(&expert(".scale")), 1_105_920);
    assert_eq!(bytes(&expert(".weight")), 17_694_720);
}

/// Lines of the tables of §2.2.
#[test]
fn the_tensors_have_their_published_shapes() {
    let specs: BTreeMap<String, TensorSpec> = specs(|_| true)
        .into_iter()
        .map(|spec| (spec.name.clone(), spec))
        .collect();
    use Dtype::{Bf16, F8E4m3, F8E8m0, F32, I8};
    let want: [(&str, Dtype, &[usize]); 34] = [
        ("embed.weight", Bf16, &[129_280, 5120]),
        ("head.weight", Bf16, &[129_280, 5120]),
        ("image_newline", Bf16, &[5120]),
        ("layers.0.hc_attn_fn", F32, &[24, 20_480]),
        ("layers.0.hc_ffn_scale", F32, &[3]),
        ("layers.0.attn.wq_a.scale", F8E8m0, &[40, 160]),
        ("layers.0.attn.wq_b.weight", F8E4m3, &[32_768, 1280]),
        ("layers.0.attn.wkv.scale", F8E8m0, &[16, 160]),
        ("layers.0.attn.wo_a.scale", F8E8m0, &[256, 128]),
        ("layers.0.attn.wo_b.weight", F8E4m3, &[5120, 8192]),
        ("layers.0.attn.attn_sink", F32, &[64]),
        ("layers.0.ffn.gate.bias_vl", F32, &[384]),
        ("layers.0.ffn.shared_experts.w2.scale", F8E8m0, &[160, 72]),
        ("layers.0.ffn.experts.383.w1.weight", I8, &[2304, 2560]),
        ("layers.0.ffn.experts.383.w2.scale", F8E8m0, &[5120, 72]),
        ("layers.2.attn.compressor.wkv.weight", Bf16, &[512, 5120]),
        ("layers.14.attn.compressor.wgate.weight", Bf16, &[512, 5120]),
        ("layers.20.attn.compressor.norm.weight", Bf16, &[512]),
        ("layers.20.attn.indexer.wk.weight", Bf16, &[128, 512]),
        ("layers.20.attn.indexer.k_norm.weight", Bf16, &[128]),
        ("layers.36.attn.indexer.wq_b.scale", F8E8m0, &[128, 40]),
        (
            "layers.36.attn.indexer.weights_proj.weight",
            Bf16,
            &[32, 5120],
        ),
        ("layers.1.engram.embed.weight", F8E4m3, &[384_006_168, 256]),
        ("layers.14.engram.embed.scale", F8E8m0, &[384_016_682, 8]),
        ("layers.14.engram.wkv.scale", F8E8m0, &[800, 192]),
        ("layers.1.engram.k_weight", Bf16, &[4, 5120]),
        ("mtp.0.main_proj.weight", F8E4m3, &[5120, 15_360]),
        ("mtp.1.ffn.gate.weight", Bf16, &[128, 5120]),
        ("mtp.2.markov_head.head.weight", Bf16, &[129_280, 256]),
        ("mtp.2.confidence_head.proj.weight", Bf16, &[1, 5376]),
        ("vision.patch_embed.proj.weight", Bf16, &[1024, 588]),
        ("vision.blocks.31.attn.wqkv.bias", Bf16, &[3072]),
        ("vision.blocks.31.mlp.w1.weight", Bf16, &[5632, 1024]),
        ("aligner.w1.weight", Bf16, &[5120, 9216]),
    ];
    for (name, dtype, shape) in want {
        let spec = specs.get(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((spec.dtype, &*spec.shape), (dtype, shape), "{name}");
    }
    for absent in [
        "hc_head_fn",
        "layers.2.attn.compressor.ape",
        "layers.3.attn.compressor.wkv.weight",
        "layers.20.attn.compressor.wgate.weight",
        "layers.24.attn.indexer.wk.weight",
        "layers.0.ffn.gate.tid2eid",
        "mtp.0.norm.weight",
        "mtp.2.hc_head_fn",
        "vision.blocks.0.mlp.w1.bias",
    ] {
        assert!(!specs.contains_key(absent), "{absent}");
    }
}

/// Parameters in billions, with as many digits as §1.4 has.
#[test]
fn the_parameters_are_as_published() {
    let weights = Weights::of(&flash(), Storage::Released);
    let billions = |count: u64| (count + 500_000_000) / 1_000_000_000;
    let tenths = |count: u64| (count + 50_000_000) / 100_000_000;
    assert_eq!(billions(weights.backbone), 552);
    assert_eq!([weights.tables, weights.mtp].map(tenths), [1966, 142]);
    let hundredths = |count: u64| (count + 5_000_000) / 10_000_000;
    assert_eq!(hundredths(weights.vision), 49);
    let active = Phase::ALL.map(|phase| hundredths(weights.active_in(phase)));
    // A prompt that runs through all layers lacks the head of decoding, and nothing else.
    assert_eq!(active, [1613, 1547, 790]);
    assert_eq!(weights.active - weights.active_full, 129_280 * 5120);
}

/// The table of §1.3.
#[test]
fn a_plan_says_what_each_layer_is() {
    let plan = plan(Numerics::EXACT, Prefill::Full);
    let blocks = Blocks {
        size: 8,
        keep: 2048,
    };
    for (index, layer) in plan.layers().iter().enumerate() {
        let (source, ratio) = match index {
            0 | 1 => (None, 0),
            2..=7 => (Some(SourceId(0)), 2),
            8..=13 => (Some(SourceId(1)), 2),
            14..=19 => (Some(SourceId(2)), 2),
            _ => (Some(SourceId(3)), 1),
        };
        let compression = match index {
            2 | 8 | 14 => Some(Compression::Gated {
                bias: false,
                overlap: false,
            }),
            20 => Some(Compression::Each),
            _ => None,
        };
        let filter = match index {
            2 | 8 | 14 => Some(Filter::Open),
            20 => Some(Filter::Keep(blocks)),
            24 | 28 | 32 | 36 => Some(Filter::Use),
            _ => None,
        };
        let want = Role {
            source,
            ratio,
            produces: compression.map(|compression| Producer {
                compression,
                keys: Keys::Projected,
            }),
            choice: match (source, filter) {
                (None, _) => Choice::None,
                (Some(_), None) => Choice::Carried,
                (Some(_), Some(filter)) => Choice::Fresh { k: 512, filter },
            },
            rope: match source {
                None => RopeSet::Window,
                Some(_) => RopeSet::Compressed,
            },
        };
        assert_eq!(layer.role, want, "layer {index}");
        assert_eq!(layer.route, RouteBy::Score { media: true });
        let table = [1, 14].iter().position(|own| *own == index);
        assert_eq!(layer.engram, table, "layer {index}");
        assert_eq!(layer.tap, index >= 37, "layer {index}");
    }
    let sources = [(2, true), (2, true), (2, true), (1, true)];
    let kept = |source: &SourceConfig| (source.ratio, source.keys != Keys::None);
    assert_eq!(plan.sources().iter().map(kept).collect::<Vec<_>>(), sources);
    let (drafter, stage) = plan.dspark().expect("the release has a drafter");
    assert_eq!((drafter.stages, stage.role), (3, Role::WINDOW));
    assert_eq!((plan.draft_layers(), plan.mtp()), (3, None));
}

#[test]
fn a_prompt_is_cut_at_the_last_source_if_asked() {
    assert_eq!(plan(Numerics::EXACT, Prefill::Full).cut(), None);
    assert_eq!(plan(Numerics::EXACT, Prefill::Replay).cut(), Some(20));
}

/// Rows as §7.1 packs them, and the growth of a sequence in §8.1.
#[test]
fn a_token_adds_the_published_bytes() {
    let released = plan(Numerics::RELEASED, Prefill::Full);
    let window = RowFormat::Fp8 {
        block: 32,
        tail: 0,
        tail_bytes: 2,
    };
    let entry = RowFormat::Fp4 {
        block: 16,
        scale: Fp4Scale::E4m3,
    };
    let key = RowFormat::Fp4 {
        block: 32,
        scale: Fp4Scale::E8m0,
    };
    let formats = (
        released.window_format(),
        released.entry_format(),
        released.key_format(),
    );
    assert_eq!(formats, (window, entry, key));
    let bytes = (
        window.row_bytes(512),
        entry.row_bytes(512),
        key.row_bytes(128),
    );
    assert_eq!(bytes, (528, 288, 68));
    let memory = released.sequence();
    assert_eq!(memory.per_token(), 890.0);
    let mega = |context: usize| (memory.rows(context) + 500_000) / 1_000_000;
    assert_eq!([32 << 10, 128 << 10, 1 << 20].map(mega), [29, 117, 933]);
    assert_eq!(memory.rows(4 << 10), 890 * 4096);
    let cache = plan(Numerics::CACHE, Prefill::Full);
    assert_eq!(cache.sequence().per_token(), 890.0);
    let bf16 = Numerics {
        bf16: true,
        ..Numerics::EXACT
    };
    assert_eq!(plan(bf16, Prefill::Full).sequence().per_token(), 3200.0);
}

/// The last positions of a prompt wait as 32-bit floats: four streams, and a share of each.
#[test]
fn a_replay_keeps_the_streams_of_a_window() {
    let kept = |prefill| plan(Numerics::RELEASED, prefill).sequence().replay;
    assert_eq!(kept(Prefill::Full), 0);
    assert_eq!(kept(Prefill::Replay), (128 + 16) * (4 * 5120 + 4) * 4);
}

/// GFLOP of a token in tenths: linear, core, indexer (§8.1).
#[test]
fn a_token_takes_the_published_arithmetic() {
    let plan = plan(Numerics::EXACT, Prefill::Full);
    let weights = Weights::of(&flash(), Storage::Released);
    let check = |phase: Phase, context: usize, want: [u64; 3]| {
        let flops = Flops::at(&plan, &weights, phase, context);
        let tenths = |count: u64| (count + 50_000_000) / 100_000_000;
        let found = [flops.linear, flops.core, flops.indexer].map(tenths);
        assert_eq!(found, want, "{phase:?} {context}");
    };
    check(Phase::Decode, 4 << 10, [323, 32, 2]);
    check(Phase::Decode, 32 << 10, [323, 32, 12]);
    check(Phase::Decode, 128 << 10, [323, 32, 32]);
    check(Phase::Decode, 1 << 20, [323, 32, 220]);
    let replay = Phase::Prefill(Prefill::Replay);
    check(replay, 128 << 10, [158, 15, 16]);
    check(replay, 1 << 20, [158, 15, 129]);
    check(Phase::Prefill(Prefill::Full), 1 << 20, [309, 32, 220]);

    let all = json!({ "text_config": { "candidate_source_layer_id": "-" } });
    let open = parse(&changed(released(), &all));
    let open = Plan::new(&open, Numerics::EXACT, Budget::default()).expect("sound");
    let flops = Flops::at(&open, &weights, Phase::Decode, 1 << 20);
    assert_eq!(flops.indexer, 8192 * 13 * (1 << 19));
}

/// Rows of the tables by the config and by the hashes, and the bytes of a token by both.
#[test]
fn the_tables_are_those_of_the_hashes() {
    let config = flash();
    let engram = config.engram.as_ref().expect("the release has tables");
    let shape = TablesConfig {
        layers: engram.layers.clone(),
        max_ngram: engram.ngram,
        heads: engram.heads,
        head_dim: engram.head_dim,
        vocab_size: engram.vocabulary as u64,
        pad: engram.pad,
        compressed_vocab: engram.compressed as u32,
    };
    let rows: Vec<usize> = Addresses::new(&shape)
        .tables()
        .iter()
        .map(|table| table.rows as usize)
        .collect();
    assert_eq!(engram.rows, rows);
    let report = Report::new(&config, Budget::default()).expect("sound");
    let touched = &report.to_json()["engram"]["bytes_touched_per_token"];
    assert_eq!(*touched, 2 * shape.token_bytes());
    assert_eq!(shape.token_bytes(), 24 * 264);
}

#[track_caller]
fn check_text(report: &Report, want: &Expect) {
    want.assert_eq(&report.to_string());
}

#[test]
fn the_report_on_flash() {
    let report = Report::new(&flash(), Budget::default()).expect("sound");
    check_text(
        &report,
        &expect![[r#"
            model      deepseek_v41, 40 layers, hidden 5120
            attention  64 heads of 512, window 128, top 512
            experts    6 of 384 and one shared
            context    1,048,576 tokens at most
            engram     384,006,168 and 384,016,682 rows of 256
                       202,758,032,400 bytes, of which a token touches 12,672
            drafts     5 at once, 3 layers, 3 of 128 experts
            vision     32 layers, hidden 1024, an image up to 1,024 tokens

            layers
              window                    2  0-1
              full 1/2                  3  2, 8 .. 14
              reuse 1/2                15  3-7, 9-13, 15-19
              full 1/1, candidates      1  20
              reuse 1/1                15  21-23, 25-27, 29-31, 33-35, 37-39
              reindex 1/1               4  24, 28 .. 36
              routed by score          40  0-39
              engram                    2  1, 14
              read by the drafter       3  37-39
              drafts by DSpark          3

            parameters                       count
              backbone             551,880,835,184
              engram tables        196,613,849,600
              draft head            14,225,362,530
              vision                   485,268,480
            active per token
              decode                16,129,982,464
              prefill, full         15,468,068,864
              prefill, replay        7,895,220,224

            weights                          bytes             tensors
              embedding              1,323,827,200   1.32 GB         1
              attention              5,069,578,240   5.07 GB       440
              compressors               36,704,256   36.7 MB        11
              indexers                  45,130,752   45.1 MB        32
              routers                  157,409,280    157 MB       120
              shared experts         1,416,960,000   1.42 GB       240
              routed experts       288,777,830,400    289 GB    92,160
              engram tables        202,758,032,400    203 GB         4
              engram                   315,043,840    315 MB         8
              hyper-connections        157,295,040    157 MB       240
              norms                        972,800    973 kB       161
              head                   1,323,827,200   1.32 GB         1
              draft head             7,932,874,632   7.93 GB     2,401
              vision                   823,685,120    824 MB       259
              aligner                  146,821,120    147 MB         4
              image delimiters              30,720   30.7 kB         3
              total                510,286,023,000    510 GB    96,085
            of which
              F32                      169,229,128    169 MB       387
              BF16                   3,952,883,712   3.95 GB       520
              I8                   278,585,671,680    279 GB    47,232
              F8_E4M3              204,015,223,296    204 GB       357
              F8_E8M0               23,563,015,184   23.6 GB    47,589
            storage: FP8, experts FP4, by the config

            KV cache                  exact       cache    released
              each token            6.40 kB       890 B       890 B
              fixed                 58.0 MB     15.1 MB     15.1 MB
              4K tokens             84.2 MB     18.8 MB     18.8 MB
              128K tokens            897 MB      132 MB      132 MB
              1M tokens             6.77 GB      948 MB      948 MB

            GFLOP a token    linear attention   indexer     total
            decode
              4K               32.3       3.2       0.2      35.7
              128K             32.3       3.2       3.2      38.7
              1M               32.3       3.2      22.0      57.5
            prefill, full
              4K               30.9       3.2       0.2      34.4
              128K             30.9       3.2       3.2      37.4
              1M               30.9       3.2      22.0      56.2
            prefill, replay
              4K               15.8       1.5       0.1      17.4
              128K             15.8       1.5       1.6      18.9
              1M               15.8       1.5      12.9      30.2

            legend
              window            attends to the last tokens alone
              full              makes compressed rows and chooses among them
              reindex           chooses anew among the rows of an earlier layer
              reuse             attends to the rows that an earlier layer chose
              routed by         experts by a table of token ids, or by the router's scores
              active per token  parameters that one token is multiplied with
              exact, released   levels of --numerics; answers of a checkpoint are at released
              KV cache          memory of one conversation, beside the weights, which stay in their files
              units             kB, MB, GB, TB: steps of 1000; exact bytes with --json
        "#]],
    );
}

#[test]
fn a_replay_shows_in_what_a_sequence_keeps() {
    let budget = Budget {
        prefill: Prefill::Replay,
        ..Budget::default()
    };
    let fixed = |budget| {
        let report = Report::new(&flash(), budget).expect("sound").to_json();
        report["memory"]["released"]["fixed_bytes"].as_u64()
    };
    let kept = fixed(budget).zip(fixed(Budget::default()));
    assert_eq!(kept.map(|(with, without)| with - without), Some(11_798_784));
}

#[test]
fn the_report_as_json_holds_the_same_numbers() {
    let report = Report::new(&flash(), Budget::default()).expect("sound");
    let report = report.to_json();
    assert_eq!(report["model_type"], "deepseek_v41");
    assert_eq!(report["weights"]["bytes"], 510_286_023_000_u64);
    assert_eq!(report["weights"]["tensors"], 96_085);
    assert_eq!(
        (&report["mtp_layers"], &report["dspark"]),
        (&json!(0), &json!(true))
    );
    let layer = |index: usize| &report["layers"][index];
    assert_eq!(
        *layer(1),
        json!({
            "ratio": 0, "routing": "score", "kind": "window", "rows_of": null, "chosen_by": null,
            "engram": true, "drafter_reads": false,
        })
    );
    assert_eq!(
        *layer(39),
        json!({
            "ratio": 1, "routing": "score", "kind": "reuse 1/1", "rows_of": 20, "chosen_by": 36,
            "engram": false, "drafter_reads": true,
        })
    );
    assert_eq!(
        report["engram"],
        json!({
            "layers": [1, 14], "rows": [384_006_168, 384_016_682], "row_width": 256,
            "bytes": 202_758_032_400_u64, "bytes_touched_per_token": 12_672,
        })
    );
    assert_eq!(
        report["drafter"],
        json!({
            "layers": 3, "block": 5, "reads_layers": [37, 38, 39], "experts": 128,
            "experts_per_token": 3,
        })
    );
    assert_eq!(
        report["vision"],
        json!({ "layers": 32, "hidden": 1024, "tokens_max": 1024 })
    );
    let linear = |flops: &Value| flops["4096"]["linear"].as_u64();
    let parameters = &report["parameters"];
    let twice = |count: &Value| count.as_u64().map(|count| 2 * count);
    assert_eq!(linear(&report["flops"]), twice(&parameters["active"]));
    for mode in ["full", "replay"] {
        let flops = &report["prefill_flops"][mode];
        assert_eq!(linear(flops), twice(&parameters["prefill"][mode]), "{mode}");
    }
}

/// The inventory against checkpoints that the reference wrote.
#[test]
fn small_checkpoints_hold_what_the_inventory_lists() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v41");
    for name in [
        "plain-s7-bf16",
        "plain-s7-release",
        "wide-s3-f32",
        "wide-s4-release",
    ] {
        let dir = fixtures.join(name);
        let text = fs::read_to_string(dir.join("config.json")).expect("the fixture has a config");
        let config = Config::parse(&text).expect("the config holds together");
        let checkpoint = Checkpoint::open(&dir).expect("the fixture is a checkpoint");
        let specs: Vec<TensorSpec> = inventory(&config, config.storage).collect();
        for spec in &specs {
            let tensor = checkpoint.tensor(&spec.name);
            let found = tensor.map(|tensor| (tensor.dtype(), tensor.shape()));
            let want = Some((spec.dtype, &*spec.shape));
            assert_eq!(found, want, "{name}: {}", spec.name);
        }
        assert_eq!(specs.len(), checkpoint.len(), "{name}");
    }
}
