//! Numbers as operators compute with them: rows without gaps, floats of 32 bits or integers of 64.

use emulator_support::failure::Fault;

/// Numbers and their shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
    /// Which of them were ever written; all, if there is no list.
    pub(crate) known: Option<Vec<bool>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Data {
    /// The numbers at these places.
    pub(crate) fn at(&self, places: &[usize]) -> Self {
        match self {
            Self::Float(all) => Self::Float(places.iter().map(|place| all[*place]).collect()),
            Self::Int(all) => Self::Int(places.iter().map(|place| all[*place]).collect()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Float(all) => all.len(),
            Self::Int(all) => all.len(),
        }
    }
}

impl Array {
    pub(crate) fn new(dims: &[usize], data: Data) -> Self {
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

    pub(crate) fn floats(dims: &[usize], floats: Vec<f32>) -> Self {
        Self::new(dims, Data::Float(floats))
    }

    pub(crate) fn ints(dims: &[usize], ints: Vec<i64>) -> Self {
        Self::new(dims, Data::Int(ints))
    }

    /// The floats of an operand whose contract says floats.
    pub(crate) fn f(&self) -> &[f32] {
        match &self.data {
            Data::Float(floats) => floats,
            Data::Int(_) => panic!("the contract says floats"),
        }
    }

    /// The integers of an operand whose contract says integers.
    pub(crate) fn i(&self) -> &[i64] {
        match &self.data {
            Data::Int(ints) => ints,
            Data::Float(_) => panic!("the contract says integers"),
        }
    }

    /// The first number that was never written.
    pub(crate) fn first_unknown(&self) -> Option<usize> {
        self.known.as_ref()?.iter().position(|known| !known)
    }

    /// The numbers at these places.
    ///
    /// # Errors
    /// If one of them was never written.
    pub(crate) fn pick(&self, dims: &[usize], places: &[usize]) -> Result<Self, Fault> {
        if let Some(known) = &self.known
            && let Some(place) = places.iter().find(|place| !known[**place])
        {
            let text = format!("number {place} of what is gathered was never written");
            return Err(Fault::new("E-POISON", text));
        }
        Ok(Self::new(dims, self.data.at(places)))
    }

    /// The numbers repeated to a shape, dimensions of length 1 as often as it says.
    pub(crate) fn spread(&self, dims: &[usize]) -> Data {
        if self.dims == dims {
            return self.data.clone();
        }
        let missing = dims.len() - self.dims.len();
        let own = strides(&self.dims);
        let mut by = vec![0; dims.len()];
        for (axis, length) in self.dims.iter().enumerate() {
            if *length > 1 {
                by[missing + axis] = own[axis];
            }
        }
        self.data.at(&places(dims, &by))
    }
}

/// How far neighbours of each dimension stand apart in rows without gaps.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The place of each index of a shape, the last dimension running first.
pub(crate) fn places(dims: &[usize], strides: &[usize]) -> Vec<usize> {
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
pub(crate) fn joint(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
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
pub(crate) fn around(dims: &[usize], axis: usize) -> [usize; 3] {
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
        let want = Data::Int(vec![5, 5, 5, 6, 6, 6, 5, 5, 5, 6, 6, 6]);
        assert_eq!(row.spread(&[2, 2, 3]), want);
    }

    #[test]
    fn what_was_never_written_is_not_picked() {
        let mut array = Array::floats(&[3], vec![1.0, 2.0, 3.0]);
        array.known = Some(vec![true, false, true]);
        assert_eq!(array.pick(&[2], &[2, 0]).expect("known").f(), [3.0, 1.0]);
        assert_eq!(
            array.pick(&[1], &[1]).expect_err("unknown").kind,
            "E-POISON"
        );
    }
}
