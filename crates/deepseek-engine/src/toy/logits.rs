//! What the toy says: logits as a function of a seed and of all that came before.

use deepseek_model::{Media, Span, TokenId};

use super::ToyDecoder;

/// A history, in short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    hash: u64,
    /// Ids of the script with which it ends.
    said: usize,
}

impl Mark {
    /// As a row of a saved sequence.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        let bytes = [self.hash, self.said as u64].map(u64::to_le_bytes);
        bytes.concat().try_into().expect("two numbers of 8 bytes")
    }

    /// What [`Mark::to_bytes`] gave, if it is that.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hash, said) = bytes.split_first_chunk()?;
        Some(Self {
            hash: u64::from_le_bytes(*hash),
            said: u64::from_le_bytes(said.try_into().ok()?) as usize,
        })
    }
}

impl ToyDecoder {
    /// The history after one more id.
    pub(super) fn after(&self, mark: Mark, id: TokenId) -> Mark {
        let script = &self.toy.script;
        let mut said = mark.said;
        while said > 0 && script.get(said) != Some(&id) {
            said = self.borders[said];
        }
        said += usize::from(script.get(said) == Some(&id));
        Mark {
            hash: mix(mark.hash ^ u64::from(id)),
            said,
        }
    }

    /// The history after token `index` of a span, be it text or a row of a medium.
    pub(super) fn after_row(&self, mark: Mark, span: &Span, index: usize) -> Mark {
        let insert = span.media.iter().find(|own| own.tokens.contains(&index));
        let Some(insert) = insert else {
            return self.after(mark, span.tokens[index]);
        };
        let row = insert.from + index - insert.tokens.start;
        let (medium, rows) = self.media[&insert.media];
        assert!(row < rows, "row {row} of {rows}");
        Mark {
            hash: mix(mark.hash ^ mix(medium ^ row as u64)),
            said: 0,
        }
    }

    /// The logits after a history.
    pub(super) fn row(&self, mark: Mark) -> Vec<f32> {
        let history = mix(self.toy.seed ^ mark.hash);
        let mut row: Vec<f32> = (0..self.toy.capacity.vocabulary)
            .map(|id| unit(mix(history ^ u64::from(id))) * 4.0 - 2.0)
            .collect();
        if let Some(&id) = self.toy.script.get(mark.said).or(self.toy.script.last()) {
            row[id as usize] += 100.0;
        }
        row
    }

    /// A number from 0 to 1 that goes with a history and has nothing to do with its logits.
    pub(super) fn chance(&self, mark: Mark) -> f32 {
        unit(mix(!self.toy.seed ^ mark.hash))
    }

    /// The most likely id after a history.
    pub(super) fn most_likely(&self, mark: Mark) -> TokenId {
        let row = self.row(mark);
        (0..)
            .zip(row)
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .expect("a vocabulary")
            .0
    }
}

/// A number that another medium does not have.
pub(super) fn hash(media: &Media) -> u64 {
    let bytes = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |hash, byte| mix(hash ^ u64::from(*byte)))
    };
    match media {
        Media::Image(canvas) => bytes(canvas.rgb()),
        Media::Shot(shot) => shot
            .frames
            .iter()
            .fold(1, |hash, frame| mix(hash ^ bytes(frame.rgb()))),
        Media::Audio(chunk) => {
            let features = chunk.features.data().iter();
            features.fold(2, |hash, x| mix(hash ^ u64::from(x.to_bits())))
        }
        _ => unreachable!("other media are not known here"),
    }
}

/// A bijection without pattern: the finaliser of splitmix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The upper 24 bits, from 0 to 1.
fn unit(x: u64) -> f32 {
    (x >> 40) as f32 / (1_u32 << 24) as f32
}
