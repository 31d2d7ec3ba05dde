//! An accelerator that the host plays, composed of primitives and with verbs of its own: the suite, the
//! fixtures, and what a step asks of it.

use anyhow::Result;
use backend_candle::Candle;
use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Captures, Entry, Offload, Options};
use conformance::compare::{close, root_mean_square};
use conformance::counting::Counting;
use conformance::fixture::Fixture;
use conformance::model::{Open, best, draft, logits, open, prompt, released_distances, step};
use deepseek_core::{Kernels, Lists, Numerics};
use deepseek_model::{Decoder, Model, Prefill, SeqId, Span, Step, TokenId, Want};

type Device = Offload<HostDriver>;

const CHIPS: [HostChip; 2] = [HostChip::Composed, HostChip::Fused];

/// Bytes of the device's memory: more than any fixture needs.
const MEMORY: usize = 256 << 20;

/// As in the tests of V4 and of V4.1.
const V4_TOLERANCE: f32 = 2e-4;
const V41_TOLERANCE: f32 = 1e-3;

/// V4, V4.1, and V4.1 with its prompt cut.
const MODELS: [(&str, Prefill); 4] = [
    ("flashy-s0", Prefill::Full),
    ("prolike-s0", Prefill::Full),
    ("plain-s7-release", Prefill::Full),
    ("wide-s4-release", Prefill::Replay),
];

/// Memory that its owner let go of holds no number, so that a use of it shows.
const POISONED: Options = Options {
    memory_bytes: None,
    poison: true,
    capture: false,
};

fn device(chip: HostChip) -> Result<Device> {
    device_with(chip, POISONED)
}

fn device_with(chip: HostChip, options: Options) -> Result<Device> {
    Ok(Offload::start(options, move || {
        Ok(HostDriver::new(chip, MEMORY))
    })?)
}

fn opened(chip: HostChip, name: &str, opened: Open) -> Result<Model<Device>> {
    open(device(chip)?, name, opened)
}

fn span(at: usize, tokens: &[TokenId], want: Want) -> Step {
    Step {
        spans: vec![Span {
            seq: SeqId(0),
            at: at as u32,
            tokens: tokens.to_vec(),
            media: Vec::new(),
            want,
        }],
    }
}

#[test]
fn it_computes_the_golden_operations() -> Result<()> {
    for chip in CHIPS {
        conformance::ops::check(&device(chip)?)?;
    }
    Ok(())
}

#[test]
fn its_verbs_mean_what_the_provided_bodies_mean() -> Result<()> {
    for chip in CHIPS {
        conformance::verbs::check(&device(chip)?, 0..20)?;
    }
    Ok(())
}

#[test]
fn it_tells_which_verbs_were_composed_and_why() -> Result<()> {
    let declined = |chip| -> Result<Vec<String>> {
        let device = device(chip)?;
        conformance::verbs::check(&device, 0..6)?;
        let choices = device.choices().into_iter();
        let told = choices.filter_map(|(choice, calls)| {
            assert!(calls > 0);
            Some(format!("{}: {}", choice.verb, choice.declined?))
        });
        Ok(told.collect())
    };
    let fused = [
        "attend: weights rounded by chunks of 64",
        "attend: weights rounded by chunks of 7",
        "experts: experts of other ranks",
        "index_topk: keeps candidates",
    ];
    assert_eq!(declined(HostChip::Fused)?, fused);
    let composed = declined(HostChip::Composed)?;
    for verb in [
        "attend",
        "experts",
        "hc_post",
        "hc_pre",
        "index_topk",
        "route",
    ] {
        let told = format!("{verb}: primitives alone");
        assert!(composed.contains(&told), "{told} in {composed:?}");
    }
    Ok(())
}

#[test]
fn every_level_of_padded_lists_and_dense_experts_runs_on_its_primitives() -> Result<()> {
    let device = device(HostChip::Composed)?;
    conformance::verbs::check(&Counting::new(device, 5)?, 0..3)
}

