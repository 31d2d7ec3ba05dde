//! Prompts with audio and a video, beside the host.

use anyhow::Result;
use backend_host::Host;
use conformance::compare::relative;
use deepseek_core::{Numerics, Parallel};
use deepseek_model::Prefill;
use deepseek_testkit::tiny_v41_config;

use super::scene::{COMPRESSED, Scene, VOCABULARY, checkpoint, load};
use super::{device, emulated};

/// Share of the largest logit, where nothing is rounded.
const TOLERANCE: f32 = 1e-4;

#[test]
fn audio_and_videos_in_a_prompt_give_the_logits_of_the_host() -> Result<()> {
    let (folder, json) = (checkpoint()?, tiny_v41_config(VOCABULARY, COMPRESSED)?);
    for (seed, prefill) in (1..).zip([Prefill::Full, Prefill::Replay]) {
        let numerics = Numerics::EXACT;
        let mut host = load(
            Host::new(2),
            folder.path(),
            &json,
            numerics,
            prefill,
            Parallel::ALONE,
        )?;
        let scene = Scene::new(&mut host, 1)?;
        let want = scene.answer(&mut host, &[512])?;
        emulated(seed, |session| {
            let mut other = load(
                device(session)?,
                folder.path(),
                &json,
                numerics,
                prefill,
                Parallel::ALONE,
            )?;
            let scene = Scene::new(&mut other, 1)?;
            for chunks in [&[512][..], &[30, 1, 2, 40]] {
                let got = scene.answer(&mut other, chunks)?;
                relative(
                    &format!("{prefill:?} in chunks of {chunks:?}"),
                    &got,
                    &want,
                    TOLERANCE,
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}
