//! What a step asks of a device: how often it waits, what it brings there, and whether that depends on
//! anything but the model.

use anyhow::{Context, Result};
use backend_candle::Candle;
use backend_host::Host;
use conformance::counting::{Counting, Counts};
use conformance::model::{Open, best, draft, logits, open, prompt, step};
use deepseek_core::{HostTensor, Lists};
use deepseek_model::{Decoder, Insert, Model, Prefill, SeqId, Span, Step, TokenId, Want};
use deepseek_vision::Grid;

type Counted = Model<Counting<Host>>;

/// Fixtures, their experts, and how a prompt of theirs is read: V4, V4.1, and V4.1 with its prompt cut.
const MODELS: [(&str, usize, Prefill); 4] = [
    ("flashy-s0", 8, Prefill::Full),
    ("prolike-s0", 12, Prefill::Full),
    ("plain-s7-release", 6, Prefill::Full),
    ("wide-s4-release", 6, Prefill::Replay),
];

fn counted(name: &str, experts: usize, opened: Open) -> Result<Counted> {
    open(Counting::new(Host::new(2), experts)?, name, opened)
}

fn span(at: usize, tokens: &[TokenId], want: Want) -> Step {
    let mut step = step(0, at, tokens);
    step.spans[0].want = want;
    step
}

/// What one step asks for.
fn asked(model: &mut Counted, step: &Step) -> Result<Counts> {
    model.backend().take();
    model.step(step)?;
    Ok(model.backend().take())
}

#[test]
fn grouped_experts_and_padded_lists_mean_what_the_provided_bodies_mean() -> Result<()> {
    conformance::verbs::check(&Counting::new(Host::new(2), 5)?, 0..6)?;
    conformance::verbs::check(&Counting::new(Host::new(2), 5)?.with(Lists::Fixed), 0..6)?;
    conformance::verbs::check(&Counting::new(Candle::plain(), 5)?, 0..6)
}

#[test]
fn a_step_waits_once() -> Result<()> {
    for (name, experts, prefill) in MODELS {
        let opened = Open {
            drafts: true,
            prefill,
            ..Open::default()
        };
        let mut model = counted(name, experts, opened)?;
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
            let counts = asked(&mut model, &step)?;
            assert_eq!(counts.waits, 1, "{name}: {what}");
        }
        model.backend().take();
        let drafts = draft(&mut model, ids[0], 2)?;
        assert_eq!(drafts.len(), 2, "{name}");
        assert_eq!(model.backend().take().waits, 1, "{name}: two proposals");
    }
    Ok(())
}

#[test]
fn a_step_with_media_waits_once() -> Result<()> {
    let name = "plain-s7-release";
    let mut model = counted(name, 6, Open::default())?;
    let vision = model.capacity().vision.context("a tower")?;
    let grid = Grid::fit(64, 64, &vision);
    let patches = grid.patches[0] * grid.patches[1];
    let width = 3 * vision.patch * vision.patch;
    let patches = HostTensor::new(&[patches, width], vec![0.25; patches * width]);
    let media = model.attach_patches(&patches, &grid)?;
    let tokens = vec![5; grid.tokens() + 3];
    let step = Step {
        spans: vec![Span {
            seq: SeqId(0),
            at: 0,
            media: vec![Insert {
                media,
                tokens: 2..2 + grid.tokens(),
                from: 0,
            }],
            tokens,
            want: Want::Last,
        }],
    };
    assert_eq!(asked(&mut model, &step)?.waits, 1);
    Ok(())
}

/// All of these have layers of both kinds with compressed rows, and no drafter is loaded.
#[test]
fn what_a_step_brings_to_the_device_does_not_grow_with_the_layers() -> Result<()> {
    let layers = [("base-s0", 3, 2), ("cached-s0", 8, 4), ("flashy-s0", 8, 6)];
    let mut uploads = Vec::new();
    for (name, experts, count) in layers {
        let mut model = counted(name, experts, Open::default())?;
        assert_eq!(model.plan().layers().len(), count, "{name}");
        let counts = asked(&mut model, &span(0, &[1; 40], Want::Last))?;
        let decode = asked(&mut model, &span(40, &[1], Want::Last))?;
        uploads.push((counts.uploads, decode.uploads));
    }
    assert!(uploads.iter().all(|own| *own == uploads[0]), "{uploads:?}");
    Ok(())
}

