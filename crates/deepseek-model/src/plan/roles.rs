//! What each layer has to do with compressed rows.

use deepseek_attn::{Choice, Compression, Filter, Keys, Producer, Role, RopeSet, SourceId};

use crate::config::{Config, SPARSE_RATIO, SharingConfig};

/// What each layer of the backbone has to do with compressed rows.
pub(crate) fn roles(config: &Config) -> Vec<Role> {
    match &config.sharing {
        None => own_roles(config),
        Some(sharing) => shared_roles(config, sharing),
    }
}

/// What each layer has to do with compressed rows where it keeps its own (V4).
fn own_roles(config: &Config) -> Vec<Role> {
    let mut sources = 0..;
    let role = |ratio: &u32| {
        if *ratio == 0 {
            return Role::WINDOW;
        }
        let sparse = *ratio == SPARSE_RATIO;
        Role {
            source: sources.next().map(SourceId),
            ratio: *ratio,
            produces: Some(Producer {
                compression: Compression::Gated {
                    bias: true,
                    overlap: sparse,
                },
                keys: if sparse { Keys::Compressed } else { Keys::None },
            }),
            choice: if sparse {
                Choice::Fresh {
                    k: config.index.topk,
                    filter: Filter::Open,
                }
            } else {
                Choice::All
            },
            rope: RopeSet::Compressed,
        }
    };
    config.ratios.iter().map(role).collect()
}

/// The same where layers share rows and choices (V4.1).
fn shared_roles(config: &Config, sharing: &SharingConfig) -> Vec<Role> {
    let role = |(layer, ratio): (usize, &u32)| {
        let source = sharing.kv_sources.iter().rposition(|own| *own <= layer);
        let (Some(source), 1..) = (source, *ratio) else {
            return Role::WINDOW;
        };
        let filter = match sharing.candidates {
            Some((first, blocks)) if first == layer => Filter::Keep(blocks),
            Some((first, _)) if first < layer => Filter::Use,
            Some(_) | None => Filter::Open,
        };
        Role {
            source: Some(SourceId(source)),
            ratio: *ratio,
            produces: sharing.kv_sources.contains(&layer).then_some(Producer {
                compression: match ratio {
                    1 => Compression::Each,
                    _ => Compression::Gated {
                        bias: false,
                        overlap: false,
                    },
                },
                keys: Keys::Projected,
            }),
            choice: if sharing.index_sources.contains(&layer) {
                Choice::Fresh {
                    k: config.index.topk,
                    filter,
                }
            } else {
                Choice::Carried
            },
            rope: RopeSet::Compressed,
        }
    };
    config.ratios.iter().enumerate().map(role).collect()
}
