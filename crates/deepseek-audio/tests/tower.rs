//! The tower against the reference encoders, and the layouts that it is loaded from.

mod common;

use std::collections::BTreeMap;

use backend_candle::Candle;
use backend_host::Host;
use common::{SMALL, golden, near, noise, shard};
use deepseek_audio::{
    Audio, AudioConfig, AudioTensors, Chunks, Delimiters, Place, Pool, Tower, embed, embed_features,
};
use deepseek_core::quant::bf16;
use deepseek_core::reference::QUERY_ROWS;
use deepseek_core::weights::{Bytes, Dtype, RawTensor, Shard, TensorSource, Tensors};
use deepseek_core::{Backend, Error, HostTensor, Kernels, Loader, Numerics, Result, Shares};
use half::f16;

/// What the page asks for.
const TOLERANCE: f32 = 1e-4;

/// Whisper's tower with the single projection of Qwen2-Audio.
const HALVED: AudioConfig = AudioConfig {
    pool: Pool::Avg2,
    projector_bias: true,
    ..SMALL
};

/// Weights by name.
#[derive(Debug, Clone, Default)]
struct Weights(BTreeMap<String, RawTensor>);

impl TensorSource for Weights {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        Ok(self.0.get(name).cloned())
    }
}

impl Weights {
    /// Those of a golden file, each under the name that `rename` gives it.
    fn of(shard: &Shard, rename: impl Fn(&str) -> Option<String>) -> Self {
        let tensors = shard.tensors().iter();
        Self(
            tensors
                .filter_map(|tensor| Some((rename(tensor.name())?, tensor.clone())))
                .collect(),
        )
    }

    fn insert(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let tensor = RawTensor::new(name.to_owned(), dtype, shape.to_vec(), bytes);
        let tensor = tensor.expect("as many bytes as the shape has");
        self.0.insert(name.to_owned(), tensor);
    }

