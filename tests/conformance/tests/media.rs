//! With audio and videos in the prompt, too, nothing changes a bit that should not: chunking,
//! neighbours, threads, what was taken back, drafts.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use backend_host::Host;
use conformance::album::{decode, run};
use conformance::compare::same_bits;
use conformance::model::{draft, speak, step};
use deepseek_audio::{Audio, Chunks};
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{
    Budget, Config, Decoder, Error, Insert, Media, MediaId, Model, Plan, Prefill, SeqId, Span,
    Step, TokenId, Want,
};
use deepseek_testkit::{tiny_v41_config, write_checkpoint};
use deepseek_vision::video::{Clip, Video};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

const VOCABULARY: usize = 320;
const COMPRESSED: usize = 254;
const LEVELS: [Numerics; 3] = [Numerics::EXACT, Numerics::CACHE, Numerics::RELEASED];
/// What is decoded after the prompt.
const AFTER: [TokenId; 5] = [65, 66, 300, 67, 68];

fn checkpoint() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), &tiny_v41_config(VOCABULARY, COMPRESSED)?, 3)?;
    Ok(folder)
}

fn load(
    folder: &Path,
    json: &str,
    threads: usize,
    (numerics, prefill): (Numerics, Prefill),
) -> Result<Model<Host>> {
    let budget = Budget {
        context: 512,
        sequences: 2,
        prefill,
        ..Budget::default()
    };
    let plan = Plan::new(&Config::parse(json)?, numerics, budget)?;
    let ids = (0..VOCABULARY).map(|id| id.min(COMPRESSED - 1) as u32);
    Ok(Model::load(
        Host::new(threads),
        plan,
        &Checkpoint::open(folder)?,
        Some(ids.collect::<Vec<_>>()),
        &mut |_, _| ControlFlow::Continue(()),
    )?)
}

/// A prompt with audio of two chunks and a video whose audio stands between its frames.
#[derive(Debug, Clone)]
struct Scene {
    tokens: Vec<TokenId>,
    /// The first place, the medium, its first row, how many rows.
    placed: Vec<(usize, MediaId, usize, usize)>,
}

impl Scene {
    fn new(model: &mut Model<Host>, seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let capacity = model.capacity();
        let (vision, audio) = (
            capacity.vision.expect("a vision encoder"),
            capacity.audio.expect("an audio encoder"),
        );
        let wave: Vec<f32> = (0..50_000)
            .map(|at| (at as f32 * 0.05).sin() * rng.random::<f32>())
            .collect();
        let open = || Ok(Audio::from_blocks(16_000, std::iter::once(wave.clone())));
        let chunks = Chunks::new(&audio, open)?.collect::<Result<Vec<_>, _>>()?;
        let mut video = b"YUV4MPEG2 W24 H16 F2:1 Ip C444\n".to_vec();
        for _ in 0..5 {
            video.extend(b"FRAME\n");
            video.extend((0..24 * 16 * 3).map(|_| rng.random::<u8>()));
        }
        let config = deepseek_vision::video::VideoConfig {
            frame_max_tokens: 14,
            frame_min_tokens: 8,
            frame_min_pixels: 256,
            temporal_merge: 2,
            ..Default::default()
        };
        let shots = Clip::new(Video::from_bytes(video)?, &vision, &config);
        let shots = shots.collect::<Result<Vec<_>, _>>()?;
        assert_eq!((chunks.len(), shots.len()), (2, 3));

        let mut scene = Self {
            tokens: (0..7).map(|_| rng.random_range(3..250)).collect(),
            placed: Vec::new(),
        };
        let mut rows = Vec::new();
        for chunk in chunks {
            let media = Media::Audio(chunk);
            rows.push((model.attach(&media)?, media.tokens()));
        }
        for (media, count) in rows.clone() {
            scene.place(281, media, 0..count, &mut rng);
        }
        for (index, shot) in shots.into_iter().enumerate() {
            let media = Media::Shot(shot);
            let count = media.tokens();
            scene.place(272, model.attach(&media)?, 0..count, &mut rng);
            // A block of the second half of one chunk and the first of the other.
            let [(first, last), (second, _)] = [rows[0], rows[1]];
            scene.place(281, first, 0..1, &mut rng);
            scene.place(281, first, last - 9 - index..last - 1, &mut rng);
            scene.place(281, second, 1..6, &mut rng);
            scene.place(281, second, rows[1].1 - 1..rows[1].1, &mut rng);
        }
        Ok(scene)
    }

