//! What never changes a bit on the host: chunking, neighbours, threads, and what was taken back.

use anyhow::Result;
use backend_host::{Host, KernelSet};
use conformance::compare::same_bits;
use conformance::model::{Open, draft, logits, open, prompt, step};
use deepseek_attn::SourceId;
use deepseek_core::{Backend, HostTensor, Numerics};
use deepseek_model::{Decoder, Model, SeqId, Span, Step, TokenId, Want};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FIXTURES: [&str; 8] = [
    "flashy-s0",
    "prolike-s0",
    "cached-s0",
    "realrope-s0",
    "quant-s0",
    "plain-s7-release",
    "wide-s3-f32",
    "wide-s4-release",
];
const LEVELS: [(&str, Numerics); 3] = [
    ("exact", Numerics::EXACT),
    ("cache", Numerics::CACHE),
    ("released", Numerics::RELEASED),
];

#[test]
fn any_chunking_gives_the_same_bits() -> Result<()> {
    for name in FIXTURES {
        let ids = prompt(name)?;
        for (level, numerics) in LEVELS {
            let mut model = open(
                Host::new(2),
                name,
                Open {
                    numerics,
                    ..Open::default()
                },
            )?;
            let whole = logits(&mut model, &ids, &[512])?;
            for chunks in [&[1][..], &[2], &[3, 1, 128, 5], &[127, 2, 1], &[64]] {
                let cut = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} {level} in chunks of {chunks:?}");
                same_bits(&what, cut.data(), whole.data());
            }
        }
    }
    Ok(())
}

#[test]
fn any_chunking_leaves_the_same_rows_and_tails() -> Result<()> {
    for name in FIXTURES {
        let ids = prompt(name)?;
        for (level, numerics) in LEVELS {
            let mut want = None;
            for chunk in [512, 1, 3, 64] {
                let opened = Open {
                    numerics,
                    ..Open::default()
                };
                let mut model = open(Host::new(2), name, opened)?;
                for (index, tokens) in ids.chunks(chunk).enumerate() {
                    model.step(&step(0, index * chunk, tokens))?;
                }
                let got = remembered(&model, ids.len())?;
                let want = want.get_or_insert_with(|| got.clone());
                same_bits(&format!("{name} {level} in chunks of {chunk}"), &got, want);
            }
        }
    }
    Ok(())
}

/// Every compressed row, key and tail of the first sequence, one after another.
fn remembered(model: &Model<Host>, positions: usize) -> Result<Vec<f32>> {
    let be = model.backend();
    let mut all = Vec::new();
    let read = |rows: &_, at: &[u32]| -> Result<Vec<f32>> {
        Ok(be.download(&be.read_rows(rows, &be.ids(at)?)?)?.into_data())
    };
    let rooms = model.memory().rooms();
    for source in 0..model.plan().sources().len() {
        let store = model.memory().store(SourceId(source));
        let kind = rooms.kinds()[store.kind];
        let entries: Vec<u32> = (0..positions as u32 / kind.ratio)
            .map(|index| rooms.entry_row(&kind, 0, index))
            .collect();
        let needed = kind.needed_from(positions as u32, rooms.rewind());
        for pool in std::iter::once(&store.entries).chain(&store.keys) {
            all.extend(read(&pool.rows, &entries)?);
            if let Some(tail) = &pool.tail {
                let rows: Vec<u32> = (needed..positions as u32)
                    .map(|position| kind.tail_row(0, position))
                    .collect();
                all.extend(read(&tail.kv, &rows)?);
                all.extend(read(&tail.scores, &rows)?);
            }
        }
    }
    Ok(all)
}

#[test]
fn the_number_of_threads_changes_nothing() -> Result<()> {
    for name in FIXTURES {
        let ids = prompt(name)?;
        let mut one = open(Host::new(1), name, Open::default())?;
        let mut three = open(Host::new(3), name, Open::default())?;
        let (one, three) = (
            logits(&mut one, &ids, &[33])?,
            logits(&mut three, &ids, &[33])?,
        );
        same_bits(name, one.data(), three.data());
    }
    Ok(())
}