#[test]
fn the_calls_of_a_step_do_not_depend_on_its_tokens() -> Result<()> {
    for (name, experts, prefill) in MODELS {
        let opened = Open {
            prefill,
            ..Open::default()
        };
        let mut calls = Vec::new();
        for tokens in [1, 64, 512] {
            let mut model = counted(name, experts, opened)?;
            // A token stands where the first layers have made rows already.
            let before = if tokens == 1 { 300 } else { 0 };
            if before > 0 {
                model.step(&span(0, &vec![1; before], Want::Nothing))?;
                model.step(&span(before, &[1; 40], Want::Last))?;
            }
            let at = if before > 0 { before + 40 } else { 0 };
            calls.push(
                asked(&mut model, &span(at, &vec![1; tokens], Want::Last))?
                    .calls
                    .len(),
            );
        }
        assert!(
            calls.iter().all(|own| *own == calls[0]),
            "{name}: {calls:?}"
        );
    }
    Ok(())
}

/// What each of three hundred tokens in a row asks for, behind eight others, with lists of a kind.
fn three_hundred_tokens(
    (name, experts, prefill): (&str, usize, Prefill),
    lists: Lists,
) -> Result<Vec<Counts>> {
    let opened = Open {
        prefill,
        ..Open::default()
    };
    let device = Counting::new(Host::new(2), experts)?.with(lists);
    let mut model = open(device, name, opened)?;
    model.step(&span(0, &[1; 8], Want::Last))?;
    (8..308)
        .map(|at| asked(&mut model, &span(at, &[at as TokenId % 7 + 1], Want::Last)))
        .collect()
}

#[test]
fn three_hundred_tokens_ask_for_the_same_calls() -> Result<()> {
    for model in MODELS {
        let counts = three_hundred_tokens(model, Lists::Padded)?;
        for (at, own) in counts.iter().enumerate() {
            assert_eq!(own.calls, counts[0].calls, "{} at {at}", model.0);
            assert_eq!(own.uploads, counts[0].uploads, "{} at {at}", model.0);
        }
        let of_one_shape = counts.chunk_by(|own, next| own.shapes == next.shapes);
        let most = 1 + (300.0_f32).log2().ceil() as usize;
        assert!(of_one_shape.count() <= most, "{}", model.0);
    }
    Ok(())
}

/// So a device that captures a step as a graph captures it once.
#[test]
fn with_fixed_lists_they_ask_for_the_same_shapes_and_bytes() -> Result<()> {
    for model in MODELS {
        let counts = three_hundred_tokens(model, Lists::Fixed)?;
        assert!(!counts[0].shapes.is_empty());
        for (at, own) in counts.iter().enumerate() {
            assert_eq!(*own, counts[0], "{} at {at}", model.0);
        }
    }
    Ok(())
}

/// Padded and fixed lists and the provided bodies say what the host says.
#[test]
fn a_device_with_the_primitives_alone_says_what_the_host_says() -> Result<()> {
    for (name, experts, prefill) in MODELS {
        let opened = Open {
            prefill,
            ..Open::default()
        };
        let ids = prompt(name)?;
        let mut host = open(Host::new(2), name, opened)?;
        let want = logits(&mut host, &ids, &[512])?;
        for lists in [Lists::Padded, Lists::Fixed] {
            let device = Counting::new(Host::new(2), experts)?.with(lists);
            let got = logits(&mut open(device, name, opened)?, &ids, &[33])?;
            conformance::compare::close(name, got.data(), want.data(), 2e-4);
            assert_eq!(best(got.row(ids.len() - 1)), best(want.row(ids.len() - 1)));
        }
    }
    Ok(())
}