#[test]
fn its_primitives_are_those_of_candle() -> Result<()> {
    conformance::primitives::check(&device(HostChip::Composed)?, &Candle::plain(), 0..100)
}

#[test]
fn v4_gives_the_logits_of_the_reference() -> Result<()> {
    for name in [
        "flashy-s0",
        "prolike-s0",
        "realrope-s0",
        "cached-s0",
        "quant-s0",
        "base-s0",
    ] {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        for chip in CHIPS {
            let mut model = opened(chip, name, Open::default())?;
            for (prompt, chunks) in [(0, &[512][..]), (1, &[32]), (2, &[5, 1, 17, 2])] {
                let ids = reference.ids(&format!("p{prompt}.input_ids"))?;
                let want = reference.floats(&format!("p{prompt}.logits"))?;
                let got = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} p{prompt} {chip:?}");
                close(&what, got.data(), want.data(), V4_TOLERANCE);
            }
        }
    }
    Ok(())
}

#[test]
fn one_token_at_a_time_gives_the_logits_of_the_reference() -> Result<()> {
    for name in ["flashy-s0", "prolike-s0", "quant-s0"] {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let ids = reference.ids("decode.input_ids")?;
        let want = reference.floats("decode.logits")?;
        let mut model = opened(HostChip::Fused, name, Open::default())?;
        let got = logits(&mut model, &ids, &[1])?;
        let first = ids.len() - want.shape()[0];
        let got = &got.data()[first * got.width()..];
        close(&format!("{name} decode"), got, want.data(), V4_TOLERANCE);
    }
    Ok(())
}

/// A rounding may fall the other way where sums are taken in another order, so bounds are those of the
/// tests of V4 on the host.
#[test]
fn v4_at_the_other_levels_is_as_near_to_the_reference_as_roundings_allow() -> Result<()> {
    let apart = |name: &str, chip, level: &str, numerics| -> Result<f32> {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let numerics = Open {
            numerics,
            ..Open::default()
        };
        let mut model = opened(chip, name, numerics)?;
        let ids = reference.ids(&format!("{level}.input_ids"))?;
        let want = reference.floats(&format!("{level}.logits"))?;
        let got = logits(&mut model, &ids, &[512])?;
        Ok(root_mean_square(got.data(), want.data()))
    };
    for chip in CHIPS {
        for name in ["realrope-s0", "cached-s0", "quant-s0"] {
            let cache = apart(name, chip, "cache", Numerics::CACHE)?;
            assert!(cache <= 2e-3, "{name} {chip:?} cache: {cache} apart");
            let released = apart(name, chip, "released", Numerics::RELEASED)?;
            let [order, level] = released_distances(name)?;
            let bound = (3.0 * order).min(0.5 * level);
            assert!(
                released <= bound,
                "{name} {chip:?}: {released} apart, at most {bound}"
            );
        }
    }
    Ok(())
}

/// Verbs of the chip's own add in another order, so that a stored row near the boundary of two codes may
/// fall the other way, where the reference has one answer alone: they are held to the level that rounds
/// nothing.
#[test]
fn v41_gives_the_logits_of_the_reference() -> Result<()> {
    let composed = HostChip::Composed;
    let runs = [
        ("none", Numerics::EXACT, composed, 512),
        ("none", Numerics::EXACT, HostChip::Fused, 13),
        ("cache", Numerics::CACHE, composed, 512),
        ("full", Numerics::FULL, composed, 13),
    ];
    for name in ["plain-s7-release", "wide-s4-release"] {
        let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
        let ids = prompt(name)?;
        for (level, numerics, chip, chunks) in runs {
            let numerics = Open {
                numerics,
                ..Open::default()
            };
            let mut model = opened(chip, name, numerics)?;
            let got = logits(&mut model, &ids, &[chunks])?;
            let what = format!("{name} {level} {chip:?}");
            let key = format!("logits_full.{level}");
            reference.holds(&what, got.data(), &key, V41_TOLERANCE)?;
        }
    }
    Ok(())
}

