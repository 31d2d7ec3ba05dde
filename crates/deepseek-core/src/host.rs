//! Plain arrays on the host: what goes up to a device and comes back.

use std::mem;

/// Numbers and their shape, row-major. A shape of `[]` is a scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl HostTensor {
    /// Wraps `data`.
    ///
    /// # Panics
    /// If the shape does not hold exactly as many numbers as there are.
    #[must_use]
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            data.len(),
            "shape {shape:?} and its numbers"
        );
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers, row-major.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The numbers, row-major.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The length of the last dimension; 1 for a scalar.
    #[must_use]
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Row `index`, where all dimensions but the last are taken as one.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        let width = self.width();
        &self.data[index * width..][..width]
    }
}

/// What [`Backend::fetch`](crate::Backend::fetch) brought to the host, in the order asked for. When it is
/// filled again it keeps its memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fetched {
    numbers: Vec<f32>,
    /// Where the numbers of each tensor end.
    tensors: Vec<usize>,
    ids: Vec<u32>,
    /// Where each list of row numbers ends.
    lists: Vec<usize>,
}

impl Fetched {
    /// Forgets what was brought, and keeps the memory.
    pub fn clear(&mut self) {
        self.numbers.clear();
        self.tensors.clear();
        self.ids.clear();
        self.lists.clear();
    }

    /// Adds the numbers of a tensor.
    pub fn push_tensor(&mut self, numbers: &[f32]) {
        self.numbers.extend_from_slice(numbers);
        self.tensors.push(self.numbers.len());
    }

    /// Adds a list of row numbers.
    pub fn push_ids(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.lists.push(self.ids.len());
    }

    /// The numbers of a tensor, row-major.
    ///
    /// # Panics
    /// If there are not so many tensors.
    #[must_use]
    pub fn tensor(&self, index: usize) -> &[f32] {
        part(&self.numbers, &self.tensors, index)
    }

    /// A list of row numbers.
    ///
    /// # Panics
    /// If there are not so many lists.
    #[must_use]
    pub fn ids(&self, index: usize) -> &[u32] {
        part(&self.ids, &self.lists, index)
    }

    /// All lists of row numbers.
    pub fn lists(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.lists.len()).map(|index| self.ids(index))
    }

    /// Bytes of all that was brought.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.numbers) + size_of_val(&*self.ids)
    }

    /// Gives the numbers of the first tensor away, none if there is no tensor, and forgets the others. `room`
    /// is memory for the next ones.
    #[must_use]
    pub fn take_first(&mut self, room: Vec<f32>) -> Vec<f32> {
        let end = self.tensors.first().copied().unwrap_or(0);
        let mut first = mem::replace(&mut self.numbers, room);
        first.truncate(end);
        self.numbers.clear();
        self.tensors.clear();
        first
    }
}

/// The part of a list that stands at `index`, of parts that end at `ends`.
fn part<'a, T>(all: &'a [T], ends: &[usize], index: usize) -> &'a [T] {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    &all[start..ends[index]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_comes_apart_as_it_was_put_together() {
        let mut fetched = Fetched::default();
        for round in 0..2 {
            fetched.clear();
            fetched.push_tensor(&[1.0, 2.0]);
            fetched.push_tensor(&[]);
            fetched.push_tensor(&[3.0]);
            fetched.push_ids(&[7]);
            fetched.push_ids(&[8, 9]);
            let tensors = [0, 1, 2].map(|index| fetched.tensor(index).to_vec());
            assert_eq!(tensors, [vec![1.0, 2.0], vec![], vec![3.0]], "{round}");
            assert!(fetched.lists().eq([&[7][..], &[8, 9]]));
            assert_eq!(fetched.bytes(), 24);
        }
        assert_eq!(fetched.take_first(vec![5.0; 3]), [1.0, 2.0]);
        assert_eq!(fetched.take_first(Vec::new()), [0.0; 0]);
    }
}
