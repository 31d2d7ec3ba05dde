//! Numbers as operators compute with them: rows without gaps, floats of 32 bits or integers of 64.

use std::borrow::Cow;

use crate::failure::Fault;

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

impl Array {
    pub(crate) fn new(dims: &[usize], data: Data) -> Self {
        let array = Self {
            dims: dims.to_vec(),
            data,
            known: None,
        };
        assert_eq!(
            array.dims.iter().product::<usize>(),
            array.len(),
            "a shape for its numbers"
        );
        array
    }

    pub(crate) fn floats(dims: &[usize], floats: Vec<f32>) -> Self {
        Self::new(dims, Data::Float(floats))
    }

    pub(crate) fn ints(dims: &[usize], ints: Vec<i64>) -> Self {
        Self::new(dims, Data::Int(ints))
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Float(floats) => floats.len(),
            Data::Int(ints) => ints.len(),
        }
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
            let text = format!("element {place} of what is gathered was never written");
            return Err(Fault::new("uninitialised_read", text));
        }
        let data = match &self.data {
            Data::Float(floats) => Data::Float(places.iter().map(|place| floats[*place]).collect()),
            Data::Int(ints) => Data::Int(places.iter().map(|place| ints[*place]).collect()),
        };
        Ok(Self::new(dims, data))
    }

    /// Writes numbers of the same kind at these places.
    pub(crate) fn put(&mut self, places: &[usize], numbers: &Self) {
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

    /// Repeated to a shape that it fits.
    pub(crate) fn spread(&self, dims: &[usize]) -> Cow<'_, Self> {
        if self.dims == dims {
            return Cow::Borrowed(self);
        }
        let places = enumerate(dims, &spread_strides(&self.dims, dims), 0);
        let places: Vec<_> = places.into_iter().map(|place| place as usize).collect();
        let picked = self.pick(dims, &places);
        Cow::Owned(picked.expect("an input was looked at as a whole"))
    }
}

/// The sum of index times stride for every index of a shape, row by row.
pub(crate) fn enumerate(dims: &[usize], strides: &[i64], offset: i64) -> Vec<i64> {
    let mut places = vec![offset];
    for (dim, stride) in dims.iter().zip(strides) {
        let mut more = Vec::with_capacity(places.len() * dim);
        for base in places {
            more.extend((0..*dim as i64).map(|step| base + step * stride));
        }
        places = more;
    }
    places
}

/// The strides of rows without gaps.
pub(crate) fn row_strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; dims.len()];
    for index in (1..dims.len()).rev() {
        strides[index - 1] = strides[index] * dims[index] as i64;
    }
    strides
}

/// The strides with which a shape is read as another: 0 where it is repeated.
fn spread_strides(from: &[usize], to: &[usize]) -> Vec<i64> {
    let missing = to.len() - from.len();
    let own = row_strides(from);
    let strides = from
        .iter()
        .zip(own)
        .map(|(dim, stride)| if *dim == 1 { 0 } else { stride });
    std::iter::repeat_n(0, missing).chain(strides).collect()
}

/// The shape that two shapes are repeated to.
pub(crate) fn joint(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], index: usize| {
        let missing = rank - dims.len();
        if index < missing {
            1
        } else {
            dims[index - missing]
        }
    };
    let dims = (0..rank).map(|index| match (at(a, index), at(b, index)) {
        (a, b) if a == b => Some(a),
        (1, b) => Some(b),
        (a, 1) => Some(a),
        _ => None,
    });
    dims.collect()
}

/// A shape around one of its axes: what stands before it, its length, what stands behind.
pub(crate) fn around(dims: &[usize], axis: usize) -> (usize, usize, usize) {
    let before = dims[..axis].iter().product();
    (before, dims[axis], dims[axis + 1..].iter().product())
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
    }

    #[test]
    fn what_was_never_written_is_not_picked() {
        let mut array = Array::floats(&[3], vec![1.0, 2.0, 3.0]);
        array.known = Some(vec![true, false, true]);
        assert_eq!(array.pick(&[2], &[2, 0]).expect("known").f(), [3.0, 1.0]);
        let fault = array.pick(&[1], &[1]).expect_err("unknown");
        assert_eq!(fault.kind, "uninitialised_read");
        array.put(&[1], &Array::floats(&[1], vec![9.0]));
        assert_eq!(array.pick(&[1], &[1]).expect("known").f(), [9.0]);
    }
}
