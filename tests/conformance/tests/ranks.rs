//! Models that are divided among ranks: against the references, and against themselves.

mod scene;

use anyhow::{Context, Result};
use backend_host::Host;
use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Offload, Options};
use conformance::album::{decode, run, spans};
use conformance::compare::{close, relative, root_mean_square, same_bits};
use conformance::counting::Counting;
use conformance::fixture::{Fixture, folder};
use conformance::fixtures::{V4, V4_TOLERANCE, V41, V41_TOLERANCE};
use conformance::model::{
    Open, best, draft, logits, meta, open, prompt, released_distances, speak, step,
};
use conformance::ranks::{PAIRS, divided, open_on};
use deepseek_cluster::Cluster;
use deepseek_core::{Group, Kernels, Member, Numerics, Parallel};
use deepseek_model::bill::bytes_on;
use deepseek_model::inventory::inventory;
use deepseek_model::{
    Config, Decoder, Extent, Model, PlanError, Prefill, SeqId, Span, Step, TokenId, Want,
};
use deepseek_testkit::tiny_v41_config;

use self::scene::{COMPRESSED, Scene, VOCABULARY, checkpoint, load};

/// Bytes of memory of an accelerator that the host plays.
const MEMORY: usize = 256 << 20;

const FOUR: Parallel = Parallel {
    tensor: 4,
    expert: 2,
};

fn host(member: Member) -> Result<Host> {
    Ok(Host::new(1).joined(member))
}

fn accelerator(chip: HostChip) -> impl Fn(Member) -> Result<Offload<HostDriver>> + Sync {
    move |member| {
        let options = Options {
            poison: true,
            ..Options::default()
        };
        let open = move || Ok(HostDriver::new(chip, MEMORY).joined(member));
        Ok(Offload::start(options, open)?)
    }
}

fn at(parallel: Parallel) -> Open {
    Open {
        parallel,
        ..Open::default()
    }
}

/// Every prompt of a fixture of V4, and one token at a time.
fn v4_agrees<B: Kernels>(
    name: &str,
    what: &str,
    prompts: usize,
    model: &mut Cluster<Model<B>>,
) -> Result<()> {
    let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
    for prompt in 0..prompts {
        let ids = reference.ids(&format!("p{prompt}.input_ids"))?;
        let want = reference.floats(&format!("p{prompt}.logits"))?;
        let got = logits(model, &ids, &[512])?;
        let what = format!("{name} p{prompt} {what}");
        close(&what, got.data(), want.data(), V4_TOLERANCE);
    }
    let ids = reference.ids("decode.input_ids")?;
    let want = reference.floats("decode.logits")?;
    let got = logits(model, &ids, &[1])?;
    let first = ids.len() - want.shape()[0];
    let got = &got.data()[first * got.width()..];
    close(
        &format!("{name} decode {what}"),
        got,
        want.data(),
        V4_TOLERANCE,
    );
    Ok(())
}

#[test]
fn v4_gives_the_logits_of_the_reference() -> Result<()> {
    for parallel in PAIRS {
        for (name, _) in V4 {
            let mut model = open_on(host, name, at(parallel))?;
            v4_agrees(name, &parallel.to_string(), 2, &mut model)?;
        }
    }
    let mut model = open_on(host, "prolike-s0", at(FOUR))?;
    v4_agrees("prolike-s0", &FOUR.to_string(), 8, &mut model)
}

#[test]
fn v41_gives_the_logits_of_the_reference() -> Result<()> {
    for parallel in PAIRS {
        for name in V41 {
            let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
            let ids = prompt(name)?;
            let mut model = open_on(host, name, at(parallel))?;
            for chunks in [&[512][..], &[1], &[5, 1, 17, 13, 2, 7]] {
                let got = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} {parallel} in chunks of {chunks:?}");
                reference.holds(&what, got.data(), "logits_full.none", V41_TOLERANCE)?;
            }
            let cut = Open {
                prefill: Prefill::Replay,
                ..at(parallel)
            };
            let mut model = open_on(host, name, cut)?;
            let n = meta(name)?["prompt_len"].as_u64().context("prompt_len")? as usize;
            let what = format!("{name} {parallel} cut");
            let mut got = run(&mut model, spans(&ids[..n], &[], &[7, 512], Want::Last))?;
            got.extend(decode(&mut model, n, &ids[n..])?);
            reference.holds(&what, &got, "logits_replay.none", V41_TOLERANCE)?;
        }
    }
    Ok(())
}