#[test]
fn the_kernel_set_changes_nothing() -> Result<()> {
    for name in FIXTURES {
        let ids = prompt(name)?;
        let yields = |set| -> Result<HostTensor> {
            let mut model = open(Host::start(2, set)?, name, Open::default())?;
            logits(&mut model, &ids, &[33])
        };
        let plain = yields(KernelSet::Plain)?;
        for set in KernelSet::available() {
            same_bits(&format!("{name} {set}"), yields(set)?.data(), plain.data());
        }
    }
    Ok(())
}

#[test]
fn a_ragged_batch_gives_each_sequence_what_it_yields_alone() -> Result<()> {
    for name in FIXTURES {
        let ids = prompt(name)?;
        for (level, numerics) in LEVELS {
            for seed in 0..2 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let what = format!("{name} {level} seed {seed}");
                let sequences: Vec<Vec<TokenId>> = (0..3)
                    .map(|_| {
                        let from = rng.random_range(0..ids.len() / 2);
                        ids[from..rng.random_range(from + 1..ids.len())].to_vec()
                    })
                    .collect();
                let opened = Open {
                    numerics,
                    sequences: 3,
                    ..Open::default()
                };
                let mut model = open(Host::new(2), name, opened)?;
                let mut got: Vec<Vec<f32>> = vec![Vec::new(); 3];
                let mut at = [0; 3];
                while (0..3).any(|seq| at[seq] < sequences[seq].len()) {
                    let mut together = Step::default();
                    let mut order: Vec<usize> = (0..3).collect();
                    order.swap(0, rng.random_range(0..3));
                    for seq in order {
                        let left = &sequences[seq][at[seq]..];
                        if left.is_empty() || rng.random_bool(0.3) {
                            continue;
                        }
                        let tokens = left[..rng.random_range(1..=left.len().min(40))].to_vec();
                        together.spans.push(Span {
                            seq: SeqId(seq as u32),
                            at: at[seq] as u32,
                            tokens,
                            media: Vec::new(),
                            want: Want::All,
                        });
                    }
                    if together.spans.is_empty() {
                        continue;
                    }
                    let logits = model.step(&together)?;
                    for (index, span) in together.spans.iter().enumerate() {
                        let seq = span.seq.0 as usize;
                        got[seq].extend(logits.span(index).flatten());
                        at[seq] += span.tokens.len();
                    }
                }
                let mut alone = open(
                    Host::new(2),
                    name,
                    Open {
                        numerics,
                        ..Open::default()
                    },
                )?;
                for (seq, tokens) in sequences.iter().enumerate() {
                    let want = logits(&mut alone, tokens, &[512])?;
                    same_bits(&format!("{what} sequence {seq}"), &got[seq], want.data());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn rewind_and_replay_equals_never_having_drafted() -> Result<()> {
    for name in FIXTURES {
        let ids = prompt(name)?;
        for (level, numerics) in LEVELS {
            let drafts = name != "quant-s0";
            let opened = Open {
                numerics,
                drafts,
                ..Open::default()
            };
            let mut straight = open(Host::new(2), name, opened)?;
            let want = logits(&mut straight, &ids, &[512])?;
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            let mut model = open(Host::new(2), name, opened)?;
            let (mut got, mut at) = (Vec::new(), 0);
            while at < ids.len() {
                // Wrong tokens for up to the whole reach of a rewind, then back, then the right ones.
                let reach = model.capacity().rewind as usize;
                let wrong: Vec<TokenId> = (0..rng.random_range(0..=reach))
                    .map(|_| rng.random_range(2..90))
                    .collect();
                if at > 0 && drafts {
                    draft(&mut model, ids[at], 3)?;
                }
                if at > 0 && !wrong.is_empty() {
                    model.step(&step(0, at, &wrong))?;
                    model.rewind(SeqId(0), at as u32);
                }
                let end = (at + rng.random_range(1..30)).min(ids.len());
                got.extend(model.step(&step(0, at, &ids[at..end]))?.into_values());
                at = end;
            }
            same_bits(&format!("{name} {level}"), &got, want.data());
        }
    }
    Ok(())
}

/// Steps so short that every ring is written over several times, and after every other step the
/// sequence goes back as far as it can: a row that is lost too early is missed then.
#[test]
fn windows_that_wrap_lose_nothing() -> Result<()> {
    const STEP: usize = 8;

    for name in FIXTURES {
        let ids = prompt(name)?;
        for (level, numerics) in LEVELS {
            let opened = Open {
                numerics,
                drafts: name != "quant-s0",
                ..Open::default()
            };
            let mut straight = open(Host::new(2), name, opened)?;
            let want = straight.step(&step(0, 0, &ids))?.into_values();
            let short = Open {
                step_tokens: STEP,
                ..opened
            };
            let mut model = open(Host::new(2), name, short)?;
            let (ring, width) = (model.plan().ring_rows(), want.len() / ids.len());
            let what = format!(
                "{name} {level}, {} positions in a ring of {ring}",
                ids.len()
            );
            assert!(ids.len() > ring, "{what}: it does not wrap");
            let reach = model.capacity().rewind as usize;
            let mut got = Vec::new();
            let mut read = |model: &mut Model<Host>, at: usize| -> Result<()> {
                let end = ids.len().min(at + STEP);
                got.truncate(at * width);
                got.extend(model.step(&step(0, at, &ids[at..end]))?.into_values());
                Ok(())
            };
            for at in (0..ids.len()).step_by(STEP) {
                read(&mut model, at)?;
                let end = ids.len().min(at + STEP);
                if end % (2 * STEP) == 0 && end > reach {
                    model.rewind(SeqId(0), (end - reach) as u32);
                    for at in (end - reach..end).step_by(STEP) {
                        read(&mut model, at)?;
                    }
                }
            }
            same_bits(&what, &got, &want);
            let [got, want] = [&mut model, &mut straight].map(|model| draft(model, ids[0], 4));
            assert_eq!(got?, want?, "{what}: drafts");
        }
    }
    Ok(())
}

#[test]
fn drafts_do_not_depend_on_chunking_or_on_drafts_taken_back() -> Result<()> {
    for name in ["flashy-s0", "prolike-s0", "realrope-s0"] {
        let ids = prompt(name)?;
        let opened = Open {
            drafts: true,
            ..Open::default()
        };
        let mut drafts = Vec::new();
        for chunk in [1, 7, 512] {
            let mut model = open(Host::new(2), name, opened)?;
            for (index, tokens) in ids.chunks(chunk).enumerate() {
                let at = index * chunk;
                if at > 0 {
                    draft(&mut model, 5, 2)?;
                    model.step(&step(0, at, &[3, 4, 5]))?;
                    model.rewind(SeqId(0), at as u32);
                }
                model.step(&step(0, at, tokens))?;
            }
            drafts.push(draft(&mut model, 9, 4)?);
        }
        assert_eq!(drafts[0].len(), 4);
        assert!(
            drafts.iter().all(|other| *other == drafts[0]),
            "{name}: {drafts:?}"
        );
    }
    Ok(())
}

#[test]
fn a_forgotten_sequence_leaves_nothing_behind() -> Result<()> {
    let ids = prompt("flashy-s0")?;
    let opened = Open {
        drafts: true,
        ..Open::default()
    };
    let mut fresh = open(Host::new(2), "flashy-s0", opened)?;
    let want = logits(&mut fresh, &ids[..40], &[40])?;
    let mut used = open(Host::new(2), "flashy-s0", opened)?;
    logits(&mut used, &ids, &[50])?;
    let got = logits(&mut used, &ids[..40], &[40])?;
    same_bits("after another conversation", got.data(), want.data());
    Ok(())
}
