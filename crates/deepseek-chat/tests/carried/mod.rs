//! The embedded model, as a program carries it.

use deepseek_chat::{CarriedModel, Defaults, ModelSource};
use deepseek_core::Level;
use deepseek_text::Mode;

/// Its bytes, and greedy answers of all bits.
pub(crate) fn carried() -> ModelSource {
    ModelSource::Carried(CarriedModel {
        config: deepseek_assets::CONFIG,
        tokenizer: deepseek_assets::TOKENIZER,
        weights: deepseek_assets::WEIGHTS,
        defaults: Defaults {
            mode: Mode::Chat,
            temperature: 0.0,
            level: Level::Exact,
        },
    })
}
