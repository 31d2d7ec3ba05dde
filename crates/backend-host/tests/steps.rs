//! A step that was made before asks the system for no large memory: tensors and kernels work in what
//! earlier ones left.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend_host::{Host, Tensor};
use deepseek_core::operands::{
    Groups, HyperWeights, Linear, MixerConfig, PoolState, Pooling, Runs, Selection, Softmax, TopK,
};
use deepseek_core::rope::Rope;
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{
    Backend, Format, HostTensor, Kernels, NO_ROW, Result, Rotation, Rounding, RowFormat, Use,
};

/// Bytes of an allocation that counts: what is smaller is bookkeeping.
const LARGE: usize = 16 << 10;

/// Large allocations so far, on all threads.
static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TOKENS: usize = 6;
const STREAMS: usize = 4;
const HIDDEN: usize = 1024;
const HEADS: usize = 8;
const WIDTH: usize = 128;
const ROWS: u32 = 400;

fn numbers(shape: &[usize]) -> HostTensor {
    let count = shape.iter().product();
    HostTensor::new(
        shape,
        (0..count)
            .map(|at: usize| (at as f32 * 0.37).sin())
            .collect(),
    )
}

fn weight(be: &Host, shape: [usize; 2]) -> Result<<Host as Backend>::Weight> {
    let values = numbers(&shape).into_data();
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|x| (x * 0.01).to_le_bytes())
        .collect();
    let view = WeightView {
        name: "w".to_owned(),
        format: Format::F32,
        shape,
        data: Bytes::from(bytes),
        scales: Bytes::from(Vec::new()),
        tile_row: 0,
        stride: None,
    };
    be.load(&view, Use::Product)
}

/// What the layers of a model ask of a device.
struct Layer {
    streams: Tensor,
    norm: Tensor,
    mixer: HyperWeights<Host>,
    query: Linear<Host>,
    output: Linear<Host>,
    sink: Tensor,
    window: <Host as Backend>::Rows,
    seen: Selection<Host>,
    state: PoolState<Host>,
    groups: Groups<Host>,
    shares: Tensor,
    rope: Rope,
}

impl Layer {
    fn new(be: &Host) -> Result<Self> {
        let product = |shape| -> Result<Linear<Host>> {
            Ok(Linear {
                weight: weight(be, shape)?,
                input: Some(Rounding::Fp8 {
                    block: 128,
                    tail: 0,
                }),
                output: Some(Rounding::Bf16),
            })
        };
        let mixes = (2 + STREAMS) * STREAMS;
        let mut window = be.rows(RowFormat::Bf16, WIDTH, ROWS as usize)?;
        let at: Vec<u32> = (0..ROWS).collect();
        let rows = be.upload(&numbers(&[at.len(), WIDTH]))?;
        be.write_rows(&mut window, &be.ids(&at)?, &rows)?;
        let mut seen = Runs::with_capacity(TOKENS);
        (0..TOKENS).for_each(|_| seen.push([0..ROWS / 2, ROWS / 2 + 1..ROWS]));
        let mut members = Runs::with_capacity(2);
        members.push_rows(0..3);
        members.push_rows(3..TOKENS as u32);
        Ok(Self {
            streams: be.upload(&numbers(&[TOKENS, STREAMS, HIDDEN]))?,
            norm: be.upload(&numbers(&[HIDDEN]))?,
            mixer: HyperWeights {
                projection: weight(be, [mixes, STREAMS * HIDDEN])?,
                scale: be.upload(&numbers(&[mixes]))?,
                base: be.upload(&numbers(&[mixes]))?,
                config: MixerConfig {
                    streams: STREAMS,
                    sinkhorn: 4,
                    eps: 1e-6,
                    norm_eps: 1e-6,
                },
            },
            query: product([HEADS * WIDTH, HIDDEN])?,
            output: product([HIDDEN, HEADS * WIDTH])?,
            sink: be.upload(&numbers(&[HEADS]))?,
            window,
            seen: Selection::Runs(Arc::new(seen)),
            state: PoolState {
                kv: be.rows(RowFormat::F32, HIDDEN, 1)?,
                scores: be.rows(RowFormat::F32, HIDDEN, 1)?,
            },
            groups: Groups {
                old: be.ids(&[])?,
                old_count: 0,
                members: Selection::Runs(Arc::new(members)),
                count: 2,
                kept: be.ids(&[NO_ROW; TOKENS])?,
            },
            shares: be.upload(&numbers(&[TOKENS, HEADS]))?,
            rope: Rope::new(64, 10_000.0, None),
        })
    }

    fn step(&mut self, be: &Host) -> Result<Tensor> {
        let bf16 = Some(Rounding::Bf16);
        let (x, mix) = be.hc_pre(&self.streams, &self.mixer, None, bf16)?;
        let x = be.rms_norm(&x, Some(&self.norm), 1e-6, bf16)?;
        let q = be.project_one(&x, &self.query)?;
        let q = be.reshape(&q, &[TOKENS, HEADS, WIDTH])?;
        let angles = be.upload(&self.rope.angles(&[7; TOKENS]).table())?;
        let q = be.rope(&q, &angles, Rotation::Forward)?;
        let top = TopK {
            k: 100,
            blocks: None,
            round: None,
        };
        let best = be.index_topk(&q, &self.shares, &self.window, &self.seen, &top)?;
        let softmax = Softmax {
            scale: 0.1,
            round: None,
        };
        let from = [(&self.window, &self.seen), (&self.window, &best.rows)];
        let y = be.attend(&q, &from, &self.sink, softmax)?;
        let y = be.reshape(&y, &[TOKENS, HEADS * WIDTH])?;
        let y = be.add(&be.project_one(&y, &self.output)?, &x)?;
        let y = be.mul(&y, &be.narrow(&y, 1, 0, 1)?)?;
        let pooled = be.compress(&y, &y, &mut self.state, &self.groups, Pooling::Plain, bf16)?;
        let y = be.concat(&[&y, &pooled.expect("two groups")], 0)?;
        let y = be.round(&be.narrow(&y, 0, 0, TOKENS)?, Rounding::Bf16)?;
        be.hc_post(&y, &self.streams, &mix, bf16)
    }
}

#[test]
fn a_step_that_was_made_before_asks_for_no_large_memory() -> Result<()> {
    for threads in [1, 3] {
        let be = Host::new(threads);
        let mut layer = Layer::new(&be)?;
        let first = be.download(&layer.step(&be)?)?;
        // Which thread takes which piece is not always the same, and each needs its own room once.
        for _ in 0..60 {
            layer.step(&be)?;
        }
        let before = COUNT.load(Ordering::Relaxed);
        for _ in 0..40 {
            layer.step(&be)?;
        }
        let asked = COUNT.load(Ordering::Relaxed) - before;
        // A thread that was slow to begin may have had no room for one of the pieces yet.
        let few = 4 * (threads - 1);
        assert!(asked <= few, "{asked} in 40 steps, {threads} threads");
        assert_eq!(be.download(&layer.step(&be)?)?, first, "{threads} threads");
    }
    Ok(())
}
