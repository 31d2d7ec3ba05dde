//! The two drivers: memory in both, the same operation on both, and how near the results are.

use std::fmt;
use std::sync::Arc;

use deepseek_core::quant::{bf16, encode_rows};
use deepseek_core::weights::WeightView;
use deepseek_core::{Format, Result};

use super::Found;
use crate::driver::{Chip, Driver};
use crate::host::{HostChip, HostDriver};
use crate::matrix::{Matrix, Part};
use crate::op::Op;
use crate::verb::Verb;
use crate::view::{Address, DType, Dims, View};
use crate::workspace::Workspace;

/// Bytes of the host driver's memory: many times what a case has.
const MEMORY_BYTES: usize = 64 << 20;

/// Operands in both memories.
#[derive(Clone, Copy)]
pub(super) struct Both {
    host: View,
    own: View,
}

/// Matrices in both memories, each packed as its chip has them.
pub(super) struct BothMatrices {
    pub(super) host: Arc<Matrix<()>>,
    pub(super) own: Arc<Matrix<()>>,
}

/// Which of the two an operation is for.
pub(super) type Of = fn(&Both) -> View;

/// The host, and the driver beside it.
pub(super) const SIDES: [Of; 2] = [|both| both.host, |both| both.own];

/// How near results are.
#[derive(Clone, Copy)]
pub(super) enum Near {
    /// The same numbers, and zeros of the same sign.
    Bits,
    /// Within this share of the largest magnitude, or of 1.
    Within(f32),
}

/// A driver whose matrices are of one form, as plain numbers.
pub(super) trait Plain: Driver<Chip: Chip<Form = ()>> {}

impl<D: Driver<Chip: Chip<Form = ()>>> Plain for D {}

/// A driver beside the host's.
pub(super) struct Pair<D: Driver> {
    host: HostDriver,
    own: D,
    host_workspace: Workspace,
    own_workspace: Workspace,
    held: Vec<[Address; 2]>,
    draw: u64,
    found: Found,
}

impl<D: Driver> fmt::Debug for Pair<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({:?})", self.own.chip())
    }
}

impl<D: Plain> Pair<D> {
    pub(super) fn new(own: D) -> Self {
        Self {
            host: HostDriver::new(HostChip::Composed, MEMORY_BYTES),
            own,
            host_workspace: Workspace::default(),
            own_workspace: Workspace::default(),
            held: Vec::new(),
            draw: 0,
            found: Found::default(),
        }
    }

    pub(super) fn begin(&mut self, seed: u64) {
        self.draw = seed;
        self.found = Found::default();
    }

    /// Gives back what the case had.
    pub(super) fn end(&mut self) -> Result<Found> {
        self.host.synchronize()?;
        self.own.synchronize()?;
        for [host, own] in std::mem::take(&mut self.held) {
            self.host.free(host)?;
            self.own.free(own)?;
        }
        Ok(std::mem::take(&mut self.found))
    }

