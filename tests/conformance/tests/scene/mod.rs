//! A prompt with audio and a video whose audio stands between its frames, for models with random weights.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use conformance::album::{decode, run};
use deepseek_audio::{Audio, Chunks};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{Kernels, Numerics, Parallel};
use deepseek_model::{
    Budget, Config, Decoder, Insert, Media, MediaId, Model, Plan, Prefill, SeqId, Span, TokenId,
    Want,
};
use deepseek_testkit::{tiny_v41_config, write_checkpoint};
use deepseek_vision::video::{Clip, Video};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

pub(crate) const VOCABULARY: usize = 320;
pub(crate) const COMPRESSED: usize = 254;
/// What is decoded after the prompt.
pub(crate) const AFTER: [TokenId; 5] = [65, 66, 300, 67, 68];

/// A random checkpoint of V4.1 with towers for all media.
pub(crate) fn checkpoint() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), &tiny_v41_config(VOCABULARY, COMPRESSED)?, 3)?;
    Ok(folder)
}

/// Loads it on a device, as `json` has its config.
pub(crate) fn load<B: Kernels>(
    be: B,
    folder: &Path,
    json: &str,
    numerics: Numerics,
    prefill: Prefill,
    parallel: Parallel,
) -> Result<Model<B>> {
    let budget = Budget {
        context: 512,
        sequences: 2,
        prefill,
        ..Budget::default()
    };
    let plan = Plan::new(&Config::parse(json)?, numerics, budget)?.divided(parallel)?;
    let ids = (0..VOCABULARY).map(|id| id.min(COMPRESSED - 1) as u32);
    Ok(Model::load(
        be,
        plan,
        &Checkpoint::open(folder)?,
        Some(ids.collect::<Vec<_>>()),
        &mut |_, _| ControlFlow::Continue(()),
    )?)
}

/// A prompt with audio of two chunks and a video whose audio stands between its frames.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) tokens: Vec<TokenId>,
    /// The first place, the medium, its first row, how many rows.
    pub(crate) placed: Vec<(usize, MediaId, usize, usize)>,
}

impl Scene {
    pub(crate) fn new(model: &mut impl Decoder, seed: u64) -> Result<Self> {
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
    pub(crate) fn spans(&self, seq: u32, chunks: &[usize]) -> Vec<Span> {
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
    pub(crate) fn answer(&self, model: &mut impl Decoder, chunks: &[usize]) -> Result<Vec<f32>> {
        let mut logits = run(model, self.spans(0, chunks))?;
        logits.extend(decode(model, self.tokens.len(), &AFTER)?);
        model.forget(SeqId(0));
        Ok(logits)
    }
}