#[test]
fn a_step_waits_once() -> Result<()> {
    for (name, prefill) in MODELS {
        let drafts = Open {
            drafts: true,
            prefill,
            ..Open::default()
        };
        for chip in CHIPS {
            let mut model = opened(chip, name, drafts)?;
            let ids = prompt(name)?;
            let [first, second] = [ids.len() / 2, ids.len() - 4];
            for (what, step) in [
                (
                    "a prompt that goes on",
                    span(0, &ids[..first], Want::Nothing),
                ),
                ("its end", span(first, &ids[first..second], Want::Last)),
                ("a token", span(second, &ids[second..=second], Want::Last)),
                ("drafts", span(second + 1, &ids[second + 1..], Want::All)),
            ] {
                let before = model.backend().usage().waits;
                model.step(&step)?;
                let waits = model.backend().usage().waits - before;
                assert_eq!(waits, 1, "{name} {chip:?}: {what}");
            }
            let before = model.backend().usage().waits;
            assert_eq!(draft(&mut model, ids[0], 2)?.len(), 2, "{name}");
            assert_eq!(
                model.backend().usage().waits - before,
                1,
                "{name}: proposals"
            );
        }
    }
    Ok(())
}

#[test]
fn what_a_step_brings_to_the_device_does_not_grow_with_the_layers() -> Result<()> {
    let mut copies = Vec::new();
    for (name, count) in [("base-s0", 2), ("cached-s0", 4), ("flashy-s0", 6)] {
        let mut model = opened(HostChip::Composed, name, Open::default())?;
        assert_eq!(model.plan().layers().len(), count, "{name}");
        let mut copied = |at, tokens: &[TokenId]| -> Result<u64> {
            let before = model.backend().usage().copies_in;
            model.step(&span(at, tokens, Want::Last))?;
            Ok(model.backend().usage().copies_in - before)
        };
        copies.push([copied(0, &[1; 40])?, copied(40, &[1])?]);
    }
    assert!(copies.iter().all(|own| *own == copies[0]), "{copies:?}");
    Ok(())
}

/// From a few tokens on: parts of what has a single row lie in one piece and need no copy.
#[test]
fn what_is_asked_of_the_device_does_not_depend_on_the_number_of_tokens() -> Result<()> {
    for (name, prefill) in [MODELS[0], MODELS[3]] {
        let prefill = Open {
            prefill,
            ..Open::default()
        };
        for chip in CHIPS {
            let mut operations = Vec::new();
            for tokens in [9, 64, 512] {
                let mut model = opened(chip, name, prefill)?;
                // What is made once is made before.
                model.step(&span(0, &[1; 512], Want::Last))?;
                model.forget(SeqId(0));
                let before = if tokens == 9 { 300 } else { 0 };
                if before > 0 {
                    model.step(&span(0, &vec![1; before], Want::Nothing))?;
                    model.step(&span(before, &[1; 40], Want::Last))?;
                }
                let at = if before > 0 { before + 40 } else { 0 };
                let asked = model.backend().usage().operations;
                model.step(&span(at, &vec![1; tokens], Want::Last))?;
                operations.push(model.backend().usage().operations - asked);
            }
            let same = operations.iter().all(|own| *own == operations[0]);
            assert!(same, "{name} {chip:?}: {operations:?}");
        }
    }
    Ok(())
}

