//! The driver beside the host's: the same operation on the same bytes.

use backend_ascend::AscendDriver;
use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Address, DType, Dims, Driver, Op, View, Workspace};
use deepseek_core::Result;
use deepseek_core::quant::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::session::Session;

/// Bytes of the host driver's memory.
const MEMORY: usize = 64 << 20;

/// Operands in both memories.
#[derive(Clone, Copy)]
pub(crate) struct Both {
    host: View,
    npu: View,
}

/// Which of the two an operation is for.
pub(crate) type Of = fn(&Both) -> View;

/// How near results are.
#[derive(Clone, Copy)]
pub(crate) enum Near {
    /// The same numbers, and zeros of the same sign.
    Bits,
    /// Within this share of the largest magnitude, or of 1.
    Within(f32),
}

pub(crate) struct Pair {
    seed: u64,
    pub(crate) rng: ChaCha8Rng,
    host: HostDriver,
    npu: AscendDriver,
    host_workspace: Workspace,
    npu_workspace: Workspace,
}

impl Pair {
    pub(crate) fn new(session: &Session, seed: u64) -> Result<Self> {
        Ok(Self {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            host: HostDriver::new(HostChip::Composed, MEMORY),
            npu: session.driver()?,
            host_workspace: Workspace::default(),
            npu_workspace: Workspace::default(),
        })
    }

    /// A length from 1 on.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        self.rng.random_range(1..=most)
    }

    /// Room that nobody has written.
    pub(crate) fn room(&mut self, dtype: DType, dims: impl Into<Dims>) -> Result<Both> {
        let view = View::new(Address(0), dtype, dims);
        let bytes = view.bytes().max(1);
        let placed = |at| View { at, ..view };
        Ok(Both {
            host: placed(self.host.allocate(bytes)?),
            npu: placed(self.npu.allocate(bytes)?),
        })
    }

    fn put(&mut self, dtype: DType, dims: impl Into<Dims>, bytes: &[u8]) -> Result<Both> {
        let both = self.room(dtype, dims)?;
        assert_eq!(bytes.len(), both.host.bytes());
        send(&mut self.host, bytes, both.host.at)?;
        send(&mut self.npu, bytes, both.npu.at)?;
        Ok(both)
    }

    /// These numbers, rounded to the type.
    pub(crate) fn floats(
        &mut self,
        dtype: DType,
        dims: impl Into<Dims>,
        numbers: &[f32],
    ) -> Result<Both> {
        let upper = |number: &f32| ((bf16(*number).to_bits() >> 16) as u16).to_le_bytes();
        let bytes: Vec<u8> = match dtype {
            DType::Bf16 => numbers.iter().flat_map(upper).collect(),
            DType::F32 | DType::I32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        self.put(dtype, dims, &bytes)
    }

    /// Random floats, some of them zeros of either sign.
    pub(crate) fn random(&mut self, dtype: DType, dims: impl Into<Dims>) -> Result<Both> {
        let dims = dims.into();
        let numbers: Vec<f32> = (0..dims.count())
            .map(|_| match self.rng.random_range(0..12) {
                0 => 0.0,
                1 => -0.0,
                _ => self.rng.random_range(-6.0..6.0_f32),
            })
            .collect();
        self.floats(dtype, dims, &numbers)
    }

    pub(crate) fn ints(&mut self, dims: impl Into<Dims>, numbers: &[i32]) -> Result<Both> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.put(DType::I32, dims, &bytes)
    }

    /// Random numbers below a bound.
    pub(crate) fn places(&mut self, dims: impl Into<Dims>, below: usize) -> Result<Both> {
        let dims = dims.into();
        let numbers: Vec<i32> = (0..dims.count())
            .map(|_| self.rng.random_range(0..below as i32))
            .collect();
        self.ints(dims, &numbers)
    }

    /// Runs an operation on both, and wants the same in `out`.
    pub(crate) fn check(
        &mut self,
        what: &str,
        near: Near,
        out: &Both,
        op: impl Fn(Of) -> Op<()>,
    ) -> Result<()> {
        self.host
            .run(&op(|both| both.host), &mut self.host_workspace)?;
        self.npu
            .run(&op(|both| both.npu), &mut self.npu_workspace)?;
        let bytes = out.host.bytes();
        let want = fetch(&mut self.host, out.host.at, bytes)?;
        let got = fetch(&mut self.npu, out.npu.at, bytes)?;
        let what = format!("{what}, seed {}: {}", self.seed, op(|both| both.npu));
        match out.host.dtype {
            DType::I32 => assert_eq!(got, want, "{what}"),
            dtype => compare(&what, near, &decoded(dtype, &got), &decoded(dtype, &want)),
        }
        Ok(())
    }

    /// The same of several results.
    pub(crate) fn check_all(
        &mut self,
        what: &str,
        outs: &[&Both],
        op: impl Fn(Of) -> Op<()>,
    ) -> Result<()> {
        outs.iter()
            .try_for_each(|out| self.check(what, Near::Bits, out, &op))
    }
}

fn send<D: Driver>(driver: &mut D, bytes: &[u8], to: Address) -> Result<()> {
    let mut buffer = driver.staging(bytes.len())?;
    buffer.as_mut()[..bytes.len()].copy_from_slice(bytes);
    let flight = driver.copy_in(buffer, bytes.len(), to)?;
    driver.land(flight).map(drop)
}

fn fetch<D: Driver>(driver: &mut D, from: Address, bytes: usize) -> Result<Vec<u8>> {
    let buffer = driver.staging(bytes)?;
    let flight = driver.copy_out(from, bytes, buffer)?;
    Ok(driver.land(flight)?.as_ref()[..bytes].to_vec())
}

fn decoded(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let wide = |half: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16);
    match dtype {
        DType::Bf16 => bytes.as_chunks::<2>().0.iter().map(wide).collect(),
        DType::F32 | DType::I32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|word| f32::from_le_bytes(*word)).collect()
        }
    }
}

fn compare(what: &str, near: Near, got: &[f32], want: &[f32]) {
    let largest = want.iter().filter(|x| x.is_finite());
    let largest = largest.fold(1.0_f32, |top, x| top.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let same = match near {
            Near::Bits => got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
            Near::Within(share) => {
                got == want
                    || (got - want).abs() <= share * largest
                    || got.is_nan() && want.is_nan()
            }
        };
        assert!(same, "{what}: {got} at {at}, want {want}");
    }
}
