//! What must hold between the numbers of a config.

use super::{ConfigError, Family, Numbers, Result, Storage, clash};

impl Numbers {
    /// What must hold between keys. The bounds above keep every product here small.
    pub(super) fn agree(&self) -> Result<()> {
        let wide = self.heads.saturating_mul(self.head_dim);
        if wide.checked_rem(self.o_groups) != Some(0) {
            return clash(
                format!(
                    "num_attention_heads {} times head_dim {} is {wide}",
                    self.heads, self.head_dim
                ),
                format!("o_groups {} does not divide it", self.o_groups),
            );
        }
        if self.rope_dim > self.index.head_dim {
            return clash(
                format!("the rotary width is {}", self.rope_dim),
                format!("index_head_dim is {}", self.index.head_dim),
            );
        }
        if self.family == Family::V4 && !self.index.head_dim.is_power_of_two() {
            return Err(ConfigError::Range {
                key: "index_head_dim".to_owned(),
                value: self.index.head_dim.to_string(),
                want: "a power of two".to_owned(),
            });
        }
        let packed = [
            ("head_dim", self.head_dim),
            ("index_head_dim", self.index.head_dim),
        ];
        for (key, width) in packed {
            if self.family == Family::V41 && width % 2 != 0 {
                return Err(ConfigError::Range {
                    key: key.to_owned(),
                    value: width.to_string(),
                    want: "an even number".to_owned(),
                });
            }
        }
        if self.experts.top_k > self.experts.count {
            return clash(
                format!("num_experts_per_tok is {}", self.experts.top_k),
                format!("n_routed_experts is {}", self.experts.count),
            );
        }
        let odd = [self.hidden_size, self.experts.inner]
            .iter()
            .any(|width| width % 2 != 0);
        if self.storage == Storage::Released && odd {
            return clash(
                "experts are stored as FP4, two columns a byte".to_owned(),
                format!(
                    "hidden_size {} and moe_intermediate_size {} are not both even",
                    self.hidden_size, self.experts.inner
                ),
            );
        }
        let outside = |id: &u32| usize::try_from(*id).is_ok_and(|id| id >= self.vocab_size);
        let engram = self.engram.as_ref();
        let drafter = self.drafter.as_ref();
        if let Some(engram) = engram.filter(|engram| engram.compressed > self.vocab_size) {
            return clash(
                format!("engram_compressed_vocab_size is {}", engram.compressed),
                format!("vocab_size is {}", self.vocab_size),
            );
        }
        let named = [("bos_token_id", &self.bos)]
            .into_iter()
            .chain(self.eos.iter().map(|id| ("eos_token_id", id)))
            .chain(self.image_token.iter().map(|id| ("image_token_id", id)))
            .chain(self.audio_token.iter().map(|id| ("audio_token_id", id)))
            .chain(self.video_token.iter().map(|id| ("video_token_id", id)))
            .chain(engram.map(|engram| ("engram_pad_token_id", &engram.pad)))
            .chain(drafter.map(|drafter| ("dspark_noise_token_id", &drafter.noise)));
        for (key, id) in named {
            if outside(id) {
                return clash(
                    format!("{key} is {id}"),
                    format!("vocab_size is {}", self.vocab_size),
                );
            }
        }
        Ok(())
    }
}
