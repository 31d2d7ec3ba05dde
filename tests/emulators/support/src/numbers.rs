//! Numbers in memory: where those of a tensor stand, and what their bytes say.

use std::ops::Range;

use half::{bf16, f16};

use crate::array::{Array, Data};
use crate::memory::{Region, RegionMut};

/// How a number is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A 32-bit float.
    F32,
    /// A 16-bit float of IEEE 754.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
    /// An 8-bit integer.
    I8,
    /// An 8-bit integer without a sign.
    U8,
    /// A 16-bit integer.
    I16,
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A byte: 0 or 1.
    Bool,
}

impl Number {
    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// Numbers of a storage that follow one another: where each run of them begins, and how long all are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// The first number of each.
    pub starts: Vec<usize>,
    /// The numbers of each.
    pub length: usize,
}

impl Runs {
    /// Those of a shape, row by row, by how far neighbours of each dimension stand apart.
    #[must_use]
    pub fn new(dims: &[usize], strides: &[i64], offset: i64) -> Self {
        let (mut outer, mut length) = (dims.len(), 1);
        while outer > 0 && (dims[outer - 1] == 1 || strides[outer - 1] == length as i64) {
            outer -= 1;
            length *= dims[outer];
        }
        let starts = enumerate(&dims[..outer], &strides[..outer], offset).into_iter();
        Self {
            starts: starts.map(|start| start as usize).collect(),
            length,
        }
    }

    /// The bytes of each, of numbers that are so wide.
    pub fn bytes(&self, width: usize) -> impl Iterator<Item = Range<usize>> {
        let length = self.length * width;
        let starts = self.starts.iter().filter(move |_| length > 0);
        starts.map(move |start| start * width..start * width + length)
    }

    /// The numbers, and which of them were ever written.
    #[must_use]
    pub fn load(&self, dims: &[usize], number: Number, from: &Region<'_>) -> Array {
        let mut array = Array::new(dims, self.decode(number, from.bytes()));
        let (width, bytes) = (number.bytes(), from.bytes().len());
        let is_known = |at: Range<usize>| from.first_unknown(at).is_none();
        if !is_known(0..bytes) {
            let mut known = Vec::with_capacity(array.len());
            for run in self.bytes(width) {
                if is_known(run.clone()) {
                    known.resize(known.len() + self.length, true);
                } else {
                    let numbers = run.step_by(width);
                    known.extend(numbers.map(|at| is_known(at..at + width)));
                }
            }
            array.known = Some(known);
        }
        array
    }

    /// Writes the numbers that are known, and makes the others unwritten.
    pub fn store(&self, array: &Array, number: Number, to: &mut RegionMut<'_>) {
        let (width, bytes) = (number.bytes(), encode(number, &array.data));
        for (index, run) in self.bytes(width).enumerate() {
            let first = index * self.length;
            let Some(known) = &array.known else {
                to.write(run.start, &bytes[first * width..][..run.len()]);
                continue;
            };
            let mut at = 0;
            for alike in known[first..first + self.length].chunk_by(|a, b| a == b) {
                let (start, length) = (run.start + at * width, alike.len() * width);
                if alike[0] {
                    to.write(start, &bytes[(first + at) * width..][..length]);
                } else {
                    to.forget(start..start + length);
                }
                at += alike.len();
            }
        }
    }

    fn decode(&self, number: Number, bytes: &[u8]) -> Data {
        match number {
            Number::F32 => Data::Float(self.words(bytes, f32::from_le_bytes)),
            Number::F16 => Data::Float(self.words(bytes, |x| f16::from_le_bytes(x).to_f32())),
            Number::Bf16 => Data::Float(self.words(bytes, |x| bf16::from_le_bytes(x).to_f32())),
            Number::I8 => Data::Int(self.words(bytes, |x| i8::from_le_bytes(x).into())),
            Number::I16 => Data::Int(self.words(bytes, |x| i16::from_le_bytes(x).into())),
            Number::I32 => Data::Int(self.words(bytes, |x| i32::from_le_bytes(x).into())),
            Number::I64 => Data::Int(self.words(bytes, i64::from_le_bytes)),
            Number::U8 | Number::Bool => Data::Int(self.words(bytes, |[x]| x.into())),
        }
    }

    fn words<const N: usize, T>(&self, bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
        let mut numbers = Vec::with_capacity(self.starts.len() * self.length);
        for run in self.bytes(N) {
            let words = bytes[run].as_chunks::<N>().0.iter();
            numbers.extend(words.map(|word| number(*word)));
        }
        numbers
    }
}