#[test]
fn an_accelerator_that_the_host_plays_gives_them_too() -> Result<()> {
    for parallel in PAIRS {
        for chip in [HostChip::Composed, HostChip::Fused] {
            for name in ["flashy-s0", "quant-s0"] {
                let mut model = open_on(accelerator(chip), name, at(parallel))?;
                v4_agrees(name, &format!("{parallel} {chip:?}"), 1, &mut model)?;
            }
        }
        let name = "wide-s4-release";
        let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
        let mut model = open_on(accelerator(HostChip::Composed), name, at(parallel))?;
        let got = logits(&mut model, &prompt(name)?, &[512])?;
        let what = format!("{name} {parallel} offload");
        reference.holds(&what, got.data(), "logits_full.none", V41_TOLERANCE)?;
    }
    Ok(())
}

/// A part of an expert's width gives a part of its result, which is rounded before it is added to the others: roundings
/// that one rank does not make. So the level is not as near as there, but nearer than what it changes at all.
#[test]
fn the_released_level_is_nearer_to_the_reference_than_no_rounding() -> Result<()> {
    // Of the others a block of columns that share a scale would be divided.
    for (name, parallel) in [
        ("realrope-s0", PAIRS[0]),
        ("realrope-s0", PAIRS[1]),
        ("cached-s0", PAIRS[2]),
    ] {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let opened = Open {
            numerics: Numerics::RELEASED,
            ..at(parallel)
        };
        let mut model = open_on(host, name, opened)?;
        let ids = reference.ids("released.input_ids")?;
        let want = reference.floats("released.logits")?;
        let got = logits(&mut model, &ids, &[512])?;
        let rms = root_mean_square(got.data(), want.data());
        let [_, level] = released_distances(name)?;
        assert!(
            rms <= level,
            "{name} {parallel}: {rms} apart, at most {level}"
        );
    }
    Ok(())
}

#[test]
fn drafts_are_those_of_the_reference() -> Result<()> {
    for parallel in PAIRS {
        let opened = Open {
            drafts: true,
            ..at(parallel)
        };
        for name in ["flashy-s0", "prolike-s0", "base-s0"] {
            let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
            let mut model = open_on(host, name, opened)?;
            let ids = reference.ids("mtp.input_ids")?;
            let [first, second, third] =
                ["mtp", "mtp2", "mtp3"].map(|of| reference.floats(&format!("{of}.logits")));
            let [first, second, third] = [first?, second?, third?];
            for (row, position) in reference.ids("chain.positions")?.into_iter().enumerate() {
                let at = position as usize;
                model.step(&step(0, 0, &ids[..=at]))?;
                let got = draft(&mut model, ids[at + 1], 3)?;
                let want = [first.row(at), second.row(row), third.row(row)].map(best);
                assert_eq!(got, want, "{name} {parallel} after position {at}");
                model.forget(SeqId(0));
            }
        }
        for name in ["plain-s7-release", "wide-s3-f32"] {
            let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
            let (shape, tokens) = reference.integers("draft_tokens.none")?;
            let n = meta(name)?["prompt_len"].as_u64().context("prompt_len")? as usize;
            let (ids, mut model) = (prompt(name)?, open_on(host, name, opened)?);
            model.step(&step(0, 0, &ids[..n]))?;
            for (at, want) in (n..ids.len()).zip(tokens.chunks(shape[1])) {
                let got = draft(&mut model, ids[at], shape[1] as u32)?;
                let want: Vec<TokenId> = want.iter().map(|id| *id as u32).collect();
                assert_eq!(got, want, "{name} {parallel} at {at}");
                model.step(&step(0, at, &ids[at..=at]))?;
            }
        }
    }
    Ok(())
}

