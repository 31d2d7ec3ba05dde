//! The operations of a model as an accelerator is asked for them: their shapes for one token, at the level
//! that checkpoints are released for. Nothing lies anywhere.

use std::sync::Arc;

use backend_offload::{Address, DType, Dims, Listed, Matrix, RouteBy, Verb, View};
use deepseek_core::operands::{MixerConfig, Softmax, SwiGlu, TopK, WeightRounding};
use deepseek_model::Config;
use deepseek_model::config::{Family, Storage};

/// Keys in a chunk whose weights V4.1 rounds together (`docs/models/deepseek-v41.md` §7.1, item 5).
const CHUNK: usize = 64;

/// Each operation that a chip may do whole.
pub(crate) fn of(config: &Config) -> Vec<Verb<()>> {
    let mut verbs = streams(config);
    verbs.extend(attention(config));
    verbs.extend(mixture(config));
    verbs.extend(integers(config));
    verbs
}

fn view(dtype: DType, dims: impl Into<Dims>) -> View {
    View::new(Address(0), dtype, dims)
}

fn half(dims: impl Into<Dims>) -> View {
    view(DType::Bf16, dims)
}

fn float(dims: impl Into<Dims>) -> View {
    view(DType::F32, dims)
}

fn list(dims: impl Into<Dims>) -> View {
    view(DType::I32, dims)
}

/// A matrix of outputs and inputs, or a stack of so many.
fn matrix(shape: [usize; 2], stacked: Option<usize>) -> Arc<Matrix<()>> {
    let part = match stacked {
        None => half(shape),
        Some(count) => half([count, shape[0], shape[1]]),
    };
    Arc::new(Matrix {
        form: (),
        shape,
        stacked,
        parts: vec![part],
    })
}

fn streams(config: &Config) -> Vec<Verb<()>> {
    let (n, hidden) = (config.hyper.streams, config.hidden_size);
    let rows = (2 + n) * n;
    vec![
        Verb::HcPre {
            streams: half([1, n, hidden]),
            projection: matrix([rows, n * hidden], None),
            scale: float([rows]),
            base: float([rows]),
            config: MixerConfig {
                streams: n,
                sinkhorn: config.hyper.sinkhorn,
                eps: config.hyper.eps,
                norm_eps: config.norm_eps,
            },
            carried: (config.family == Family::V41).then(|| float([1, n])),
            dtype: DType::Bf16,
        },
        Verb::HcPost {
            y: half([1, hidden]),
            streams: half([1, n, hidden]),
            post: float([1, n]),
            comb: float([1, n, n]),
            dtype: DType::Bf16,
        },
    ]
}

/// Attention over the window and over as many chosen rows as a long text has.
fn attention(config: &Config) -> Vec<Verb<()>> {
    let (index, width) = (config.index, config.head_dim);
    let rows = config.max_positions;
    let seen = (2 * index.topk).min(rows);
    let listed = |count: usize| Listed {
        rows: half([rows + 1, width]),
        at: list([1, count]),
    };
    let round = match config.family {
        Family::V41 => WeightRounding::Chunks(CHUNK),
        Family::V4 => WeightRounding::OnePeak,
    };
    vec![
        Verb::IndexTopk {
            q: half([1, index.heads, index.head_dim]),
            weights: half([1, index.heads]),
            keys: half([rows + 1, index.head_dim]),
            seen: list([1, seen]),
            top: TopK {
                k: index.topk,
                blocks: None,
                round: None,
            },
        },
        Verb::Attend {
            q: half([1, config.heads, width]),
            from: vec![listed(config.window), listed(index.topk)],
            sink: float([config.heads]),
            softmax: Softmax {
                scale: (width as f32).powf(-0.5),
                round: Some(round),
            },
        },
    ]
}

fn mixture(config: &Config) -> Vec<Verb<()>> {
    let (experts, hidden) = (config.experts, config.hidden_size);
    vec![
        Verb::Route {
            x: half([1, hidden]),
            projection: matrix([experts.count, hidden], None),
            by: RouteBy::Score(float([1, experts.count])),
            top_k: experts.top_k,
            scale: experts.scale,
        },
        Verb::Experts {
            x: half([1, hidden]),
            experts: list([1, experts.top_k]),
            weights: float([1, experts.top_k]),
            gate_up: matrix([2 * experts.inner, hidden], Some(experts.count)),
            down: matrix([hidden, experts.inner], Some(experts.count)),
            form: SwiGlu {
                limit: experts.limit.unwrap_or(f32::INFINITY),
                input: None,
                bf16: true,
            },
        },
    ]
}

/// Products of a converted checkpoint: of an attention layer's input, and those of its experts.
fn integers(config: &Config) -> Vec<Verb<()>> {
    /// Columns of a group of INT4.
    const GROUP: usize = 128;
    let (experts, hidden) = (config.experts, config.hidden_size);
    let shape = [2 * experts.inner, hidden];
    // As a chip packs them: codes and scales, and what else INT4 has.
    let int8 = |stack: &[usize], [outputs, inputs]: [usize; 2]| {
        let dims = |last: &[usize]| Dims::from(&[stack, last].concat()[..]);
        let codes = view(DType::I8, dims(&[outputs, inputs]));
        vec![codes, float(dims(&[outputs]))]
    };
    let int4 = |stack: usize, [outputs, inputs]: [usize; 2]| {
        vec![
            view(DType::I8, [stack, outputs, inputs / 2]),
            list([stack, inputs / GROUP, outputs, 2]),
            float([stack, outputs]),
        ]
    };
    let matrix = |shape, stacked, parts| {
        Arc::new(Matrix {
            form: (),
            shape,
            stacked,
            parts,
        })
    };
    let grouped = match config.storage {
        Storage::W8a8 => int8(&[experts.count], shape),
        Storage::W4a8 => int4(experts.count, shape),
        _ => return Vec::new(),
    };
    let latent = [config.q_lora_rank, hidden];
    vec![
        Verb::Project {
            x: half([1, hidden]),
            products: vec![(matrix(latent, None, int8(&[], latent)), DType::Bf16)],
        },
        Verb::Grouped {
            x: half([experts.top_k, hidden]),
            weight: matrix(shape, Some(experts.count), grouped),
            ends: list([experts.count]),
            dtype: DType::Bf16,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_those_of_the_config() {
        let config = Config::parse(deepseek_assets::CONFIG).expect("a config");
        let verbs = of(&config);
        let names: Vec<_> = verbs.iter().map(Verb::name).collect();
        let want = [
            "hc_pre",
            "hc_post",
            "index_topk",
            "attend",
            "route",
            "experts",
        ];
        assert_eq!(names, want);
        let text = verbs[4].to_string();
        let experts = format!("[{},{}]", config.experts.count, config.hidden_size);
        assert!(text.contains(&experts), "{text}");
    }
}
