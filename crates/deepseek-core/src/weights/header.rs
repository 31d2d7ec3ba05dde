//! The JSON at the head of a file, and the one beside the files: read, not yet believed.
//!
//! The `safetensors` crate has a parser too. It keeps the last of two entries of one name and does
//! not say which entry it refuses, so this one stands on `serde_json` itself.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::limits::{NAME_BYTES_MAX, RANK_MAX};

/// What a file says of one tensor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry<'a> {
    /// The name of a type.
    #[serde(borrow)]
    pub(super) dtype: Cow<'a, str>,
    /// At most [`RANK_MAX`] dimensions.
    #[serde(deserialize_with = "shape")]
    pub(super) shape: Vec<usize>,
    /// First byte and the one after the last, from the end of the header.
    pub(super) data_offsets: [usize; 2],
}

/// The entries of a file by name, in the order of the names, which differ.
#[derive(Debug)]
pub(super) struct Header<'a>(pub(super) Vec<(String, Entry<'a>)>);

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        let mut notes = 0..1;
        while let Some(Name(name)) = map.next_key()? {
            if name == "__metadata__" {
                // Free text for people: nothing here depends on it.
                map.next_value::<IgnoredAny>()?;
                notes
                    .next()
                    .ok_or_else(|| A::Error::duplicate_field("__metadata__"))?;
                continue;
            }
            let entry = map
                .next_value()
                .map_err(|error| A::Error::custom(format_args!("tensor {name}: {error}")))?;
            entries.push((name, entry));
        }
        sort_by_name(&mut entries)?;
        Ok(Header(entries))
    }
}

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    /// Numbers about the whole.
    #[serde(default)]
    pub(super) metadata: IndexMetadata,
    /// The files, and the tensors with their place among the files.
    pub(super) weight_map: Places,
}

/// What an index says about the whole. Anything else in it is passed over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct IndexMetadata {
    /// Bytes of all tensors.
    pub(super) total_size: Option<u64>,
}

/// A list of files, and of tensors in the order of their names, which differ.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The files, each once. These are plain names, not paths.
    pub(super) files: Vec<String>,
    /// For each tensor a place in `files`.
    pub(super) tensors: Vec<(String, usize)>,
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(PlacesVisitor)
    }
}

struct PlacesVisitor;

impl<'de> Visitor<'de> for PlacesVisitor {
    type Value = Places;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut places = Places::default();
        while let Some(Name(name)) = map.next_key()? {
            let FileName(file) = map.next_value()?;
            let number = match numbers.get(file.as_ref()) {
                Some(number) => *number,
                None => {
                    places.files.push(file.to_string());
                    let next = numbers.len();
                    *numbers.entry(file.into_owned()).or_insert(next)
                }
            };
            places.tensors.push((name, number));
        }
        sort_by_name(&mut places.tensors)?;
        Ok(places)
    }
}

/// Brings entries into the order of their names.
fn sort_by_name<T, E: serde::de::Error>(entries: &mut [(String, T)]) -> Result<(), E> {
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for pair in entries.windows(2) {
        if let [(name, _), (next, _)] = pair
            && name == next
        {
            return Err(E::custom(format_args!("tensor {name}: named twice")));
        }
    }
    Ok(())
}

/// A tensor's name that can stand in a message.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(D::Error::custom(format_args!(
                "{name:?} cannot name a tensor"
            )));
        }
        if name.len() > NAME_BYTES_MAX {
            let why = format_args!("a name of {} bytes, at most {NAME_BYTES_MAX}", name.len());
            return Err(D::Error::custom(why));
        }
        Ok(Self(name))
    }
}

/// The name of a file in the folder of the index.
struct FileName<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for FileName<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

        let Text(name) = Text::deserialize(from)?;
        let foreign = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
        let plain = !name.starts_with('.') && !name.contains(foreign);
        if !plain || !name.ends_with(".safetensors") || name.len() > NAME_BYTES_MAX {
            return Err(D::Error::custom(format_args!(
                "{name:?} is no file of this folder"
            )));
        }
        Ok(Self(name))
    }
}

/// Reads a list of dimensions without believing its length.
fn shape<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    struct Dimensions;

    impl<'de> Visitor<'de> for Dimensions {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {RANK_MAX} dimensions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut shape = Vec::new();
            while let Some(count) = seq.next_element()? {
                if shape.len() == RANK_MAX {
                    return Err(A::Error::custom(format_args!(
                        "more than {RANK_MAX} dimensions"
                    )));
                }
                shape.reserve_exact(1);
                shape.push(count);
            }
            Ok(shape)
        }
    }

    from.deserialize_seq(Dimensions)
}
