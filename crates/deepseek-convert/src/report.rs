//! What a conversion lost, as a table.

use std::collections::BTreeMap;
use std::fmt;

use deepseek_model::report::human;

use crate::journal::{Journal, TensorRecord};
use crate::matrix::Loss;

/// Tensors of one place in the model, converted alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// Their name, with `*` for the numbers in it.
    pub name: String,
    /// How they were stored.
    pub from: String,
    /// How they are stored.
    pub to: String,
    /// How many they are.
    pub tensors: u64,
    /// Numbers that were not finite.
    pub not_finite: u64,
    /// The root mean square of what is lost, as a share of that of the numbers, over all of them.
    pub relative_rms: f64,
    /// The same of the tensor that lost most.
    pub worst_rms: f64,
    /// The most that a number is off.
    pub max_error: f64,
}

/// What a conversion made of a checkpoint. Its [`Display`](fmt::Display) is a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Bytes of the tensors before.
    pub bytes_before: u64,
    /// Bytes of the tensors after.
    pub bytes_after: u64,
    /// Files of weights that were made now.
    pub made: usize,
    /// Files of weights that were there already, and whole.
    pub kept: usize,
    /// What was converted, by place.
    pub kinds: Vec<Kind>,
}

impl Report {
    pub(crate) fn new(journal: &Journal, made: usize, kept: usize) -> Self {
        let mut kinds: BTreeMap<[String; 3], (Kind, Loss)> = BTreeMap::new();
        let tensors = journal.shards.iter().flat_map(|shard| &shard.tensors);
        for tensor in tensors {
            let name = place(&tensor.name);
            let key = [name.clone(), tensor.from.clone(), tensor.to.clone()];
            let (kind, loss) = kinds.entry(key).or_insert_with(|| {
                let kind = Kind {
                    name,
                    from: tensor.from.clone(),
                    to: tensor.to.clone(),
                    tensors: 0,
                    not_finite: 0,
                    relative_rms: 0.0,
                    worst_rms: 0.0,
                    max_error: 0.0,
                };
                (kind, Loss::default())
            });
            kind.tensors += 1;
            loss.add(tensor.loss());
            kind.worst_rms = kind.worst_rms.max(relative_rms(tensor.loss()));
        }
        let kinds = kinds.into_values().map(|(kind, loss)| Kind {
            not_finite: loss.not_finite,
            relative_rms: relative_rms(loss),
            max_error: loss.max_error,
            ..kind
        });
        Self {
            bytes_before: journal.bytes_before,
            bytes_after: journal.bytes_after,
            made,
            kept,
            kinds: kinds.collect(),
        }
    }
}

impl TensorRecord {
    /// What became of the numbers of `name`.
    pub(crate) fn new(name: String, from: String, to: String, loss: Loss) -> Self {
        let mut record = Self {
            name,
            from,
            to,
            count: loss.count,
            not_finite: loss.not_finite,
            squares: loss.squares,
            error_squares: loss.error_squares,
            max_error: loss.max_error,
            relative_rms: relative_rms(loss),
            snr_db: snr_db(relative_rms(loss)),
        };
        record.shorten();
        record
    }

    fn loss(&self) -> Loss {
        Loss {
            count: self.count,
            not_finite: self.not_finite,
            squares: self.squares,
            error_squares: self.error_squares,
            max_error: self.max_error,
        }
    }
}

fn relative_rms(loss: Loss) -> f64 {
    if loss.error_squares > 0.0 {
        (loss.error_squares / loss.squares).sqrt()
    } else {
        0.0
    }
}

/// Signal over noise; none where there is no noise.
fn snr_db(relative_rms: f64) -> Option<f64> {
    (relative_rms > 0.0).then(|| -20.0 * relative_rms.log10())
}

/// A tensor's name with `*` for each number between its full stops.
fn place(name: &str) -> String {
    let step = |step: &str| {
        let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { "*" } else { step }.to_owned()
    };
    name.split('.').map(step).collect::<Vec<_>>().join(".")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self.kinds.iter().map(|kind| kind.name.len()).max();
        let wide = wide.unwrap_or(0).max("tensors".len());
        writeln!(
            f,
            "{:<wide$} {:>6}  {:<22} {:<10} {:>9} {:>9} {:>7} {:>10}",
            "tensors", "count", "from", "to", "rel. rms", "worst", "SNR dB", "max error"
        )?;
        for kind in &self.kinds {
            let snr = snr_db(kind.relative_rms);
            let snr = snr.map_or_else(|| "-".to_owned(), |snr| format!("{snr:.1}"));
            writeln!(
                f,
                "{:<wide$} {:>6}  {:<22} {:<10} {:>8.3}% {:>8.3}% {snr:>7} {:>10.3e}",
                kind.name,
                kind.tensors,
                kind.from,
                kind.to,
                kind.relative_rms * 100.0,
                kind.worst_rms * 100.0,
                kind.max_error,
            )?;
        }
        let lost: u64 = self.kinds.iter().map(|kind| kind.not_finite).sum();
        if lost > 0 {
            writeln!(f, "{lost} numbers were not finite, and their rows are not")?;
        }
        writeln!(
            f,
            "tensors: {} before, {} after ({:.1} %)",
            human(self.bytes_before),
            human(self.bytes_after),
            self.bytes_after as f64 / self.bytes_before.max(1) as f64 * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_name_are_stars() {
        assert_eq!(
            place("layers.12.ffn.experts.3.w1.weight"),
            "layers.*.ffn.experts.*.w1.weight"
        );
        assert_eq!(place("mtp.0.e_proj"), "mtp.*.e_proj");
    }

    #[test]
    fn what_is_lost_is_a_share_and_a_ratio() {
        let loss = Loss {
            count: 2,
            squares: 100.0,
            error_squares: 0.01,
            ..Loss::default()
        };
        assert!((relative_rms(loss) - 0.01).abs() < 1e-12);
        assert_eq!(snr_db(0.01), Some(40.0));
        assert_eq!(snr_db(relative_rms(Loss::default())), None);
    }
}