    fn place(
        &mut self,
        id: TokenId,
        media: MediaId,
        rows: std::ops::Range<usize>,
        rng: &mut ChaCha8Rng,
    ) {
        self.placed
            .push((self.tokens.len(), media, rows.start, rows.len()));
        let end = self.tokens.len() + rows.len();
        self.tokens.resize(end, id);
        let words = rng.random_range(0..4);
        self.tokens
            .extend((0..words).map(|_| rng.random_range(3..250)));
    }

    /// The prompt in spans of these sizes, the last of which repeats.
    fn spans(&self, seq: u32, chunks: &[usize]) -> Vec<Span> {
        let (mut spans, mut at) = (Vec::new(), 0);
        let mut sizes = chunks.iter().copied();
        let last = *chunks.last().expect("a size");
        while at < self.tokens.len() {
            let end = (at + sizes.next().unwrap_or(last)).min(self.tokens.len());
            let media = self.placed.iter().filter_map(|(place, media, row, rows)| {
                let (start, stop) = ((*place).max(at), (place + rows).min(end));
                (start < stop).then(|| Insert {
                    media: *media,
                    tokens: start - at..stop - at,
                    from: row + start - place,
                })
            });
            spans.push(Span {
                seq: SeqId(seq),
                at: at as u32,
                tokens: self.tokens[at..end].to_vec(),
                media: media.collect(),
                want: if end < self.tokens.len() {
                    Want::Nothing
                } else {
                    Want::Last
                },
            });
            at = end;
        }
        spans
    }

    /// The logits after the prompt and after each token that follows.
    fn answer(&self, model: &mut Model<Host>, chunks: &[usize]) -> Result<Vec<f32>> {
        let mut logits = run(model, self.spans(0, chunks))?;
        logits.extend(decode(model, self.tokens.len(), &AFTER)?);
        model.forget(SeqId(0));
        Ok(logits)
    }
}

/// Every level and way to read a prompt.
fn each(
    mut check: impl FnMut(&str, &mut dyn FnMut(usize) -> Result<Model<Host>>) -> Result<()>,
) -> Result<()> {
    let (folder, json) = (checkpoint()?, tiny_v41_config(VOCABULARY, COMPRESSED)?);
    for numerics in LEVELS {
        for prefill in [Prefill::Full, Prefill::Replay] {
            let mut open = |threads| load(folder.path(), &json, threads, (numerics, prefill));
            check(&format!("{numerics:?} {prefill:?}"), &mut open)?;
        }
    }
    Ok(())
}

#[test]
fn any_chunking_and_any_number_of_threads_give_the_same_bits() -> Result<()> {
    each(|what, open| {
        let mut model = open(2)?;
        let scene = Scene::new(&mut model, 1)?;
        let want = scene.answer(&mut model, &[512])?;
        for chunks in [&[1][..], &[30, 1, 2], &[13], &[7, 26, 5]] {
            let got = scene.answer(&mut model, chunks)?;
            same_bits(&format!("{what} in chunks of {chunks:?}"), &got, &want);
        }
        let mut three = open(3)?;
        let scene = Scene::new(&mut three, 1)?;
        same_bits(what, &scene.answer(&mut three, &[512])?, &want);
        Ok(())
    })
}

#[test]
fn a_scene_beside_another_is_what_it_is_alone() -> Result<()> {
    each(|what, open| {
        let mut model = open(2)?;
        let scenes = [Scene::new(&mut model, 1)?, Scene::new(&mut model, 2)?];
        let want: Vec<Vec<f32>> = scenes
            .iter()
            .map(|scene| scene.answer(&mut model, &[512]))
            .collect::<Result<_>>()?;
        let mut queues = [0, 1].map(|seq| {
            scenes[seq]
                .spans(seq as u32, &[[11], [17]][seq])
                .into_iter()
        });
        let mut got = [Vec::new(), Vec::new()];
        loop {
            let spans: Vec<Span> = queues.iter_mut().filter_map(Iterator::next).collect();
            if spans.is_empty() {
                break;
            }
            let step = Step { spans };
            let logits = model.step(&step)?;
            for (index, span) in step.spans.iter().enumerate() {
                got[span.seq.0 as usize].extend(logits.span(index).flatten());
            }
        }
        for (seq, want) in want.iter().enumerate() {
            let width = got[seq].len();
            same_bits(
                &format!("{what}, sequence {seq}"),
                &got[seq],
                &want[..width],
            );
        }
        Ok(())
    })
}