/// The same operations at the same addresses: what a capture of a step asks for.
#[test]
fn three_hundred_tokens_ask_for_the_same_and_allocate_nothing() -> Result<()> {
    for (name, prefill) in MODELS {
        let prefill = Open {
            prefill,
            ..Open::default()
        };
        let mut model = opened(HostChip::Fused, name, prefill)?;
        model.step(&span(0, &[1; 8], Want::Last))?;
        let (mut last, mut changes) = (None, 0);
        for at in 8..308 {
            let before = model.backend().usage();
            model.backend().start_log();
            model.step(&span(at, &[at as TokenId % 7 + 1], Want::Last))?;
            let log = model.backend().end_log();
            let after = model.backend().usage();
            assert_eq!(after.used_bytes, before.used_bytes, "{name} at {at}: kept");
            let waits = log
                .iter()
                .filter(|entry| matches!(entry, Entry::CopyOut(_)));
            assert!(waits.count() > 0, "{name} at {at}");
            let same = last.as_ref() == Some(&log);
            if at > 12 {
                // Lists of visible rows grow by powers of two, and with them what reads them.
                changes += usize::from(!same);
                assert!(
                    same || after.held_bytes < 2 * before.held_bytes,
                    "{name} at {at}"
                );
            }
            if same {
                assert_eq!(after.allocations, before.allocations, "{name} at {at}");
            }
            last = Some(log);
        }
        assert!(changes <= 12, "{name}: {changes} changes in 300 tokens");
    }
    Ok(())
}

/// Decodes fifty tokens behind a prompt: the logits of each, and the ids of drafts where there are any.
fn decoded<B: Kernels>(
    model: &mut Model<B>,
    prompt: &[TokenId],
    drafts: u32,
) -> Result<Vec<Vec<f32>>> {
    model.step(&span(0, prompt, Want::Nothing))?;
    let mut all = Vec::new();
    for at in prompt.len()..prompt.len() + 50 {
        let token = [at as TokenId % 7 + 1];
        all.push(model.step(&span(at, &token, Want::Last))?.into_values());
        if drafts > 0 {
            let ids = draft(model, token[0], drafts)?;
            all.push(ids.into_iter().map(|id| id as f32).collect());
        }
    }
    Ok(all)
}

/// One graph for each length of the lists, which grow by powers of two; and of the drafts another.
#[test]
fn fifty_tokens_by_graphs_have_the_bits_of_those_asked_for_one_by_one() -> Result<()> {
    for (name, prefill) in MODELS {
        for (chip, numerics, drafts) in [
            (HostChip::Composed, Numerics::RELEASED, 0),
            (HostChip::Fused, Numerics::EXACT, 2),
        ] {
            let opened = Open {
                numerics,
                prefill,
                drafts: drafts > 0,
                ..Open::default()
            };
            let prompt: Vec<_> = prompt(name)?.into_iter().cycle().take(40).collect();
            let run = |capture| -> Result<_> {
                let options = Options {
                    capture,
                    ..POISONED
                };
                let mut model = open(device_with(chip, options)?, name, opened)?;
                let decoded = decoded(&mut model, &prompt, drafts)?;
                Ok((decoded, model.backend().captures()))
            };
            let (want, none) = run(false)?;
            let (got, captures) = run(true)?;
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                conformance::compare::same_bits(&format!("{name} {chip:?} {at}"), got, want);
            }
            assert_eq!(none, Captures::default());
            assert_eq!(captures.refused, [].into(), "{name} {chip:?}");
            let steps = want.len() as u64;
            assert!(
                captures.replays > steps * 2 / 3,
                "{name} {chip:?}: {captures:?}"
            );
        }
    }
    Ok(())
}

/// With lists of one length a text has one graph.
#[test]
fn fixed_lists_are_captured_once() -> Result<()> {
    for (name, experts) in [("flashy-s0", 8), ("plain-s7-release", 6)] {
        let opened = Open {
            context: 128,
            ..Open::default()
        };
        let options = Options {
            capture: true,
            ..POISONED
        };
        let counting = Counting::new(device_with(HostChip::Composed, options)?, experts)?;
        let mut model = open(counting.with(Lists::Fixed), name, opened)?;
        let fixed = decoded(&mut model, &[1; 40], 0)?;
        let captures = model.backend().inner().captures();
        assert_eq!(
            (captures.graphs, captures.refused),
            (1, [].into()),
            "{name}"
        );
        assert!(captures.replays >= 44, "{name}: {}", captures.replays);
        let counting = Counting::new(device(HostChip::Composed)?, experts)?;
        let mut model = open(counting.with(Lists::Fixed), name, opened)?;
        for (got, want) in fixed.iter().zip(&decoded(&mut model, &[1; 40], 0)?) {
            conformance::compare::same_bits(name, got, want);
        }
    }
    Ok(())
}