    fn insert_floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.insert(name, Dtype::F32, shape, bytes);
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn loader<'a, B: Backend>(be: &'a B, source: &'a dyn TensorSource) -> Loader<'a, B> {
    Loader {
        be,
        tensors: Tensors::new(source, [32, 32]),
        numerics: Numerics::EXACT,
        input_block: 32,
        shares: Shares::WHOLE,
    }
}

fn features(frames: usize) -> HostTensor {
    HostTensor::new(&[frames, SMALL.mels], noise(frames * SMALL.mels, 1.5))
}

/// The rows of one chunk.
fn rows<B: Kernels>(be: &B, tower: &Tower<B>, features: &HostTensor) -> Vec<f32> {
    let rows = tower.encode_all(be, &[features]).expect("rows");
    be.download(&rows[0]).expect("numbers").into_data()
}

/// A tower of the golden weights under whatever names they have in `source`.
fn load<B: Kernels>(be: &B, source: &dyn TensorSource, shape: AudioConfig) -> Tower<B> {
    let tensors = AudioTensors::new(source, None).expect("a tower");
    Tower::load(&loader(be, &tensors), shape).expect("all weights are there")
}

fn rows_are_the_references<B: Kernels>(be: &B) {
    let (weights, linear) = (shard("tower.safetensors"), shard("linear.safetensors"));
    let golden_rows = shard("rows.safetensors");
    let want = |name: &str| golden(&golden_rows, name);
    let tower = load(be, &weights, SMALL);
    let got = rows(be, &tower, &features(3000));
    near(&got, &want("voxtral.stack4"), TOLERANCE, "Voxtral");
    for frames in [80, 168] {
        let name = format!("short.{frames}");
        let got = rows(be, &tower, &features(frames));
        near(&got, &want(&name), TOLERANCE, &name);
    }
    // The same tower, with a projector out of another file.
    let tensors = AudioTensors::new(&weights, Some(&linear)).expect("a tower");
    let tower = Tower::load(&loader(be, &tensors), HALVED).expect("all weights are there");
    let got = rows(be, &tower, &features(3000));
    near(&got, &want("qwen2_audio.avg2"), TOLERANCE, "Qwen2-Audio");
}

#[test]
fn rows_on_the_host_are_the_references() {
    rows_are_the_references(&Host::new(2));
}

#[test]
fn rows_by_primitives_alone_are_the_references() {
    rows_are_the_references(&Candle::plain());
}

#[test]
fn chunks_together_are_what_they_are_alone() {
    let (be, weights) = (Host::new(2), shard("tower.safetensors"));
    let tower = load(&be, &weights, SMALL);
    let chunks = [80, 168, 8, 1200, 8].map(features);
    let together = tower.encode_all(&be, &chunks.each_ref()).expect("rows");
    assert_eq!(together.len(), chunks.len());
    for (chunk, got) in chunks.iter().zip(&together) {
        let got = be.download(got).expect("numbers");
        assert_eq!(got.shape(), [chunk.shape()[0] / 8, SMALL.out]);
        near(got.data(), &rows(&be, &tower, chunk), 1e-5, "together");
    }
    assert!(chunks[3].shape()[0] / 2 > QUERY_ROWS);
}

#[test]
fn every_layout_gives_the_same_bits() {
    let (be, golden_tower) = (Host::new(1), shard("tower.safetensors"));
    let want = rows(&be, &load(&be, &golden_tower, SMALL), &features(168));
    let layouts = [
        ("audio.", "audio_aligner."),
        ("audio_tower.", "multi_modal_projector."),
        ("model.audio_tower.", "model.multi_modal_projector."),
        ("model.encoder.", "audio_aligner."),
        ("encoder.", "audio_aligner."),
    ];
    for (tower, projector) in layouts {
        let weights = Weights::of(&golden_tower, |name| {
            let rest = name.strip_prefix("audio_tower.");
            let other = name.strip_prefix("multi_modal_projector.");
            rest.map(|rest| format!("{tower}{rest}"))
                .or_else(|| Some(format!("{projector}{}", other?)))
        });
        let tensors = AudioTensors::new(&weights, None).expect(tower);
        let names = weights.names().chain(["model.layers.0.attn.wkv.weight"]);
        tensors.check(SMALL.layers, names).expect(tower);
        let got = rows(&be, &load(&be, &weights, SMALL), &features(168));
        assert_eq!(got, want, "{tower}");
    }
}

/// The golden tower with a table of positions beside it.
fn with_positions(values: impl Fn(usize) -> f32) -> Weights {
    let mut weights = Weights::of(&shard("tower.safetensors"), |name| Some(name.to_owned()));
    let shape = [SMALL.positions, SMALL.hidden];
    let table: Vec<f32> = (0..shape[0] * shape[1]).map(values).collect();
    weights.insert_floats("audio_tower.embed_positions.weight", &shape, &table);
    weights
}

#[test]
fn stored_positions_come_before_computed_ones() {
    let (be, golden_tower) = (Host::new(1), shard("tower.safetensors"));
    let computed = rows(&be, &load(&be, &golden_tower, SMALL), &features(80));
    let same = with_positions(|at| {
        let (row, channel) = ((at / 64) as f64, at % 64);
        let angle = row * (-((channel % 32) as f64) * 10_000.0_f64.ln() / 31.0).exp();
        if channel < 32 {
            angle.sin() as f32
        } else {
            angle.cos() as f32
        }
    });
    near(
        &rows(&be, &load(&be, &same, SMALL), &features(80)),
        &computed,
        1e-5,
        "the same",
    );
    let other = with_positions(|_| 0.0);
    let got = rows(&be, &load(&be, &other, SMALL), &features(80));
    assert!(got.iter().zip(&computed).any(|(a, b)| (a - b).abs() > 0.01));
}

#[test]
fn a_bias_of_keys_is_applied_and_changes_nothing() {
    // Every score of a query moves alike, so that softmax does not see it.
    let (be, golden_tower) = (Host::new(1), shard("tower.safetensors"));
    let want = rows(&be, &load(&be, &golden_tower, SMALL), &features(80));
    let mut weights = Weights::of(&golden_tower, |name| Some(name.to_owned()));
    let name = "audio_tower.layers.0.self_attn.k_proj.bias";
    weights.insert_floats(name, &[64], &noise(64, 0.5));
    let got = rows(&be, &load(&be, &weights, SMALL), &features(80));
    near(&got, &want, 1e-4, "with a bias");
    assert_ne!(got, want, "the bias was read");
}

#[test]
fn halves_are_widened_exactly() {
    let golden_tower = shard("tower.safetensors");
    let (mut halves, mut floats) = (Weights::default(), Weights::default());
    for tensor in golden_tower.tensors() {
        let values = golden(&golden_tower, tensor.name());
        let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        halves.insert(tensor.name(), Dtype::F16, tensor.shape(), bytes);
        let values: Vec<f32> = values.iter().map(|x| x.to_f32()).collect();
        floats.insert_floats(tensor.name(), tensor.shape(), &values);
    }
    let be = Host::new(1);
    let of = |weights| rows(&be, &load(&be, weights, SMALL), &features(80));
    assert_eq!(of(&halves), of(&floats));
}

#[test]
fn bf16_stays_bf16_and_near() {
    let (be, weights) = (Host::new(2), shard("tower.safetensors"));
    let tensors = AudioTensors::new(&weights, None).expect("a tower");
    let mut at = loader(&be, &tensors);
    at.numerics = Numerics::RELEASED;
    let tower = Tower::load(&at, SMALL).expect("all weights are there");
    let got = rows(&be, &tower, &features(168));
    assert!(got.iter().all(|x| x.to_bits() == bf16(*x).to_bits()));
    let want = golden(&shard("rows.safetensors"), "short.168");
    near(&got, &want, 0.1, "BF16");
    let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) > TOLERANCE, "nothing was rounded");
}