/// What follows from one order of sums for every row: nothing else changes a bit.
#[test]
fn chunks_neighbours_and_runs_change_no_bit() -> Result<()> {
    for parallel in PAIRS {
        for name in ["flashy-s0", "wide-s4-release"] {
            let opened = Open {
                sequences: 2,
                drafts: true,
                ..at(parallel)
            };
            let ids = prompt(name)?;
            let mut model = open_on(host, name, opened)?;
            let want = logits(&mut model, &ids, &[512])?;
            for chunks in [&[1][..], &[5, 1, 17, 13, 2, 7]] {
                let got = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} {parallel} in chunks of {chunks:?}");
                same_bits(&what, got.data(), want.data());
            }
            let mut again = open_on(host, name, opened)?;
            let got = logits(&mut again, &ids, &[512])?;
            same_bits(&format!("{name} {parallel} again"), got.data(), want.data());

            let span = |seq, tokens: &[TokenId]| Span {
                seq: SeqId(seq),
                at: 0,
                tokens: tokens.to_vec(),
                media: Vec::new(),
                want: Want::All,
            };
            let both = Step {
                spans: vec![span(1, &ids[..9]), span(0, &ids)],
            };
            let beside = model.step(&both)?.into_values();
            let own = &beside[9 * want.width()..];
            same_bits(&format!("{name} {parallel} beside"), own, want.data());
            model.forget(SeqId(0));
            model.forget(SeqId(1));

            let last = want.row(ids.len() - 1);
            model.step(&step(0, 0, &ids))?;
            let plain = speak(&mut model, last, ids.len(), 12, 0)?;
            model.step(&step(0, 0, &ids))?;
            let drafted = speak(&mut model, last, ids.len(), 12, 3)?;
            assert_eq!(drafted.ids, plain.ids, "{name} {parallel} with drafts");
        }
    }
    Ok(())
}

#[test]
fn a_sequence_is_saved_once_and_goes_on_on_all_ranks() -> Result<()> {
    for parallel in PAIRS {
        for (name, prefill) in [
            ("flashy-s0", Prefill::Full),
            ("plain-s7-release", Prefill::Full),
            ("wide-s4-release", Prefill::Replay),
        ] {
            let opened = Open {
                sequences: 2,
                drafts: true,
                prefill,
                ..at(parallel)
            };
            let ids = prompt(name)?;
            let half = ids.len() / 2;
            let mut model = open_on(host, name, opened)?;
            let read = |model: &mut Cluster<Model<Host>>| -> Result<Vec<f32>> {
                let spans = spans(&ids[..half], &[], &[7], Want::Last);
                run(model, spans)?;
                decode(model, half, &ids[half..half + 2])
            };
            let goes_on = |model: &mut Cluster<Model<Host>>, seq: u32| -> Result<Vec<f32>> {
                let (at, end) = (half + 2, half + 9);
                let first = step(seq, at, &ids[at..end]);
                let mut logits = model.step(&first)?.into_values();
                model.rewind(SeqId(seq), at as u32 + 1);
                let again = step(seq, at + 1, &ids[at + 1..end]);
                logits.extend(model.step(&again)?.into_values());
                Ok(logits)
            };
            read(&mut model)?;
            let tail = model.save(SeqId(0), Extent::Tail)?;
            let whole = model.save(SeqId(0), Extent::Whole)?;
            let what = format!("{name} {prefill:?} {parallel}");
            let want = goes_on(&mut model, 0)?;
            model.load(SeqId(0), &tail)?;
            same_bits(&format!("{what}, tail"), &goes_on(&mut model, 0)?, &want);
            model.load(SeqId(1), &whole)?;
            same_bits(&format!("{what}, whole"), &goes_on(&mut model, 1)?, &want);

            let mut other = open_on(host, name, opened)?;
            let mut from = Some(0);
            while let Some(at) = from {
                from = other.load_more(SeqId(1), &whole, at, 1)?;
            }
            same_bits(
                &format!("{what}, in parts"),
                &goes_on(&mut other, 1)?,
                &want,
            );
        }
    }
    Ok(())
}

#[test]
fn images_audio_and_videos_in_a_prompt_are_read_by_all_ranks() -> Result<()> {
    let (folder, json) = (checkpoint()?, tiny_v41_config(VOCABULARY, COMPRESSED)?);
    for prefill in [Prefill::Full, Prefill::Replay] {
        let open =
            |be, parallel| load(be, folder.path(), &json, Numerics::EXACT, prefill, parallel);
        let mut one = open(Host::new(1), Parallel::ALONE)?;
        let scene = Scene::new(&mut one, 1)?;
        let want = scene.answer(&mut one, &[512])?;
        for parallel in PAIRS {
            let mut model = divided(parallel, host, |be| open(be, parallel))?;
            let scene = Scene::new(&mut model, 1)?;
            for chunks in [&[512][..], &[7, 26, 5]] {
                let got = scene.answer(&mut model, chunks)?;
                let what = format!("{prefill:?} {parallel} in chunks of {chunks:?}");
                relative(&what, &got, &want, 1e-4);
            }
        }
    }
    Ok(())
}

