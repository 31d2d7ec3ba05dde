//! One mixture of experts with random weights: which experts each token visits, and that its result does not
//! depend on the tokens beside it.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;

use backend_host::Host;
use deepseek_core::operands::{Inputs, Residency};
use deepseek_core::weights::{Shard, Tensors};
use deepseek_core::{Backend, HostTensor, Loader, Numerics, Shares};
use deepseek_moe::{Mixture, MixtureConfig, RouteBy};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const TOKENS: [u32; 5] = [3, 1, 4, 1, 5];
const SHAPE: MixtureConfig = MixtureConfig {
    hidden: 32,
    inner: 16,
    experts: 8,
    top_k: 2,
    scale: 1.5,
    limit: 10.0,
    vocabulary: 16,
    residency: Residency { bytes: None },
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
    let mixture = Mixture::load(&loader.at("ffn"), RouteBy::Score { media: false }, SHAPE)?;

    let x = random(TOKENS.len() * SHAPE.hidden, 0.3);
    let together = run(&be, &mixture, &x, &TOKENS)?;
    let last = TOKENS.len() - 1;
    let alone = run(&be, &mixture, &x[last * SHAPE.hidden..], &TOKENS[last..])?;
    assert_eq!(together[last * SHAPE.hidden..], alone);
    println!(
        "the last token, alone and with the others: {:?} …",
        &alone[..4]
    );
    Ok(())
}

/// What the layer makes of `x: [tokens, hidden]`.
fn run(
    be: &Host,
    mixture: &Mixture<Host>,
    x: &[f32],
    tokens: &[u32],
) -> Result<Vec<f32>, Box<dyn Error>> {
    let x = be.upload(&HostTensor::new(&[tokens.len(), SHAPE.hidden], x.to_vec()))?;
    let rows = Inputs::new(be, tokens, &[])?;
    let routing = mixture.route(be, &x, &rows)?;
    let experts = be.ids_on_host(&routing.experts)?;
    println!(
        "experts of each token: {:?}",
        experts.chunks(routing.top_k).collect::<Vec<_>>()
    );
    let y = mixture.forward(be, &x, &routing)?;
    Ok(be.download(&y)?.into_data())
}

/// A file with what the layer reads. Of a released model it is opened by `Checkpoint::open`.
fn weights() -> Result<Shard, Box<dyn Error>> {
    let MixtureConfig {
        hidden,
        inner,
        experts,
        ..
    } = SHAPE;
    let mut shapes = vec![
        ("gate.weight".to_owned(), vec![experts, hidden]),
        ("gate.bias".to_owned(), vec![experts]),
    ];
    let routed = (0..experts).map(|expert| format!("experts.{expert}"));
    for expert in routed.chain(["shared_experts".to_owned()]) {
        shapes.extend([
            (format!("{expert}.w1.weight"), vec![inner, hidden]),
            (format!("{expert}.w2.weight"), vec![hidden, inner]),
            (format!("{expert}.w3.weight"), vec![inner, hidden]),
        ]);
    }
    let tensors = shapes.iter().zip(1_u16..).map(|((name, shape), seed)| {
        let numbers = random(shape.iter().product(), 0.377 * f32::from(seed));
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        (format!("ffn.{name}"), shape.clone(), bytes)
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
