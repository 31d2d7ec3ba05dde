//! A model with every part of V4.1, small enough to run anywhere.

use anyhow::Result;
use deepseek_model::Config;
use serde_json::{Value, json};

/// The `config.json` of a tiny V4.1 model in the released format, with each kind of layer, two n-gram
/// tables, three draft stages and towers for images and for audio. Layers 2, 4 and 6 make rows, a prompt may be cut at
/// 6, and one of more than 32 positions leaves some of its rows outside of the candidates.
///
/// `vocabulary` and `compressed` are the ids of the tokenizer that goes with it, before and after
/// compression. Of those, 0, 1 and 2 begin, end and pad; 271 stands for what is yet to be drafted, 272
/// for an image, 281 for audio and 282 for a video, as in `deepseek_text::Tokenizer::tiny_v41_json`.
///
/// # Errors
/// If a model cannot have so many, or so few.
pub fn tiny_v41_config(vocabulary: usize, compressed: usize) -> Result<String> {
    // The sizes of the tables are those of the hashes whatever the ids: primes from 97 on.
    let mut config: Value = serde_json::from_str(include_str!("tiny_v41.json"))?;
    let text = &mut config["text_config"];
    text["vocab_size"] = json!(vocabulary);
    text["engram_compressed_vocab_size"] = json!(compressed);
    let config = format!("{config:#}\n");
    Config::parse(&config)?;
    Ok(config)
}