/// The bytes of numbers, rounded to nearest, ties to even.
fn encode(number: Number, data: &Data) -> Vec<u8> {
    fn words<const N: usize, T: Copy>(numbers: &[T], word: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        let mut bytes = vec![0; numbers.len() * N];
        let places = bytes.as_chunks_mut::<N>().0.iter_mut();
        places
            .zip(numbers)
            .for_each(|(place, number)| *place = word(*number));
        bytes
    }
    match (data, number) {
        (Data::Float(floats), Number::F32) => words(floats, f32::to_le_bytes),
        (Data::Float(floats), Number::F16) => words(floats, |x| f16::from_f32(x).to_le_bytes()),
        (Data::Float(floats), Number::Bf16) => words(floats, |x| bf16::from_f32(x).to_le_bytes()),
        (Data::Int(ints), Number::Bool) => words(ints, |x| [u8::from(x != 0)]),
        (Data::Int(ints), Number::I8 | Number::U8) => words(ints, |x| (x as i8).to_le_bytes()),
        (Data::Int(ints), Number::I16) => words(ints, |x| (x as i16).to_le_bytes()),
        (Data::Int(ints), Number::I32) => words(ints, |x| (x as i32).to_le_bytes()),
        (Data::Int(ints), Number::I64) => words(ints, i64::to_le_bytes),
        (Data::Float(_), _) => panic!("the contract says integers"),
        (Data::Int(_), _) => panic!("the contract says floats"),
    }
}

/// The sum of index times stride for every index of a shape, row by row.
#[must_use]
pub fn enumerate(dims: &[usize], strides: &[i64], offset: i64) -> Vec<i64> {
    let mut places = vec![offset];
    for (length, stride) in dims.iter().zip(strides) {
        let mut more = Vec::with_capacity(places.len() * length);
        for base in places {
            more.extend((0..*length as i64).map(|step| base + step * stride));
        }
        places = more;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn numbers_without_gaps_are_one_run() {
        let runs = |dims: &[usize], strides: &[i64]| {
            let Runs { starts, length } = Runs::new(dims, strides, 1);
            (starts, length)
        };
        assert_eq!(runs(&[2, 3], &[3, 1]), (vec![1], 6));
        assert_eq!(runs(&[2, 1, 3], &[4, 9, 1]), (vec![1, 5], 3));
        assert_eq!(runs(&[2, 2], &[1, 2]), (vec![1, 3, 2, 4], 1));
        assert_eq!(runs(&[0, 2], &[2, 1]).1, 0);
    }

    #[test]
    fn what_was_never_written_is_loaded_and_stored_as_such() {
        let mut memory = Memory::new(1 << 20, 64, 0xFF).expect("addresses");
        let at = memory.alloc(16, 16).expect("room");
        let place = memory.locate(at, 16).expect("a block");
        let whole = Runs::new(&[8], &[1], 0);
        let mut array = Array::floats(&[8], (0..8).map(|x| x as f32).collect());
        array.known = Some((0..8).map(|at| at != 2 && at != 3).collect());
        whole.store(&array, Number::Bf16, &mut memory.region_mut(place));
        let loaded = whole.load(&[8], Number::Bf16, &memory.region(place));
        assert_eq!(loaded.known, array.known);
        let every_other = Runs::new(&[2], &[4], 1);
        let loaded = every_other.load(&[2], Number::Bf16, &memory.region(place));
        assert_eq!(
            (loaded.f(), loaded.first_unknown()),
            (&[1.0, 5.0][..], None)
        );
        let all = Array::floats(&[8], vec![1.5; 8]);
        whole.store(&all, Number::Bf16, &mut memory.region_mut(place));
        let loaded = whole.load(&[8], Number::Bf16, &memory.region(place));
        assert_eq!((loaded.f(), &loaded.known), (&[1.5; 8][..], &None));
    }

    #[test]
    fn integers_keep_their_width_and_floats_are_rounded_to_even() {
        let ints = Data::Int(vec![-2, 1]);
        assert_eq!(encode(Number::I16, &ints), [0xFE, 0xFF, 1, 0]);
        assert_eq!(encode(Number::Bool, &ints), [1, 1]);
        // Half way between two BF16, of which the first is even.
        let floats = Data::Float(vec![1.0 + 1.0 / 256.0]);
        assert_eq!(encode(Number::Bf16, &floats), bf16::ONE.to_le_bytes());
    }
}