    /// The next number of a sequence that the seed decides: SplitMix64.
    fn next(&mut self) -> u64 {
        self.draw = self.draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.draw;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below a bound, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A length from 1 on.
    pub(super) fn length(&mut self, most: usize) -> usize {
        1 + self.below(most)
    }

    /// Room that nobody has written.
    pub(super) fn room(&mut self, dtype: DType, dims: impl Into<Dims>) -> Result<Both> {
        let view = View::new(Address(0), dtype, dims);
        let bytes = view.bytes().max(1);
        let (host, own) = (self.host.allocate(bytes)?, self.own.allocate(bytes)?);
        self.held.push([host, own]);
        let placed = |at| View { at, ..view };
        Ok(Both {
            host: placed(host),
            own: placed(own),
        })
    }

    fn put(&mut self, dtype: DType, dims: impl Into<Dims>, bytes: &[u8]) -> Result<Both> {
        let both = self.room(dtype, dims)?;
        assert_eq!(bytes.len(), both.host.bytes(), "bytes of {}", both.host);
        send(&mut self.host, bytes, both.host.at)?;
        send(&mut self.own, bytes, both.own.at)?;
        Ok(both)
    }

    /// These numbers, rounded to the type.
    pub(super) fn floats(
        &mut self,
        dtype: DType,
        dims: impl Into<Dims>,
        numbers: &[f32],
    ) -> Result<Both> {
        let upper = |number: &f32| ((bf16(*number).to_bits() >> 16) as u16).to_le_bytes();
        let bytes: Vec<u8> = match dtype {
            DType::Bf16 => numbers.iter().flat_map(upper).collect(),
            DType::F32 | DType::I32 | DType::I8 => {
                numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
        };
        self.put(dtype, dims, &bytes)
    }

    /// Random floats within ±6, some of them zeros of either sign.
    pub(super) fn random(&mut self, dtype: DType, dims: impl Into<Dims>) -> Result<Both> {
        let dims = dims.into();
        let numbers = self.numbers(dims.count());
        self.floats(dtype, dims, &numbers)
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        let each = |_| match self.below(12) {
            0 => 0.0,
            1 => -0.0,
            _ => (self.next() >> 40) as f32 / (1 << 20) as f32 * 0.75 - 6.0,
        };
        (0..count).map(each).collect()
    }

    pub(super) fn ints(&mut self, dims: impl Into<Dims>, numbers: &[i32]) -> Result<Both> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.put(DType::I32, dims, &bytes)
    }

    /// Random numbers below a bound.
    pub(super) fn places(&mut self, dims: impl Into<Dims>, below: usize) -> Result<Both> {
        let dims = dims.into();
        let numbers: Vec<i32> = (0..dims.count())
            .map(|_| self.below(below) as i32)
            .collect();
        self.ints(dims, &numbers)
    }

    /// Random matrices of a format of converted checkpoints, each chip's own way: one, or a stack of so many.
    pub(super) fn packed(
        &mut self,
        format: Format,
        shape: [usize; 2],
        stacked: Option<usize>,
    ) -> Result<BothMatrices> {
        let [rows, columns] = shape;
        let weights: Vec<_> = (0..stacked.unwrap_or(1))
            .map(|_| {
                let numbers = self.numbers(rows * columns);
                let encoded = encode_rows(&numbers, columns, format);
                WeightView {
                    name: "w".to_owned(),
                    format,
                    shape,
                    data: encoded.data.into(),
                    scales: encoded.scales.into(),
                    tile_row: 0,
                    stride: None,
                }
            })
            .collect();
        let [mut host, mut own] = [Vec::new(), Vec::new()];
        for weight in &weights {
            host.push(self.host.chip().pack(&[weight])?.parts);
            own.push(self.own.chip().pack(&[weight])?.parts);
        }
        let matrix = |parts| {
            Arc::new(Matrix {
                form: (),
                shape,
                stacked,
                parts,
            })
        };
        Ok(BothMatrices {
            host: matrix(self.stack(stacked, &host, SIDES[0])?),
            own: matrix(self.stack(stacked, &own, SIDES[1])?),
        })
    }

    /// The parts of matrices, one behind the other.
    fn stack(
        &mut self,
        stacked: Option<usize>,
        matrices: &[Vec<Part>],
        of: Of,
    ) -> Result<Vec<View>> {
        let parts = (0..matrices[0].len()).map(|part| {
            let first = &matrices[0][part];
            let dims: Vec<_> = stacked
                .into_iter()
                .chain(first.dims.iter().copied())
                .collect();
            let bytes = matrices.iter().flat_map(|parts| &parts[part].bytes);
            let bytes: Vec<u8> = bytes.copied().collect();
            self.put(first.dtype, &dims[..], &bytes)
                .map(|both| of(&both))
        });
        parts.collect()
    }

    /// Runs an operation on both, and compares what lies in each of `outs` then.
    pub(super) fn check(
        &mut self,
        near: Near,
        outs: &[&Both],
        op: impl Fn(Of) -> Op<()>,
    ) -> Result<()> {
        self.check_each(near, outs, SIDES.map(op))
    }

    /// The same of an operation that is not the same for both: its matrices are packed in either's way.
    pub(super) fn check_each(
        &mut self,
        near: Near,
        outs: &[&Both],
        [host, own]: [Op<()>; 2],
    ) -> Result<()> {
        self.host.run(&host, &mut self.host_workspace)?;
        self.own.run(&own, &mut self.own_workspace)?;
        self.compare(near, outs, &host)
    }

    /// Runs a verb on both, if the chip takes it.
    pub(super) fn check_verb(
        &mut self,
        near: Near,
        outs: &[&Both],
        [host, own]: [Verb<()>; 2],
    ) -> Result<()> {
        if self.own.chip().takes(&own).is_err() {
            return Ok(());
        }
        let results = |of: Of| outs.iter().map(|out| of(out)).collect::<Vec<_>>();
        let [on_host, on_own] = SIDES.map(results);
        self.host
            .run_verb(&host, &on_host, &mut self.host_workspace)?;
        self.own.run_verb(&own, &on_own, &mut self.own_workspace)?;
        self.compare(near, outs, &host)
    }

    fn compare(&mut self, near: Near, outs: &[&Both], host: &dyn fmt::Display) -> Result<()> {
        for out in outs {
            let bytes = out.host.bytes();
            let want = fetch(&mut self.host, out.host.at, bytes)?;
            let got = fetch(&mut self.own, out.own.at, bytes)?;
            self.found.operations += 1;
            let told = match out.host.dtype {
                DType::I32 | DType::I8 => whole(&got, &want),
                dtype => self.apart(near, &decoded(dtype, &got), &decoded(dtype, &want)),
            };
            if let (None, Some(told)) = (&self.found.flaw, told) {
                self.found.flaw = Some(format!("{host}: {told}"));
            }
        }
        Ok(())
    }

    /// The first number that is too far from what it should be.
    fn apart(&mut self, near: Near, got: &[f32], want: &[f32]) -> Option<String> {
        let largest = want.iter().filter(|x| x.is_finite());
        let largest = largest.fold(1.0_f32, |top, x| top.max(x.abs()));
        let mut pairs = got.iter().zip(want).enumerate();
        pairs.find_map(|(at, (got, want))| {
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            let fits = match near {
                Near::Bits => same,
                Near::Within(_) if same || got == want => true,
                Near::Within(share) => {
                    let taken = (got - want).abs() / (share * largest);
                    self.found.worst = self.found.worst.max(taken);
                    taken <= 1.0
                }
            };
            (!fits).then(|| format!("number {at} is {got:e}, not {want:e}"))
        })
    }
}

fn send<D: Driver>(driver: &mut D, bytes: &[u8], to: Address) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
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
        DType::F32 | DType::I32 | DType::I8 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|word| f32::from_le_bytes(*word)).collect()
        }
    }
}

/// The first row number that is another.
fn whole(got: &[u8], want: &[u8]) -> Option<String> {
    let [got, want] = [got, want].map(|bytes| bytes.as_chunks::<4>().0.iter());
    let mut pairs = got.zip(want).enumerate();
    let (at, (got, want)) = pairs.find(|(_, (got, want))| got != want)?;
    let [got, want] = [got, want].map(|word| i32::from_le_bytes(*word));
    Some(format!("number {at} is {got}, not {want}"))
}
