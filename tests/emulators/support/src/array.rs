//! Numbers as operators compute with them: rows without gaps, floats of 32 bits or integers of 64.

use std::borrow::Cow;
use std::ops::Range;

use crate::failure::Fault;
use crate::numbers::Runs;

/// Numbers and their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The lengths of the dimensions.
    pub dims: Vec<usize>,
    /// The numbers.
    pub data: Data,
    /// Which of them were ever written; all, if there is no list.
    pub known: Option<Vec<bool>>,
}

/// Numbers of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Floats.
    Float(Vec<f32>),
    /// Integers, booleans among them.
    Int(Vec<i64>),
}

/// A number that was gathered and never written: its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten(pub usize);

impl Unwritten {
    /// The fault that a check of this name finds.
    #[must_use]
    pub fn fault(self, check: &'static str) -> Fault {
        let text = format!("number {} of what is gathered was never written", self.0);
        Fault::new(check, text)
    }
}

impl Data {
    /// The numbers at these places.
    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        match self {
            Self::Float(all) => Self::Float(places.iter().map(|place| all[*place]).collect()),
            Self::Int(all) => Self::Int(places.iter().map(|place| all[*place]).collect()),
        }
    }

    /// So many numbers from each of these places on.
    #[must_use]
    pub fn runs(&self, starts: &[usize], length: usize) -> Self {
        fn of<T: Copy>(all: &[T], starts: &[usize], length: usize) -> Vec<T> {
            let runs = starts.iter().map(|start| &all[*start..*start + length]);
            runs.flatten().copied().collect()
        }
        match self {
            Self::Float(all) => Self::Float(of(all, starts, length)),
            Self::Int(all) => Self::Int(of(all, starts, length)),
        }
    }

    /// The numbers at these places, each so often.
    fn repeated(&self, places: &[usize], count: usize) -> Self {
        fn of<T: Copy>(all: &[T], places: &[usize], count: usize) -> Vec<T> {
            let numbers = places.iter().map(|place| all[*place]);
            numbers
                .flat_map(|number| std::iter::repeat_n(number, count))
                .collect()
        }
        match self {
            Self::Float(all) => Self::Float(of(all, places, count)),
            Self::Int(all) => Self::Int(of(all, places, count)),
        }
    }

    /// Adds a part of others.
    ///
    /// # Panics
    /// If they are of another kind.
    pub fn extend(&mut self, others: &Self, part: Range<usize>) {
        match (self, others) {
            (Self::Float(all), Self::Float(others)) => all.extend(&others[part]),
            (Self::Int(all), Self::Int(others)) => all.extend(&others[part]),
            _ => panic!("the contract says the same type"),
        }
    }

    /// Writes a part of others from a place on.
    ///
    /// # Panics
    /// If they are of another kind.
    pub fn write(&mut self, at: usize, others: &Self, part: Range<usize>) {
        let to = at..at + part.len();
        match (self, others) {
            (Self::Float(all), Self::Float(others)) => all[to].copy_from_slice(&others[part]),
            (Self::Int(all), Self::Int(others)) => all[to].copy_from_slice(&others[part]),
            _ => panic!("the contract says the same type"),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Float(all) => all.len(),
            Self::Int(all) => all.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Array {
    /// Numbers of a shape.
    ///
    /// # Panics
    /// If there are more or fewer.
    #[must_use]
    pub fn new(dims: &[usize], data: Data) -> Self {
        assert_eq!(
            dims.iter().product::<usize>(),
            data.len(),
            "a shape for its numbers"
        );
        Self {
            dims: dims.to_vec(),
            data,
            known: None,
        }
    }

    /// Floats of a shape.
    #[must_use]
    pub fn floats(dims: &[usize], floats: Vec<f32>) -> Self {
        Self::new(dims, Data::Float(floats))
    }

    /// Integers of a shape.
    #[must_use]
    pub fn ints(dims: &[usize], ints: Vec<i64>) -> Self {
        Self::new(dims, Data::Int(ints))
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The floats of an operand whose contract says floats.
    ///
    /// # Panics
    /// If they are none.
    #[must_use]
    pub fn f(&self) -> &[f32] {
        match &self.data {
            Data::Float(floats) => floats,
            Data::Int(_) => panic!("the contract says floats"),
        }
    }

    /// The integers of an operand whose contract says integers.
    ///
    /// # Panics
    /// If they are none.
    #[must_use]
    pub fn i(&self) -> &[i64] {
        match &self.data {
            Data::Int(ints) => ints,
            Data::Float(_) => panic!("the contract says integers"),
        }
    }

    /// The first number that was never written.
    #[must_use]
    pub fn first_unknown(&self) -> Option<usize> {
        self.known.as_ref()?.iter().position(|known| !known)
    }

    /// The numbers at these places.
    ///
    /// # Errors
    /// If one of them was never written.
    pub fn pick(&self, dims: &[usize], places: &[usize]) -> Result<Self, Unwritten> {
        if let Some(known) = &self.known
            && let Some(place) = places.iter().find(|place| !known[**place])
        {
            return Err(Unwritten(*place));
        }
        Ok(Self::new(dims, self.data.at(places)))
    }

    /// So many numbers from each of these places on.
    ///
    /// # Errors
    /// If one of them was never written.
    pub fn pick_runs(
        &self,
        dims: &[usize],
        starts: &[usize],
        length: usize,
    ) -> Result<Self, Unwritten> {
        if let Some(known) = &self.known {
            let mut places = starts.iter().flat_map(|start| *start..*start + length);
            if let Some(place) = places.find(|place| !known[*place]) {
                return Err(Unwritten(place));
            }
        }
        Ok(Self::new(dims, self.data.runs(starts, length)))
    }

    /// Writes numbers of the same kind at these places.
    ///
    /// # Panics
    /// If they are of another.
    pub fn put(&mut self, places: &[usize], numbers: &Self) {
        for (index, place) in places.iter().enumerate() {
            match (&mut self.data, &numbers.data) {
                (Data::Float(to), Data::Float(from)) => to[*place] = from[index],
                (Data::Int(to), Data::Int(from)) => to[*place] = from[index],
                _ => panic!("the contract says the same type"),
            }
            if let Some(known) = &mut self.known {
                known[*place] = true;
            }
        }
    }

    /// The numbers repeated to a shape, dimensions of length 1 as often as it says. An input was looked at as a whole: all of its
    /// numbers were written.
    #[must_use]
    pub fn spread(&self, dims: &[usize]) -> Cow<'_, Self> {
        if self.dims == dims {
            return Cow::Borrowed(self);
        }
        let missing = dims.len() - self.dims.len();
        let own = strides(&self.dims);
        let mut by = vec![0; dims.len()];
        for (axis, length) in self.dims.iter().enumerate() {
            if *length > 1 {
                by[missing + axis] = own[axis];
            }
        }
        let is_once = |axis: &usize| by[*axis] == 0;
        let still = (0..dims.len()).rev().take_while(is_once).count();
        let (outer, inner) = dims.split_at(dims.len() - still);
        let data = if still > 0 {
            let count = inner.iter().product();
            self.data.repeated(&places(outer, &by), count)
        } else {
            let by: Vec<i64> = by.iter().map(|by| *by as i64).collect();
            let Runs { starts, length } = Runs::new(dims, &by, 0);
            self.data.runs(&starts, length)
        };
        Cow::Owned(Self::new(dims, data))
    }
}

/// How far neighbours of each dimension stand apart in rows without gaps.
#[must_use]
pub fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The place of each index of a shape, the last dimension running first.
#[must_use]
pub fn places(dims: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (length, stride) in dims.iter().zip(strides) {
        let steps = |base: &usize| {
            let base = *base;
            (0..*length).map(move |step| base + step * stride)
        };
        places = places.iter().flat_map(steps).collect();
    }
    places
}

/// The shape that two are repeated to.
#[must_use]
pub fn joint(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let length = |dims: &[usize], axis: usize| {
        (axis + dims.len())
            .checked_sub(rank)
            .map_or(1, |at| dims[at])
    };
    let axes = (0..rank).map(|axis| match (length(a, axis), length(b, axis)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    });
    axes.collect()
}

/// A shape around one of its axes: what stands before it, its length, what stands behind.
#[must_use]
pub fn around(dims: &[usize], axis: usize) -> [usize; 3] {
    let before = dims[..axis].iter().product();
    [before, dims[axis], dims[axis + 1..].iter().product()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_joined_as_they_are_repeated() {
        assert_eq!(joint(&[2, 1, 3], &[4, 1]), Some(vec![2, 4, 3]));
        assert_eq!(joint(&[], &[2]), Some(vec![2]));
        assert_eq!(joint(&[2], &[3]), None);
        let row = Array::ints(&[2, 1], vec![5, 6]);
        assert_eq!(
            row.spread(&[2, 2, 3]).i(),
            [5, 5, 5, 6, 6, 6, 5, 5, 5, 6, 6, 6]
        );
        let pair = Array::ints(&[1, 2], vec![5, 6]);
        assert_eq!(pair.spread(&[2, 2]).i(), [5, 6, 5, 6]);
        assert_eq!(pair.spread(&[1, 1, 2]).i(), [5, 6]);
        let one = Array::ints(&[1], vec![5]);
        assert_eq!(one.spread(&[1, 2]).i(), [5, 5]);
    }

    #[test]
    fn what_was_never_written_is_not_picked() {
        let mut array = Array::floats(&[3], vec![1.0, 2.0, 3.0]);
        array.known = Some(vec![true, false, true]);
        assert_eq!(array.pick(&[2], &[2, 0]).expect("known").f(), [3.0, 1.0]);
        let run = array.pick_runs(&[1, 2], &[1], 2);
        assert_eq!(run.expect_err("unknown"), Unwritten(1));
        let run = array.pick_runs(&[1, 1], &[2], 1).expect("known");
        assert_eq!(run.f(), [3.0]);
        let unwritten = array.pick(&[1], &[1]).expect_err("unknown");
        assert_eq!(unwritten, Unwritten(1));
        assert_eq!(unwritten.fault("a check").kind, "a check");
        array.put(&[1], &Array::floats(&[1], vec![9.0]));
        assert_eq!(array.pick(&[1], &[1]).expect("known").f(), [9.0]);
    }
}
