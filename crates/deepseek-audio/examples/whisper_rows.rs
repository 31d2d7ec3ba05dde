//! What an encoder of the Whisper family makes of the first chunk of audio, silence behind it included:
//!
//! ```text
//! cargo run -p deepseek-audio --example whisper_rows -- WEIGHTS.safetensors AUDIO ROWS
//! ```
//!
//! `WEIGHTS` holds an encoder under any public names, and a single projection behind four of its frames;
//! `ROWS` becomes 32-bit floats, row by row.

use std::error::Error;
use std::fs::{self, File};
use std::thread::available_parallelism;

use backend_host::Host;
use deepseek_audio::{Audio, AudioConfig, AudioTensors, Chunks, Level, Limits, Pool, Tower};
use deepseek_core::weights::{Shard, Tensors};
use deepseek_core::{Backend, Loader, Numerics, Shares};

/// Channels of an attention head, in every encoder of the family.
const HEAD: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [weights, audio, rows] = names.as_slice() else {
        return Err("want WEIGHTS.safetensors AUDIO ROWS".into());
    };
    let shard = Shard::open(weights)?;
    let shape = shape(&shard).ok_or("no encoder of the Whisper family with a projection")?;
    let be = Host::new(available_parallelism().map_or(1, usize::from));
    let tensors = AudioTensors::new(&shard, None)?;
    let loader = Loader {
        be: &be,
        tensors: Tensors::new(&tensors, [32, 32]),
        numerics: Numerics::EXACT,
        input_block: 32,
        shares: Shares::WHOLE,
    };
    let tower = Tower::load(&loader, shape)?;
    let open = || Audio::open(File::open(audio)?, Limits::default());
    let chunk = Chunks::new(&shape, open)?.next().ok_or("no audio")??;
    let made = tower.encode(&be, &chunk)?;
    let made = be.download(&made)?.into_data();
    fs::write(
        rows,
        made.iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// The numbers that the shapes of the tensors tell.
fn shape(shard: &Shard) -> Option<AudioConfig> {
    let of = |name: &str| {
        let mut tensors = shard.tensors().iter();
        let found = tensors.find(|tensor| tensor.name().ends_with(name));
        found.map(|tensor| tensor.shape().to_vec())
    };
    let (conv, positions) = (of("conv1.weight")?, of("embed_positions.weight")?);
    let layers = (0..).take_while(|layer| of(&format!("layers.{layer}.fc1.weight")).is_some());
    let hidden = *conv.first()?;
    Some(AudioConfig {
        layers: layers.count(),
        hidden,
        heads: hidden / HEAD,
        inner: *of("layers.0.fc1.weight")?.first()?,
        mels: *conv.get(1)?,
        positions: *positions.first()?,
        chunk_seconds: 30,
        pad_to_chunk: true,
        keep_padding_tokens: true,
        level: Level::Chunk,
        pool: Pool::Stack4,
        projector_bias: false,
        out: *of("projector.linear.weight")?.first()?,
    })
}
