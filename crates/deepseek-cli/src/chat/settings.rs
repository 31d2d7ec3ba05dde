//! What `/set` changes: how answers are made, by the names of the flags.

use anyhow::anyhow;
use deepseek_chat::SessionOptions;
use deepseek_engine::{Sampling, SamplingOptions};
use deepseek_text::Mode;

use crate::fault::{Fault, Result};

/// What can be set, and how its value is shown.
pub(super) const NAMES: [&str; 11] = [
    "temperature",
    "top-p",
    "top-k",
    "min-p",
    "repetition-penalty",
    "frequency-penalty",
    "presence-penalty",
    "seed",
    "max-tokens",
    "draft",
    "thinking",
];

/// Sets one of them.
pub(super) fn set(options: &mut SessionOptions, name: &str, value: &str) -> Result<()> {
    let mut sampling = *options.answer.sampling.options();
    match name {
        "temperature" => sampling.temperature = number(name, value)?,
        "top-p" => sampling.top_p = number(name, value)?,
        "top-k" => sampling.top_k = number(name, value)?,
        "min-p" => sampling.min_p = number(name, value)?,
        "repetition-penalty" => sampling.repetition_penalty = number(name, value)?,
        "frequency-penalty" => sampling.frequency_penalty = number(name, value)?,
        "presence-penalty" => sampling.presence_penalty = number(name, value)?,
        "seed" => sampling.seed = number(name, value)?,
        "max-tokens" => options.answer.max_tokens = Some(number(name, value)?),
        "draft" => options.answer.drafts = number(name, value)?,
        "thinking" => options.prompt.mode = mode(value)?,
        _ => {
            let error = anyhow!("{name:?} cannot be set");
            let hint = format!("what can be: {}", NAMES.join(", "));
            return Err(Fault::usage(error).hint(hint));
        }
    }
    options.answer.sampling = Sampling::new(sampling)?;
    Ok(())
}

/// The value of one of them, as it would be set.
pub(super) fn shown(options: &SessionOptions, name: &str) -> String {
    let SamplingOptions {
        temperature,
        top_k,
        top_p,
        min_p,
        repetition_penalty,
        frequency_penalty,
        presence_penalty,
        seed,
    } = options.answer.sampling.options();
    match name {
        "temperature" => temperature.to_string(),
        "top-p" => top_p.to_string(),
        "top-k" => top_k.to_string(),
        "min-p" => min_p.to_string(),
        "repetition-penalty" => repetition_penalty.to_string(),
        "frequency-penalty" => frequency_penalty.to_string(),
        "presence-penalty" => presence_penalty.to_string(),
        "seed" => seed.to_string(),
        "max-tokens" => {
            let most = options.answer.max_tokens;
            most.map_or_else(|| "what the context holds".to_owned(), |n| n.to_string())
        }
        "draft" => options.answer.drafts.to_string(),
        _ => match options.prompt.mode {
            Mode::Thinking => "on".to_owned(),
            Mode::Chat => "off".to_owned(),
        },
    }
}

/// Whether to reason before answering.
pub(super) fn mode(value: &str) -> Result<Mode> {
    match value {
        "on" => Ok(Mode::Thinking),
        "off" => Ok(Mode::Chat),
        _ => Err(Fault::usage(anyhow!("thinking {value:?}: want on or off"))),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| {
        let kind = match std::any::type_name::<T>() {
            "f32" => "a number",
            _ => "a whole number that is not negative",
        };
        Fault::usage(anyhow!("{name} {value:?}: want {kind}"))
    })
}