/// Batches of one, two and three sequences, which join and leave.
#[test]
fn each_number_of_sequences_has_its_graph() -> Result<()> {
    let name = "flashy-s0";
    let run = |capture| -> Result<_> {
        let opened = Open {
            sequences: 3,
            ..Open::default()
        };
        let options = Options {
            capture,
            ..POISONED
        };
        let mut model = open(device_with(HostChip::Fused, options)?, name, opened)?;
        for seq in 0..3 {
            model.step(&step(seq, 0, &[1 + seq; 8]))?;
        }
        let (mut at, mut all) = ([8; 3], Vec::new());
        for turn in 0..48 {
            let count = [1, 2, 3, 2][turn / 2 % 4];
            // Not always the same ones.
            let spans = (0..count).flat_map(|place| {
                let seq = (turn / 8 + place) % 3;
                at[seq] += 1;
                step(seq as u32, at[seq] - 1, &[turn as TokenId % 5 + 1]).spans
            });
            let spans = spans.collect();
            all.push(model.step(&Step { spans })?.into_values());
        }
        Ok((all, model.backend().captures()))
    };
    let (want, _) = run(false)?;
    let (got, captures) = run(true)?;
    for (turn, (got, want)) in got.iter().zip(&want).enumerate() {
        conformance::compare::same_bits(&format!("turn {turn}"), got, want);
    }
    assert!(
        captures.graphs >= 3 && captures.replays >= 20,
        "{captures:?}"
    );
    assert_eq!(captures.refused, [].into());
    Ok(())
}

#[test]
fn after_one_step_of_its_shapes_a_step_allocates_nothing() -> Result<()> {
    let mut model = opened(HostChip::Composed, "flashy-s0", Open::default())?;
    let ids = prompt("flashy-s0")?;
    logits(&mut model, &ids, &[32, 1])?;
    let warm = model.backend().usage();
    logits(&mut model, &ids, &[32, 1])?;
    let after = model.backend().usage();
    assert_eq!(
        [after.allocations, after.held_bytes, after.used_bytes],
        [warm.allocations, warm.held_bytes, warm.used_bytes]
    );
    Ok(())
}

#[test]
fn a_saved_sequence_goes_on_with_the_same_ids() -> Result<()> {
    let name = "flashy-s0";
    let ids = prompt(name)?;
    let (before, rest) = ids.split_at(ids.len() / 2);
    let mut model = opened(HostChip::Fused, name, Open::default())?;
    model.step(&step(0, 0, before))?;
    let saved = model.save(SeqId(0), deepseek_model::Extent::Whole)?;
    let want = model.step(&step(0, before.len(), rest))?.into_values();
    model.forget(SeqId(0));
    model.load(SeqId(0), &saved)?;
    let got = model.step(&step(0, before.len(), rest))?.into_values();
    conformance::compare::same_bits(name, &got, &want);
    assert_eq!(best(&got), best(&want));
    Ok(())
}

/// What a driver's author sees: a token of a tiny V4 model, line by line.
#[test]
fn the_log_of_a_token_is_as_written() -> Result<()> {
    for (chip, file) in [
        (HostChip::Composed, "composed.txt"),
        (HostChip::Fused, "fused.txt"),
    ] {
        let released = Open {
            numerics: Numerics::RELEASED,
            ..Open::default()
        };
        let mut model = opened(chip, "base-s0", released)?;
        model.step(&span(0, &[1; 40], Want::Last))?;
        model.step(&span(40, &[1], Want::Last))?;
        model.backend().start_log();
        model.step(&span(41, &[1], Want::Last))?;
        let log = model.backend().end_log();
        let text: String = log.iter().map(|entry| format!("{entry}\n")).collect();
        expect_test::expect_file![format!("../../fixtures/offload/{file}")].assert_eq(&text);
    }
    Ok(())
}