/// The matrices that a rank holds, the calls of a step that ranks make together, and what the plan says.
#[test]
fn each_rank_holds_its_part_and_meets_the_others_twice_a_layer() -> Result<()> {
    for name in ["flashy-s0", "quant-s0", "base-s0", "wide-s4-release"] {
        let json = std::fs::read_to_string(folder(name).join("config.json"))?;
        let config = Config::parse(&json)?.without_drafts();
        let one = Counting::new(Host::new(1), config.experts.count)?;
        let alone = open(one, name, Open::default())?;
        let whole = alone.backend().take().bytes_loaded as u64;
        for parallel in PAIRS {
            for member in Group::of(parallel.world()) {
                let (what, rank) = (format!("{name} {parallel}"), member.rank());
                let shares = parallel.shares(rank);
                // Of what is no matrix nothing is loaded, and of vectors no more than sinks are divided.
                let elsewhere: u64 = inventory(&config, config.storage)
                    .filter(|spec| spec.is_matrix() || spec.is_scale())
                    .map(|spec| spec.bytes() - spec.bytes_on(&shares))
                    .sum();
                let be = Counting::new(host(member)?, config.experts.count)?;
                let model = open(be, name, at(parallel))?;
                let held = model.backend().take().bytes_loaded as u64;
                assert_eq!(held, whole - elsewhere, "{what}, rank {rank}");
                assert!(
                    elsewhere * 12 > whole,
                    "{what}: {elsewhere} of {whole} elsewhere"
                );
                assert!(
                    bytes_on(model.plan(), rank) < bytes_on(alone.plan(), 0),
                    "{what}"
                );
            }
        }
        let parallel = PAIRS[0];
        let ids = prompt(name)?;
        let device = |member| -> Result<Counting<Host>> {
            Ok(Counting::new(host(member)?, config.experts.count)?)
        };
        let mut model = open_on(device, name, at(parallel))?;
        model.leader().backend().take();
        for (at, tokens) in [(0, &ids[..9]), (9, &ids[9..10])] {
            model.step(&step(0, at, tokens))?;
            let calls = model.leader().backend().take().calls;
            let count = |name| calls.iter().filter(|call| **call == name).count();
            assert_eq!(count("all_reduce"), 2 * config.layers, "{name}");
            assert_eq!(count("all_gather"), 1, "{name}");
        }
    }
    Ok(())
}

#[test]
fn what_ranks_cannot_divide_is_refused() -> Result<()> {
    let told = |name: &str, parallel| -> Result<String> {
        let error = open_on(host, name, at(parallel)).err().context("refused")?;
        Ok(error.downcast::<PlanError>()?.to_string())
    };
    let of = |tensor, expert| Parallel { tensor, expert };
    assert_eq!(
        told("flashy-s0", of(4, 1))?,
        "2 groups of heads cannot be divided among 4 ranks"
    );
    assert_eq!(
        told("base-s0", of(1, 4))?,
        "3 experts cannot be divided among 4 ranks"
    );
    assert_eq!(
        told("flashy-s0", of(2, 4))?,
        "2 ranks for heads and 4 for experts, want one a multiple of the other"
    );
    assert!(told("flashy-s0", of(0, 1))?.ends_with("is 0, want at least 1"));

    // Inputs that are rounded in blocks are not cut within one.
    let opened = Open {
        numerics: Numerics::FULL,
        ..at(PAIRS[0])
    };
    let error = open_on(host, "quant-s0", opened).err().context("refused")?;
    let text = format!("{error:#}");
    assert!(text.contains("experts.0.w2.weight"), "{text}");
    assert!(text.contains("at column 64 of 128"), "{text}");

    // And a rank of another number of ranks than the plan has is none of them.
    let error = open(Host::new(1), "flashy-s0", at(PAIRS[0]));
    let text = error.err().context("refused")?.to_string();
    assert_eq!(text, "a plan for 2 ranks (tensor 2, expert 1) on one of 1");
    Ok(())
}
