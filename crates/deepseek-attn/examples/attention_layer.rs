//! One layer of compressed sparse attention (CSA) with random weights: a row for four tokens, of which each
//! query chooses three. However the tokens are cut into steps, the result has the same bits.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;

use backend_host::Host;
use deepseek_attn::{
    Attention, AttentionConfig, Batch, Carry, Choice, Compression, Filter, Keys, Memory,
    MemoryConfig, Producer, Role, RopeSet, Ropes, SourceConfig, SourceId,
};
use deepseek_core::rope::Rope;
use deepseek_core::weights::{Shard, Tensors};
use deepseek_core::{Backend, HostTensor, Loader, Numerics, RowFormat, Shares};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const TOKENS: usize = 40;
const RATIO: u32 = 4;
const COMPRESSION: Compression = Compression::Gated {
    bias: true,
    overlap: true,
};
const CONFIG: AttentionConfig = AttentionConfig {
    hidden: 32,
    heads: 4,
    head_dim: 16,
    latent: 24,
    groups: 2,
    group_latent: 8,
    index_heads: 2,
    index_width: 16,
    norm_eps: 1e-6,
    head_norm: true,
    window_rounding: None,
    entry_rounding: None,
    index_rounding: None,
    score_rounding: None,
    weight_rounding: None,
};
const ROLE: Role = Role {
    source: Some(SourceId(0)),
    ratio: RATIO,
    produces: Some(Producer {
        compression: COMPRESSION,
        keys: Keys::Compressed,
    }),
    choice: Choice::Fresh {
        k: 3,
        filter: Filter::Open,
    },
    rope: RopeSet::Compressed,
};

fn main() -> Result<(), Box<dyn Error>> {
    let be = Host::new(2);
    let weights = weights()?;
    let loader = Loader {
        be: &be,
        tensors: Tensors::new(&weights, [128, 128]),
        numerics: Numerics::EXACT,
        input_block: 128,
        shares: Shares::WHOLE,
    };
    let attention = Attention::load(&loader.at("attn"), ROLE, 0, CONFIG)?;
    let x = random(TOKENS * CONFIG.hidden, 0.3);

    let whole = run(&be, &attention, &x, &[TOKENS])?;
    let parts = run(&be, &attention, &x, &[17, 1, 22])?;
    println!(
        "the last token: {:?}",
        &whole[(TOKENS - 1) * CONFIG.hidden..][..4]
    );
    println!(
        "in three steps: {:?}",
        &parts[(TOKENS - 1) * CONFIG.hidden..][..4]
    );
    assert_eq!(whole, parts);
    Ok(())
}

/// What the layer makes of `x: [tokens, hidden]`, in steps of so many tokens.
fn run(
    be: &Host,
    attention: &Attention<Host>,
    x: &[f32],
    steps: &[usize],
) -> Result<Vec<f32>, Box<dyn Error>> {
    let config = MemoryConfig {
        sequences: 1,
        window: 8,
        ring: 8 + TOKENS,
        context: TOKENS,
        rewind: 0,
        width: CONFIG.head_dim,
        windows: RowFormat::F32,
        entries: RowFormat::F32,
        key_width: CONFIG.index_width,
        keys: RowFormat::F32,
    };
    let source = SourceConfig {
        ratio: RATIO,
        compression: COMPRESSION,
        keys: Keys::Compressed,
    };
    let mut memory = Memory::new(be, &config, 1, &[source])?;
    let ropes = Ropes {
        window: Rope::new(8, 10_000.0, None),
        compressed: Rope::new(8, 160_000.0, None),
    };
    let (mut at, mut out) = (0, Vec::new());
    for tokens in steps {
        let rows = &x[at * CONFIG.hidden..][..tokens * CONFIG.hidden];
        let rows = be.upload(&HostTensor::new(&[*tokens, CONFIG.hidden], rows.to_vec()))?;
        let batch = Batch::new(be, &ropes, memory.rooms(), [(0, at as u32, *tokens)])?;
        let mut carry = Carry::default();
        let y = attention.forward(be, &rows, &batch, &mut memory, &mut carry)?;
        out.extend(be.download(&y)?.into_data());
        at += tokens;
    }
    Ok(out)
}

/// A file with what the layer reads. Of a released model it is opened by `Checkpoint::open`.
fn weights() -> Result<Shard, Box<dyn Error>> {
    let AttentionConfig {
        hidden,
        heads,
        head_dim,
        latent,
        groups,
        group_latent,
        index_heads,
        index_width,
        ..
    } = CONFIG;
    let mut shapes = vec![
        ("wq_a.weight".to_owned(), vec![latent, hidden]),
        ("q_norm.weight".to_owned(), vec![latent]),
        ("wq_b.weight".to_owned(), vec![heads * head_dim, latent]),
        ("wkv.weight".to_owned(), vec![head_dim, hidden]),
        ("kv_norm.weight".to_owned(), vec![head_dim]),
        ("attn_sink".to_owned(), vec![heads]),
        (
            "wo_a.weight".to_owned(),
            vec![groups * group_latent, heads * head_dim / groups],
        ),
        (
            "wo_b.weight".to_owned(),
            vec![hidden, groups * group_latent],
        ),
        (
            "indexer.wq_b.weight".to_owned(),
            vec![index_heads * index_width, latent],
        ),
        (
            "indexer.weights_proj.weight".to_owned(),
            vec![index_heads, hidden],
        ),
    ];
    // Of the overlap, each compressor has twice the channels.
    for (compressor, width) in [
        ("compressor", head_dim),
        ("indexer.compressor", index_width),
    ] {
        shapes.extend([
            (format!("{compressor}.wkv.weight"), vec![2 * width, hidden]),
            (
                format!("{compressor}.wgate.weight"),
                vec![2 * width, hidden],
            ),
            (format!("{compressor}.ape"), vec![RATIO as usize, 2 * width]),
            (format!("{compressor}.norm.weight"), vec![width]),
        ]);
    }
    let tensors = shapes.iter().zip(1_u16..).map(|((name, shape), seed)| {
        let numbers = random(shape.iter().product(), 0.377 * f32::from(seed));
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        (format!("attn.{name}"), shape.clone(), bytes)
    });
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors.collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    let file = safetensors::serialize(views, None)?;
    Ok(Shard::from_bytes("layer.safetensors", file)?)
}

/// Numbers between -0.5 and 0.5 without an order that matters.
fn random(count: usize, seed: f32) -> Vec<f32> {
    let numbers = (0..count).map(|i| ((i as f32 + seed) * 12.9898).sin() * 437.585);
    numbers.map(|x| x - x.floor() - 0.5).collect()
}
