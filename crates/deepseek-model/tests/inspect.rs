//! The bill of the real models, by their configs alone, held against what `docs/models/deepseek-v4.md`
//! has of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use deepseek_attn::{Choice, Filter, Keys, RopeSet, SourceConfig, SourceId};
use deepseek_core::weights::{Checkpoint, Dtype};
use deepseek_core::{Fp4Scale, Numerics, RowFormat};
use deepseek_model::bill::{Flops, Phase, Tally, Weights};
use deepseek_model::config::Storage;
use deepseek_model::inventory::{Component, TensorSpec, inventory};
use deepseek_model::limits::REWIND_MAX;
use deepseek_model::report::Files;
use deepseek_model::{Budget, Config, Plan, PlanError, Report};
use deepseek_moe::RouteBy;
use expect_test::{Expect, expect};

/// The config of a published model, or of the tiny one.
fn config(name: &str) -> Config {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/configs");
    let path = assets.join(name).join("config.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    Config::parse(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn tiny() -> Config {
    Config::parse(include_str!("configs/released.json")).expect("the config holds together")
}

fn weights(name: &str) -> Weights {
    let config = config(name);
    Weights::of(&config, config.storage)
}

/// The published totals (§2.1, §1.4) and parameter counts (§1.3).
#[test]
fn the_published_totals_are_met_to_the_byte() {
    let flash = weights("v4-flash");
    assert_eq!(
        flash.total,
        Tally {
            tensors: 69_187,
            bytes: 159_609_485_896
        }
    );
    assert_eq!(
        (flash.backbone, flash.mtp),
        (284_332_240_471, 6_610_048_891)
    );
    assert_eq!(flash.active / 10_000_000, 1326);
    assert_eq!(
        flash.components[&Component::Mtp],
        Tally {
            tensors: 1_575,
            bytes: 3_593_787_756
        }
    );
    let pro = weights("v4-pro");
    assert_eq!(
        pro.total,
        Tally {
            tensors: 145_116,
            bytes: 864_704_792_696
        }
    );
    assert_eq!((pro.backbone, pro.mtp), (1_572_997_201_763, 25_840_145_979));
    assert_eq!(pro.active / 10_000_000, 4884);
    assert_eq!(
        pro.components[&Component::Mtp],
        Tally {
            tensors: 2_343,
            bytes: 13_956_587_692
        }
    );
    let flash_base = weights("v4-flash-base");
    assert_eq!(
        flash_base.total,
        Tally {
            tensors: 69_187,
            bytes: 292_555_345_480
        }
    );
    let pro_base = weights("v4-pro-base");
    assert_eq!(
        pro_base.total,
        Tally {
            tensors: 145_116,
            bytes: 1_602_325_824_632
        }
    );
}

#[test]
fn the_refreshed_flash_has_the_same_backbone() {
    let refreshed = weights("v4-flash-0731");
    assert_eq!(refreshed.total.bytes, 156_015_698_140);
    assert_eq!(refreshed.mtp, 0);
}

#[test]
fn the_published_counts_of_each_type_are_met() {
    let counts = |name| -> Vec<(&'static str, u64)> {
        weights(name)
            .dtypes
            .iter()
            .map(|(dtype, sum)| (dtype.name(), sum.tensors))
            .collect()
    };
    assert_eq!(
        counts("v4-flash"),
        [
            ("F32", 417),
            ("BF16", 433),
            ("I64", 3),
            ("I8", 33_792),
            ("F8_E4M3", 375),
            ("F8_E8M0", 34_167),
        ]
    );
    assert_eq!(
        counts("v4-pro"),
        [
            ("F32", 590),
            ("BF16", 619),
            ("I64", 3),
            ("I8", 71_424),
            ("F8_E4M3", 528),
            ("F8_E8M0", 71_952),
        ]
    );
}

/// Lines of the table of tensors (§2.2), as they stand in a Flash layer with an indexer.
#[test]
fn the_tensors_of_a_layer_have_their_published_shapes() {
    let config = config("v4-flash");
    let specs: BTreeMap<String, TensorSpec> = inventory(&config, Storage::Released)
        .filter(|spec| spec.name.starts_with("layers.4.") || !spec.name.contains('.'))
        .map(|spec| (spec.name.clone(), spec))
        .collect();
    let check = |name: &str, dtype: Dtype, shape: &[usize]| {
        let spec = &specs[name];
        assert_eq!(
            (spec.dtype, spec.shape.as_slice()),
            (dtype, shape),
            "{name}"
        );
    };
    check("hc_head_fn", Dtype::F32, &[4, 16384]);
    check("layers.4.hc_attn_fn", Dtype::F32, &[24, 16384]);
    check("layers.4.attn.attn_sink", Dtype::F32, &[64]);
    check("layers.4.attn.wo_a.weight", Dtype::F8E4m3, &[8192, 4096]);
    check("layers.4.attn.wo_a.scale", Dtype::F8E8m0, &[64, 32]);
    check("layers.4.attn.compressor.ape", Dtype::F32, &[4, 1024]);
    check(
        "layers.4.attn.compressor.wkv.weight",
        Dtype::Bf16,
        &[1024, 4096],
    );
    check(
        "layers.4.attn.indexer.wq_b.weight",
        Dtype::F8E4m3,
        &[8192, 1024],
    );
    check(
        "layers.4.attn.indexer.compressor.norm.weight",
        Dtype::Bf16,
        &[128],
    );
    check("layers.4.ffn.gate.bias", Dtype::F32, &[256]);
    check(
        "layers.4.ffn.experts.255.w2.weight",
        Dtype::I8,
        &[4096, 1024],
    );
    check(
        "layers.4.ffn.experts.255.w2.scale",
        Dtype::F8E8m0,
        &[4096, 64],
    );
    assert!(!specs.contains_key("layers.4.ffn.gate.tid2eid"));
    let expert: u64 = specs
        .values()
        .filter(|spec| spec.name.starts_with("layers.4.ffn.experts.7."))
        .map(TensorSpec::bytes)
        .sum();
    assert_eq!(expert, 13_369_344);
}

#[test]
fn a_float_checkpoint_has_no_scales() {
    for (storage, matrix) in [(Storage::Bf16, Dtype::Bf16), (Storage::F32, Dtype::F32)] {
        for spec in inventory(&tiny(), storage) {
            assert!(!spec.name.ends_with(".scale"), "{}", spec.name);
            if spec.is_matrix() && !spec.name.contains("hc_") {
                assert_eq!(spec.dtype, matrix, "{}", spec.name);
            }
        }
    }
    let parameters = |storage| Weights::of(&tiny(), storage).backbone;
    for storage in [Storage::Released, Storage::W8a8, Storage::W4a8] {
        assert_eq!(parameters(Storage::F32), parameters(storage));
    }
}

#[test]
fn a_converted_checkpoint_has_integers_where_the_release_has_codes() {
    let released: BTreeMap<String, TensorSpec> = inventory(&tiny(), Storage::Released)
        .map(|spec| (spec.name.clone(), spec))
        .collect();
    for storage in [Storage::W8a8, Storage::W4a8] {
        for spec in inventory(&tiny(), storage) {
            let name = &spec.name;
            let was = &released[name];
            let want = match was.dtype {
                // Rows of twelve numbers fill no words.
                Dtype::I8 if storage == Storage::W4a8 && !name.contains("w2") => Dtype::I32,
                Dtype::I8 => Dtype::I8,
                Dtype::F8E4m3 if name.ends_with("attn.wo_a.weight") => Dtype::Bf16,
                Dtype::F8E4m3 => Dtype::I8,
                Dtype::F8E8m0 => Dtype::F32,
                other => other,
            };
            assert_eq!(spec.dtype, want, "{name}");
            assert_eq!(spec.parameters(), was.parameters(), "{name}");
        }
    }
    let expert = |storage, part: &str| {
        let name = format!("layers.4.ffn.experts.7.{part}");
        let config = tiny();
        inventory(&config, storage)
            .find(|spec| spec.name == name)
            .expect("an expert")
            .shape
    };
    assert_eq!(expert(Storage::W8a8, "w1.weight"), [12, 64]);
    assert_eq!(expert(Storage::W8a8, "w1.scale"), [12, 1]);
    assert_eq!(expert(Storage::W4a8, "w1.weight"), [12, 8]);
    assert_eq!(expert(Storage::W4a8, "w1.scale"), [12, 1]);
    assert_eq!(expert(Storage::W4a8, "w2.weight"), [64, 12]);
}

#[test]
fn weights_are_widened_to_what_holds_them() {
    let bytes = |storage| Weights::of(&tiny(), storage).widened_bytes();
    assert_eq!(bytes(Storage::Released), bytes(Storage::Bf16));
    assert_eq!(bytes(Storage::W4a8), bytes(Storage::W8a8));
    let order = [Storage::Bf16, Storage::W8a8, Storage::Base, Storage::F32].map(bytes);
    assert!(
        order.is_sorted() && order[0] < order[1] && order[2] < order[3],
        "{order:?}"
    );
}

fn plan(config: &Config, numerics: Numerics, budget: Budget) -> Plan {
    Plan::new(config, numerics, budget).expect("the budget is sound")
}

#[test]
fn a_plan_says_what_each_layer_is() {
    let config = config("v4-flash");
    let plan = plan(&config, Numerics::EXACT, Budget::default());
    let scored = RouteBy::Score { media: false };
    let best = Choice::Fresh {
        k: 512,
        filter: Filter::Open,
    };
    let [window, _, sparse, heavy, ..] = plan.layers() else {
        panic!("43 layers")
    };
    assert_eq!(
        (window.role.source, window.role.choice),
        (None, Choice::None)
    );
    assert_eq!(
        (window.role.rope, window.route),
        (RopeSet::Window, RouteBy::Token)
    );
    assert_eq!(
        (sparse.role.source, sparse.role.ratio),
        (Some(SourceId(0)), 4)
    );
    assert_eq!((sparse.role.choice, sparse.route), (best, RouteBy::Token));
    assert_eq!(
        (heavy.role.source, heavy.role.ratio),
        (Some(SourceId(1)), 128)
    );
    assert_eq!((heavy.role.choice, heavy.route), (Choice::All, scored));
    assert_eq!(
        (sparse.role.rope, heavy.role.rope),
        (RopeSet::Compressed, RopeSet::Compressed)
    );
    let kinds = |wanted: Choice| {
        plan.layers()
            .iter()
            .filter(|l| l.role.choice == wanted)
            .count()
    };
    let counts = [Choice::None, best, Choice::All].map(kinds);
    assert_eq!(counts, [2, 21, 20]);
    assert_eq!(plan.sources().len(), 41);
    let kept = |source: &SourceConfig| (source.ratio, source.keys != Keys::None);
    let sources: Vec<_> = plan.sources().iter().map(kept).collect();
    assert_eq!(sources[..2], [(4, true), (128, false)]);
    let mtp = plan.mtp().expect("Flash has a draft module");
    assert_eq!((mtp.role.source, mtp.route), (None, scored));
}

#[test]
fn rows_are_kept_as_they_are_rounded() {
    let config = config("v4-flash");
    let formats = |numerics| {
        let plan = plan(&config, numerics, Budget::default());
        (plan.entry_format(), plan.key_format())
    };
    let fp8 = |tail_bytes| RowFormat::Fp8 {
        block: 64,
        tail: 64,
        tail_bytes,
    };
    let fp4 = RowFormat::Fp4 {
        block: 32,
        scale: Fp4Scale::E8m0,
    };
    assert_eq!(formats(Numerics::EXACT), (RowFormat::F32, RowFormat::F32));
    assert_eq!(formats(Numerics::CACHE), (fp8(4), fp4));
    assert_eq!(formats(Numerics::FULL), formats(Numerics::CACHE));
    assert_eq!(formats(Numerics::RELEASED), (fp8(2), fp4));
    let bf16 = Numerics {
        bf16: true,
        ..Numerics::EXACT
    };
    assert_eq!(formats(bf16), (RowFormat::Bf16, RowFormat::Bf16));
    // One byte less than the layout of 584 that others pad to (§5.2).
    assert_eq!((fp8(2).row_bytes(512), fp4.row_bytes(128)), (583, 68));
}

/// Growth by a token (§7.2): 6,880 and 9,848 bytes in BF16; packed 3,514 and 5,031 with
/// entries padded to 584 bytes, of which ours lack one.
#[test]
fn a_token_costs_what_was_published() {
    let growth = |name, numerics| {
        plan(&config(name), numerics, Budget::default())
            .sequence()
            .per_token()
    };
    let bf16 = Numerics {
        bf16: true,
        ..Numerics::EXACT
    };
    assert_eq!(growth("v4-flash", bf16), 6880.0);
    assert_eq!(growth("v4-pro", bf16), 9848.0);
    assert_eq!(
        growth("v4-flash", Numerics::RELEASED) + 21.0 / 4.0 + 20.0 / 128.0,
        3514.25
    );
    assert_eq!(
        growth("v4-pro", Numerics::RELEASED) + 30.0 / 4.0 + 31.0 / 128.0,
        5031.4375
    );
}

#[test]
fn a_sequence_is_billed_row_by_row() {
    let budget = Budget {
        context: 1000,
        sequences: 3,
        step_tokens: 40,
        ..Budget::default()
    };
    let plan = plan(&tiny(), Numerics::EXACT, budget);
    let ring = 16 + 40 + REWIND_MAX as usize;
    assert_eq!(plan.ring_rows(), ring);
    assert_eq!((plan.rows(4), plan.rows(128)), (250, 8));
    let memory = plan.sequence();
    assert_eq!(memory.windows, (6 * ring * 32 * 4) as u64);
    let rewind = REWIND_MAX as usize;
    let sparse = (8 + rewind) * 2 * 2 * (32 + 32) * 4;
    let heavy = (128 + rewind) * 2 * 32 * 4;
    assert_eq!(memory.tails, (2 * sparse + 2 * heavy) as u64);
    assert_eq!(
        memory.drafts,
        (ring * 32 * 4 + (rewind + 1) * 4 * 64 * 4) as u64
    );
    assert_eq!(
        memory.rows(1000),
        (2 * 250 * (32 + 32) * 4 + 2 * 8 * 32 * 4) as u64
    );
    assert_eq!(plan.memory_bytes(), 3 * memory.at(1000));
}

#[test]
fn a_budget_beyond_the_model_is_refused() {
    let config = tiny();
    let refuse = |budget, want: &str| {
        let error = Plan::new(&config, Numerics::EXACT, budget).expect_err("must be refused");
        assert_eq!(error.to_string(), want);
    };
    let sound = Budget {
        context: 1024,
        sequences: 1,
        step_tokens: 1,
        ..Budget::default()
    };
    assert_eq!(plan(&config, Numerics::EXACT, sound).context(), 1024);
    refuse(
        Budget {
            context: 1025,
            ..sound
        },
        "context 1025, the model has 1024 positions",
    );
    refuse(
        Budget {
            context: 0,
            ..sound
        },
        "context is 0, want at least 1",
    );
    refuse(
        Budget {
            sequences: 0,
            ..sound
        },
        "sequences is 0, want at least 1",
    );
    refuse(
        Budget {
            step_tokens: 0,
            ..sound
        },
        "tokens of a step is 0, want at least 1",
    );
    for beyond in [
        Budget {
            sequences: usize::MAX,
            ..sound
        },
        Budget {
            step_tokens: usize::MAX,
            ..sound
        },
        Budget {
            sequences: 1 << 27,
            ..sound
        },
    ] {
        let error = Plan::new(&config, Numerics::EXACT, beyond).expect_err("must be refused");
        assert!(matches!(error, PlanError::Rows { .. }), "{error}");
    }
}

/// GFLOP of a token (§7.2), in tenths: linear, core, indexer.
#[test]
fn a_token_takes_the_published_arithmetic() {
    let check = |name: &str, context: usize, want: [u64; 3]| {
        let plan = plan(&config(name), Numerics::EXACT, Budget::default());
        let flops = Flops::at(&plan, &weights(name), Phase::Decode, context);
        let tenths = |count: u64| (count + 50_000_000) / 100_000_000;
        assert_eq!(
            [flops.linear, flops.core, flops.indexer].map(tenths),
            want,
            "{name} {context}"
        );
    };
    check("v4-flash", 4 << 10, [265, 22, 4]);
    check("v4-flash", 128 << 10, [265, 48, 114]);
    check("v4-flash", 1 << 20, [265, 236, 909]);
    check("v4-pro", 4 << 10, [977, 104, 5]);
    check("v4-pro", 128 << 10, [977, 184, 162]);
    check("v4-pro", 1 << 20, [977, 767, 1299]);
}

#[track_caller]
fn check_text(report: &Report, want: &Expect) {
    want.assert_eq(&report.to_string());
}

#[test]
fn the_report_on_flash() {
    let report = Report::new(&config("v4-flash"), Budget::default()).expect("sound");
    check_text(
        &report,
        &expect![[r#"
            model      deepseek_v4, 43 layers, hidden 4096
            attention  64 heads of 512, window 128
            experts    6 of 256 and one shared
            context    1,048,576 tokens at most

            layers
              window                    2  0-1
              sparse 1/4, top 512      21  2, 4 .. 42
              dense 1/128              20  3, 5 .. 41
              routed by token           3  0-2
              routed by score          40  3-42
              drafts by MTP             1

            parameters                       count
              backbone             284,332,240,471
              active per token      13,268,221,952
              mtp                    6,610,048,891

            weights                          bytes             tensors
              embedding              1,059,061,760   1.06 GB         1
              attention              4,599,346,048   4.60 GB       473
              compressors              525,722,624    526 MB       164
              indexers                 275,353,344    275 MB       147
              routers                  108,834,816    109 MB        86
              shared experts         1,082,196,480   1.08 GB       258
              routed experts       147,169,738,752    147 GB    66,048
              hyper-connections        135,537,756    136 MB       261
              norms                        844,800    845 kB       173
              head                   1,059,061,760   1.06 GB         1
              mtp                    3,593,787,756   3.59 GB     1,575
              total                159,609,485,896    160 GB    69,187
            of which
              F32                      144,672,072    145 MB       417
              BF16                   2,830,518,528   2.83 GB       433
              I64                       18,616,320   18.6 MB         3
              I8                   141,733,920,768    142 GB    33,792
              F8_E4M3                6,023,020,544   6.02 GB       375
              F8_E8M0                8,858,737,664   8.86 GB    34,167
            storage: FP8, experts FP4, by the config

            KV cache                  exact       cache    released
              each token            13.8 kB     4.20 kB     3.51 kB
              fixed                 77.2 MB     38.6 MB     34.9 MB
              4K tokens              134 MB     55.8 MB     49.3 MB
              128K tokens           1.88 GB      589 MB      495 MB
              1M tokens             14.5 GB     4.44 GB     3.71 GB

            GFLOP a token    linear attention   indexer     total
              4K               26.5       2.2       0.4      29.1
              128K             26.5       4.8      11.4      42.7
              1M               26.5      23.6      90.9     141.0

            legend
              window            attends to the last tokens alone
              dense             and to all compressed rows: 1/N is one for N tokens
              sparse            and to the compressed rows that its indexer chooses
              routed by         experts by a table of token ids, or by the router's scores
              active per token  parameters that one token is multiplied with
              exact, released   levels of --numerics; answers of a checkpoint are at released
              KV cache          memory of one conversation, beside the weights, which stay in their files
              units             kB, MB, GB, TB: steps of 1000; exact bytes with --json
        "#]],
    );
}

#[test]
fn the_report_on_pro() {
    let report = Report::new(&config("v4-pro"), Budget::default()).expect("sound");
    check_text(
        &report,
        &expect![[r#"
            model      deepseek_v4, 61 layers, hidden 7168
            attention  128 heads of 512, window 128
            experts    6 of 384 and one shared
            context    1,048,576 tokens at most

            layers
              sparse 1/4, top 1024     30  2, 4 .. 60
              dense 1/128              31  0-1, 3, 5 .. 59
              routed by token           3  0-2
              routed by score          58  3-60
              drafts by MTP             1

            parameters                       count
              backbone           1,572,997,201,763
              active per token      48,849,141,760
              mtp                   25,840,145,979

            weights                          bytes             tensors
              embedding              1,853,358,080   1.85 GB         1
              attention             18,294,604,672   18.3 GB       671
              compressors            1,344,566,272   1.34 GB       244
              indexers                 625,367,040    625 MB       210
              routers                  354,511,872    355 MB       122
              shared experts         4,029,923,520   4.03 GB       366
              routed experts       822,054,223,872    822 GB   140,544
              hyper-connections        336,278,412    336 MB       369
              norms                      2,013,184   2.01 MB       245
              head                   1,853,358,080   1.85 GB         1
              mtp                   13,956,587,692   14.0 GB     2,343
              total                864,704,792,696    865 GB   145,116
            of which
              F32                      351,105,656    351 MB       590
              BF16                   5,633,798,656   5.63 GB       619
              I64                       18,616,320   18.6 MB         3
              I8                   786,381,668,352    786 GB    71,424
              F8_E4M3               23,169,335,296   23.2 GB       528
              F8_E8M0               49,150,268,416   49.2 GB    71,952
            storage: FP8, experts FP4, by the config

            KV cache                  exact       cache    released
              each token            19.7 kB     6.01 kB     5.02 kB
              fixed                  111 MB     56.5 MB     51.3 MB
              4K tokens              192 MB     81.2 MB     71.9 MB
              128K tokens           2.69 GB      845 MB      710 MB
              1M tokens             20.8 GB     6.36 GB     5.32 GB

            GFLOP a token    linear attention   indexer     total
              4K               97.7      10.4       0.5     108.6
              128K             97.7      18.4      16.2     132.4
              1M               97.7      76.7     129.9     304.2

            legend
              dense             and to all compressed rows: 1/N is one for N tokens
              sparse            and to the compressed rows that its indexer chooses
              routed by         experts by a table of token ids, or by the router's scores
              active per token  parameters that one token is multiplied with
              exact, released   levels of --numerics; answers of a checkpoint are at released
              KV cache          memory of one conversation, beside the weights, which stay in their files
              units             kB, MB, GB, TB: steps of 1000; exact bytes with --json
        "#]],
    );
}

#[test]
fn the_report_on_a_small_folder() {
    let tensors = Tally {
        tensors: 12,
        bytes: 3456,
    };
    let budget = Budget {
        context: 1024,
        ..Budget::default()
    };
    let report = Report::new(&tiny(), budget)
        .expect("sound")
        .with_files(Files { shards: 1, tensors });
    check_text(
        &report,
        &expect![[r#"
            model      deepseek_v4, 6 layers, hidden 64
            attention  4 heads of 32, window 16
            experts    3 of 8 and one shared
            context    1,024 tokens at most

            layers
              window                    2  0-1
              sparse 1/4, top 6         2  2, 4
              dense 1/128               2  3, 5
              routed by token           3  0-2
              routed by score           3  3-5
              drafts by MTP             1

            parameters                       count
              backbone                     390,393
              active per token             293,888
              mtp                           57,543

            weights                          bytes             tensors
              embedding                     65,536   65.5 kB         1
              attention                    344,160    344 kB        36
              compressors                  133,632    134 kB        16
              indexers                     137,472    137 kB        12
              routers                       30,816   30.8 kB        12
              shared experts                55,296   55.3 kB        18
              routed experts               442,368    442 kB       144
              hyper-connections            300,324    300 kB        39
              norms                          4,864   4.86 kB        25
              head                          65,536   65.5 kB         1
              mtp                          230,172    230 kB        53
              total                      1,810,176   1.81 MB       357
            of which
              F32                        1,791,744   1.79 MB       354
              I64                           18,432   18.4 kB         3
            storage: F32, by the config
              in 1 file                      3,456   3.46 kB        12
              not as the config has it

            KV cache                  exact       cache    released
              each token              130 B        38 B        30 B
              fixed                  628 kB      357 kB      296 kB
              1,024 tokens           761 kB      396 kB      327 kB

            GFLOP a token    linear attention   indexer     total
              1,024             0.0       0.0       0.0       0.0

            legend
              window            attends to the last tokens alone
              dense             and to all compressed rows: 1/N is one for N tokens
              sparse            and to the compressed rows that its indexer chooses
              routed by         experts by a table of token ids, or by the router's scores
              active per token  parameters that one token is multiplied with
              exact, released   levels of --numerics; answers of a checkpoint are at released
              KV cache          memory of one conversation, beside the weights, which stay in their files
              units             kB, MB, GB, TB: steps of 1000; exact bytes with --json
        "#]],
    );
}

#[test]
fn the_report_as_json_holds_the_same_numbers() {
    let report = Report::new(&config("v4-pro"), Budget::default())
        .expect("sound")
        .to_json();
    assert_eq!(report["weights"]["bytes"], 864_704_792_696_u64);
    assert_eq!(report["weights"]["tensors"], 145_116);
    assert_eq!(report["weights"]["dtypes"]["I8"]["tensors"], 71_424);
    assert_eq!(
        report["weights"]["components"]["mtp"]["bytes"],
        13_956_587_692_u64
    );
    assert_eq!(report["parameters"]["backbone"], 1_572_997_201_763_u64);
    assert_eq!(report["layers"].as_array().expect("a list").len(), 61);
    assert_eq!(
        report["layers"][2],
        serde_json::json!({ "ratio": 4, "routing": "token" })
    );
    let released = &report["memory"]["released"];
    let fixed = released["fixed_bytes"].as_u64().expect("whole bytes");
    let at = released["bytes_at"]["1048576"]
        .as_u64()
        .expect("whole bytes");
    assert_eq!(at - fixed, 30 * 262_144 * (583 + 68) + 31 * 8192 * 583);
    assert_eq!(report["files"], serde_json::Value::Null);
}

/// The inventory against checkpoints that the reference wrote.
#[test]
fn small_checkpoints_hold_what_the_inventory_lists() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v4");
    for name in ["flashy-s0", "prolike-s0", "realrope-s0", "quant-s0"] {
        let dir = fixtures.join(name);
        let text = fs::read_to_string(dir.join("config.json")).expect("the fixture has a config");
        let config = Config::parse(&text).expect("the config holds together");
        let checkpoint = Checkpoint::open(&dir).expect("the fixture is a checkpoint");
        let specs: Vec<TensorSpec> = inventory(&config, config.storage).collect();
        assert_eq!(specs.len(), checkpoint.len(), "{name}");
        for spec in specs {
            let tensor = checkpoint.tensor(&spec.name);
            let found = tensor.map(|tensor| (tensor.dtype(), tensor.shape()));
            assert_eq!(
                found,
                Some((spec.dtype, &*spec.shape)),
                "{name}: {}",
                spec.name
            );
        }
    }
}
