//! With audio and videos in the prompt, too, nothing changes a bit that should not: chunking,
//! neighbours, threads, what was taken back, drafts.

mod scene;

use anyhow::Result;
use backend_host::Host;
use conformance::album::run;
use conformance::compare::same_bits;
use conformance::model::{draft, speak, step};
use deepseek_audio::{Audio, Chunks};
use deepseek_core::{Numerics, Parallel};
use deepseek_model::{Config, Decoder, Error, Media, Model, Prefill, SeqId, Span, Step, TokenId};
use deepseek_testkit::tiny_v41_config;
use deepseek_vision::video::{Clip, Video};

use self::scene::{AFTER, COMPRESSED, Scene, VOCABULARY, checkpoint, load};

const LEVELS: [Numerics; 3] = [Numerics::EXACT, Numerics::CACHE, Numerics::RELEASED];

/// Every level and way to read a prompt.
fn each(
    mut check: impl FnMut(&str, &mut dyn FnMut(usize) -> Result<Model<Host>>) -> Result<()>,
) -> Result<()> {
    let (folder, json) = (checkpoint()?, tiny_v41_config(VOCABULARY, COMPRESSED)?);
    for numerics in LEVELS {
        for prefill in [Prefill::Full, Prefill::Replay] {
            let mut open = |threads| {
                load(
                    Host::new(threads),
                    folder.path(),
                    &json,
                    numerics,
                    prefill,
                    Parallel::ALONE,
                )
            };
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
    let mut model = load(
        Host::new(2),
        folder.path(),
        &json,
        Numerics::EXACT,
        Prefill::Full,
        Parallel::ALONE,
    )?;
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
    let mut model = load(
        Host::new(2),
        folder.path(),
        &json,
        Numerics::EXACT,
        Prefill::Full,
        Parallel::ALONE,
    )?;
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
