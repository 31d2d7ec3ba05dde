//! Which frames of a video the model sees.

use super::config::VideoConfig;

/// Seconds by which times may miss each other: more than sums of binary fractions do, less than the
/// tick of any container.
const SLACK: f64 = 1e-6;

/// The indices of the sampled frames, rising. `times` are seconds since the first frame, one for
/// each and never falling; `duration` is the end of the last (`docs/models/audio-video.md` §6.2).
///
/// Where the video lasts for as many frames as it may have, one is taken every `1 / fps` seconds; else
/// they are spread evenly. Each is the last frame at or before its time, or the next that is not
/// taken yet; enough are left for those that follow.
///
/// # Panics
/// If the config does not pass [`VideoConfig::check`].
#[must_use]
pub fn sample(times: &[f64], duration: f64, config: &VideoConfig) -> Vec<usize> {
    let total = times.len();
    let ideal = (duration * config.fps + SLACK).floor() as usize;
    let count = ideal.clamp(config.min_frames.min(total), config.max_frames.min(total));
    let target = |index: usize| {
        if count == ideal {
            index as f64 / config.fps
        } else {
            duration * (index as f64 + 0.5) / count as f64
        }
    };
    let mut least = 0;
    (0..count)
        .map(|index| {
            let until = times.partition_point(|time| *time <= target(index) + SLACK);
            let most = total - (count - index);
            let chosen = until.saturating_sub(1).clamp(least, most);
            least = chosen + 1;
            chosen
        })
        .collect()
}
