//! Pictures that the user names: files, and data URLs in conversations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deepseek_model::Media;
use deepseek_text::Conversation;
use deepseek_vision::limits::FILE_BYTES_MAX;
use deepseek_vision::{Canvas, Picture, VisionShape};

use crate::fault::{Fault, Result};
use crate::input;

/// Every picture of a conversation by its name there.
pub(crate) fn of(
    conversation: &Conversation,
    shape: Option<VisionShape>,
) -> Result<BTreeMap<String, Arc<Media>>> {
    let mut pictures = BTreeMap::new();
    for name in conversation.images() {
        if !pictures.contains_key(name) {
            pictures.insert(name.to_owned(), Arc::new(look(name, shape)?));
        }
    }
    Ok(pictures)
}

/// One picture, at the size at which the model looks at it.
pub(crate) fn look(name: &str, shape: Option<VisionShape>) -> Result<Media> {
    let Some(shape) = shape else {
        let error = anyhow!("{}: the model does not look at pictures", brief(name));
        return Err(Fault::input(error).hint("pictures want a V4.1 checkpoint with a vision tower"));
    };
    let bytes = match name.strip_prefix("data:") {
        None => input::file(Path::new(name), FILE_BYTES_MAX)?,
        Some(data) => {
            let (_, code) = data
                .split_once(";base64,")
                .with_context(|| format!("{}: not a base64 data URL", brief(name)))
                .map_err(Fault::input)?;
            STANDARD
                .decode(code)
                .with_context(|| brief(name))
                .map_err(Fault::input)?
        }
    };
    let picture = Picture::decode(&bytes)
        .with_context(|| brief(name))
        .map_err(|error| Fault::input(error).hint("PNG, JPEG, GIF, WebP, BMP and TIFF are read"))?;
    Ok(Media::Picture(Canvas::new(&picture, &shape)))
}

/// A name as messages show it.
fn brief(name: &str) -> String {
    match name.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}