#[test]
fn rows_stand_in_the_order_of_the_layout() {
    let be = Host::new(1);
    let mut weights = Weights::of(&shard("tower.safetensors"), |name| Some(name.to_owned()));
    let (start, end) = (noise(48, 1.0), noise(48, -1.0));
    weights.insert_floats("audio_start", &[48], &start);
    weights.insert_floats("audio_end", &[48], &end);
    let tensors = AudioTensors::new(&weights, None).expect("a tower");
    let at = loader(&be, &tensors);
    let shape = AudioConfig {
        chunk_seconds: 2,
        ..SMALL
    };
    let tower = Tower::load(&at, shape).expect("all weights are there");
    let delimiters = Delimiters::load(&at, shape.out).expect("both are there");
    let open = || {
        Ok(Audio::from_blocks(
            16_000,
            std::iter::once(noise(41_000, 0.5)),
        ))
    };
    for chunk in Chunks::new(&shape, open).expect("audio") {
        let chunk = chunk.expect("a chunk");
        let features = tower.encode(&be, &chunk).expect("features");
        let by_parts = embed_features(&be, &delimiters, &features).expect("rows");
        let features = be.download(&features).expect("numbers");
        assert_eq!(features.shape(), [chunk.tokens, shape.out]);
        let rows = embed(&be, &tower, &delimiters, &chunk).expect("rows");
        let rows = be.download(&rows).expect("numbers");
        assert_eq!(be.download(&by_parts).expect("numbers"), rows);
        let mut next = 0..chunk.tokens;
        for (index, place) in chunk.layout().enumerate() {
            let want = match place {
                Place::Start => &start,
                Place::Feature => features.row(next.next().expect("one more")),
                Place::End => &end,
            };
            assert_eq!(rows.row(index), want, "row {index}, {place:?}");
        }
        assert!(next.is_empty());
        assert_eq!(rows.shape(), [chunk.tokens + 2, shape.out]);
    }
}

#[test]
fn silence_that_fills_a_chunk_gives_no_rows() {
    let (be, weights) = (Host::new(1), shard("tower.safetensors"));
    let tower = load(&be, &weights, SMALL);
    let open = || {
        Ok(Audio::from_blocks(
            16_000,
            std::iter::once(noise(1281, 0.5)),
        ))
    };
    let mut chunks = Chunks::new(&SMALL, open).expect("audio");
    let chunk = chunks.next().expect("one").expect("a chunk");
    assert_eq!(chunk.features.shape()[0], 3000);
    let whole = rows(&be, &tower, &chunk.features);
    let got = tower.encode(&be, &chunk).expect("rows");
    assert_eq!(
        be.download(&got).expect("numbers").data(),
        &whole[..2 * SMALL.out]
    );
}

#[test]
fn what_has_no_place_in_a_tower_is_named() {
    let weights = shard("tower.safetensors");
    let tensors = AudioTensors::new(&weights, None).expect("a tower");
    let names = || weights.tensors().iter().map(RawTensor::name);
    tensors.check(SMALL.layers, names()).expect("all are known");
    let strangers = [
        "audio_tower.conv3.weight",
        "audio_tower.layers.2.fc1.weight",
        "audio_tower.layers.x.fc1.weight",
        "audio_tower.layers.0.fc1",
        "audio_tower.layers.0.fc3.bias",
        "audio_tower.layer_norm.scale",
        "audio_tower.embed_positions.bias",
        "multi_modal_projector.linear_3.weight",
    ];
    for stranger in strangers {
        let error = tensors.check(SMALL.layers, names().chain([stranger]));
        let error = error.expect_err(stranger).to_string();
        let want = format!("tensor {stranger}: no part of an audio tower of 2 layers");
        assert_eq!(error, want);
    }
}

#[test]
fn what_is_missing_is_named() {
    let be = Host::new(1);
    let error = AudioTensors::new(&Weights::default(), None).map(|_| ());
    let error = error.expect_err("nothing is there").to_string();
    assert_eq!(
        error,
        "tensor audio.conv1.weight: missing from the checkpoint"
    );
    let cases = [
        ("audio_tower.layers.1.fc2.bias", "audio.layers.1.fc2.bias"),
        (
            "multi_modal_projector.linear_1.weight",
            "audio_aligner.linear_1.weight",
        ),
        ("audio_tower.conv2.weight", "audio.conv2.weight"),
    ];
    for (missing, ours) in cases {
        let weights = Weights::of(&shard("tower.safetensors"), |name| {
            (name != missing).then(|| name.to_owned())
        });
        let tensors = AudioTensors::new(&weights, None).expect("a tower");
        let error = Tower::load(&loader(&be, &tensors), SMALL).map(|_| ());
        let error = error.expect_err(missing).to_string();
        assert_eq!(error, format!("tensor {ours}: missing from the checkpoint"));
    }
    // A projector that the config gives biases, and that has none.
    let weights = shard("tower.safetensors");
    let tensors = AudioTensors::new(&weights, None).expect("a tower");
    let shape = AudioConfig {
        projector_bias: true,
        ..SMALL
    };
    let error = Tower::load(&loader(&be, &tensors), shape).map(|_| ());
    let Err(Error::Missing { name }) = error else {
        unreachable!("it has no biases");
    };
    assert_eq!(name, "audio_aligner.linear_1.bias");
}