#[test]
fn what_was_taken_back_behind_a_scene_leaves_no_trace() -> Result<()> {
    each(|what, open| {
        let mut model = open(2)?;
        let scene = Scene::new(&mut model, 3)?;
        let want = scene.answer(&mut model, &[512])?;
        let mut got = run(&mut model, scene.spans(0, &[19]))?;
        for (index, token) in AFTER.iter().enumerate() {
            let at = scene.tokens.len() + index;
            draft(&mut model, *token, 3)?;
            model.step(&step(0, at, &[9, 10, 11]))?;
            model.rewind(SeqId(0), at as u32);
            got.extend(model.step(&step(0, at, &[*token]))?.into_values());
        }
        same_bits(what, &got, &want);
        Ok(())
    })
}

#[test]
fn drafts_behind_a_scene_change_nothing_that_is_said() -> Result<()> {
    each(|what, open| {
        let mut model = open(2)?;
        let scene = Scene::new(&mut model, 4)?;
        let mut say = |drafts: u32| -> Result<Vec<TokenId>> {
            let logits = run(&mut model, scene.spans(0, &[512]))?;
            Ok(speak(&mut model, &logits, scene.tokens.len(), 24, drafts)?.ids)
        };
        let plain = say(0)?;
        for drafts in [1, 5] {
            assert_eq!(say(drafts)?, plain, "{what}: {drafts} drafts");
        }
        Ok(())
    })
}

/// What is heard and seen is read: other media, other logits.
#[test]
fn a_scene_of_other_media_gives_other_logits() -> Result<()> {
    let (folder, json) = (checkpoint()?, tiny_v41_config(VOCABULARY, COMPRESSED)?);
    let mut model = load(folder.path(), &json, 2, (Numerics::EXACT, Prefill::Full))?;
    let scene = Scene::new(&mut model, 1)?;
    let other = Scene::new(&mut model, 2)?;
    let want = scene.answer(&mut model, &[512])?;
    for swapped in 0..scene.placed.len() {
        let mut changed = scene.clone();
        changed.placed[swapped].1 = other.placed[swapped].1;
        let rows = changed.placed[swapped].3;
        if rows == 1 {
            // A start or an end is the same for all audio.
            continue;
        }
        let got = changed.answer(&mut model, &[512])?;
        assert_ne!(got, want, "medium {swapped}");
    }
    Ok(())
}

#[test]
fn a_model_without_an_audio_encoder_refuses_audio_and_watches_videos() -> Result<()> {
    let folder = checkpoint()?;
    let mut config: serde_json::Value =
        serde_json::from_str(&tiny_v41_config(VOCABULARY, COMPRESSED)?)?;
    config["audio_config"] = serde_json::Value::Null;
    config["audio_token_id"] = serde_json::Value::Null;
    let json = config.to_string();
    let mut model = load(folder.path(), &json, 2, (Numerics::EXACT, Prefill::Full))?;
    let hearing = Config::parse(&tiny_v41_config(VOCABULARY, COMPRESSED)?)?;
    let audio = hearing.audio.expect("an audio encoder");
    let silence = || {
        Ok(Audio::from_blocks(
            16_000,
            std::iter::once(vec![0.0; 16_000]),
        ))
    };
    let chunk = Chunks::new(&audio, silence)?.next().expect("a chunk")?;
    let error = model
        .attach(&Media::Audio(chunk))
        .expect_err("no audio encoder");
    assert!(matches!(error, Error::NoAudio), "{error}");
    assert!(error.to_string().contains("audio_config"), "{error}");
    let mut video = b"YUV4MPEG2 W24 H16 F2:1 Ip C444\nFRAME\n".to_vec();
    video.extend([90; 24 * 16 * 3]);
    let vision = model.capacity().vision.expect("a vision encoder");
    let mut clip = Clip::new(
        Video::from_bytes(video)?,
        &vision,
        &model.plan().config().video,
    );
    let shot = clip.next().expect("a frame")?;
    model.attach(&Media::Shot(shot))?;
    Ok(())
}
