//! The rows of a measurement: as text, JSON or comma-separated values.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use bytesize::ByteSize;
use deepseek_core::Level;
use deepseek_model::bill::Weights;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::args::Bench;
use crate::fault::Result;
use crate::load;
use crate::screen;

/// What is measured behind the tokens of a depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// A prompt of so many tokens.
    Prompt(u32),
    /// So many tokens, one after the other.
    Generate(u32),
}

impl Test {
    pub(super) fn tokens(self) -> u32 {
        match self {
            Self::Prompt(tokens) | Self::Generate(tokens) => tokens,
        }
    }

    /// The tokens of a prompt, and those that are generated.
    fn counts(self) -> [u32; 2] {
        match self {
            Self::Prompt(tokens) => [tokens, 0],
            Self::Generate(tokens) => [0, tokens],
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt(tokens) => write!(f, "pp{tokens}"),
            Self::Generate(tokens) => write!(f, "tg{tokens}"),
        }
    }
}

/// Tokens per second that would be reached if one thing alone took time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Roof {
    /// What takes time: `reading` or `multiplying`.
    pub(super) of: &'static str,
    /// Tokens per second.
    pub(super) rate: f64,
}

/// What was measured of one test.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) threads: usize,
    pub(super) test: Test,
    pub(super) depth: u32,
    /// Tokens per second, each time.
    pub(super) rates: Vec<f64>,
    pub(super) roof: Option<Roof>,
    /// The share of visits of experts that found theirs in memory, where not all may stay there.
    pub(super) resident: Option<f64>,
}

impl Row {
    /// `pp512`, or `pp512 @ d4096` behind so many tokens.
    fn name(&self) -> String {
        match self.depth {
            0 => self.test.to_string(),
            depth => format!("{} @ d{depth}", self.test),
        }
    }

    pub(super) fn mean(&self) -> f64 {
        self.rates.iter().sum::<f64>() / self.rates.len() as f64
    }

    /// The standard deviation of the sample; 0 of a single one.
    fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        (squares / (self.rates.len() - 1).max(1) as f64).sqrt()
    }

    /// The share of the roof that is reached.
    fn share(&self) -> Option<f64> {
        self.roof.map(|roof| self.mean() / roof.rate)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Csv,
}

/// The table as it grows. Text and comma-separated values are written row by row, JSON at the end.
pub(super) struct Table {
    form: Form,
    head: Head,
    rows: Vec<Row>,
    bar: ProgressBar,
}

/// What all rows have in common.
#[derive(Debug)]
struct Head {
    model: String,
    bytes: u64,
    device: String,
    numerics: String,
}

impl Table {
    pub(super) fn begin(
        args: &Bench,
        weights: &Weights,
        level: Level,
        rows: usize,
    ) -> Result<Self> {
        let folder = args.model.folder.as_deref();
        let name = |folder: &std::path::Path| folder.display().to_string();
        let head = Head {
            model: folder.map_or_else(|| "embedded".to_owned(), name),
            bytes: weights.total.bytes,
            device: args.model.devices().settled(),
            numerics: level.to_string(),
        };
        let bar = load::bar("measuring", "{pos}/{len} rows, {elapsed}");
        bar.set_length(rows as u64);
        bar.enable_steady_tick(Duration::from_millis(200));
        let table = Self {
            form: match (args.json, args.csv) {
                (true, _) => Form::Json,
                (_, true) => Form::Csv,
                _ => Form::Text,
            },
            head,
            rows: Vec::new(),
            bar,
        };
        table.say(&table.opening())?;
        Ok(table)
    }

    pub(super) fn push(&mut self, row: Row) -> Result<()> {
        let line = match self.form {
            Form::Text => text(&row),
            Form::Csv => csv(&self.head, &row),
            Form::Json => String::new(),
        };
        self.say(&line)?;
        self.rows.push(row);
        self.bar.inc(1);
        Ok(())
    }

    /// What it is of.
    pub(super) fn title(&self) -> String {
        let Head {
            model,
            device,
            numerics,
            ..
        } = &self.head;
        format!("tokens/s, {model}, {device}, {numerics}")
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn finish(self) -> Result<()> {
        self.bar.finish_and_clear();
        if self.form == Form::Json {
            let rows = self.rows.iter().map(|row| object(&self.head, row));
            self.say(&format!("{:#}\n", rows.collect::<Value>()))?;
        }
        Ok(())
    }

    fn opening(&self) -> String {
        let Head {
            model,
            bytes,
            device,
            numerics,
        } = &self.head;
        match self.form {
            Form::Text => format!(
                "model     {model}, {}\ndevice    {device}\nnumerics  {numerics}\n\n{:>7}  {:<20} {:>20}  of the roof\n",
                ByteSize(*bytes).display().iec(),
                "threads",
                "test",
                "tokens/s",
            ),
            Form::Csv => format!("{}\n", COLUMNS.join(",")),
            Form::Json => String::new(),
        }
    }

    fn say(&self, text: &str) -> Result<()> {
        if !text.is_empty() {
            self.bar.suspend(|| {
                let mut out = screen::stdout();
                out.write_all(text.as_bytes())?;
                out.flush()
            })?;
        }
        Ok(())
    }
}

const COLUMNS: [&str; 13] = [
    "model",
    "model_bytes",
    "device",
    "numerics",
    "threads",
    "n_prompt",
    "n_gen",
    "n_depth",
    "mean",
    "deviation",
    "roof",
    "share",
    "experts_resident",
];

fn text(row: &Row) -> String {
    let rate = format!("{:.2} ± {:.2}", row.mean(), row.deviation());
    let share = match (row.roof, row.share()) {
        (Some(roof), Some(share)) => format!("  {:>3.0} % of {}", 100.0 * share, roof.of),
        _ => String::new(),
    };
    let resident = row.resident.map_or_else(String::new, |resident| {
        format!("  {:.1} % of experts in memory", 100.0 * resident)
    });
    format!(
        "{:>7}  {:<20} {rate:>20}{share}{resident}\n",
        row.threads,
        row.name()
    )
}

fn csv(head: &Head, row: &Row) -> String {
    let object = object(head, row);
    let cell = |name: &&str| match &object[*name] {
        Value::Null => String::new(),
        // A quote within quotes is doubled (RFC 4180).
        Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        other => other.to_string(),
    };
    let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
    format!("{}\n", cells.join(","))
}

fn object(head: &Head, row: &Row) -> Value {
    let [prompt, generated] = row.test.counts();
    json!({
        "model": head.model,
        "model_bytes": head.bytes,
        "device": head.device,
        "numerics": head.numerics,
        "threads": row.threads,
        "n_prompt": prompt,
        "n_gen": generated,
        "n_depth": row.depth,
        "mean": row.mean(),
        "deviation": row.deviation(),
        "samples": row.rates,
        "roof": row.roof.map(|roof| roof.rate),
        "roof_of": row.roof.map(|roof| roof.of),
        "share": row.share(),
        "experts_resident": row.resident,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            threads: 2,
            test: Test::Generate(128),
            depth: 4096,
            rates: vec![9.0, 10.0, 11.0],
            roof: Some(Roof {
                of: "reading",
                rate: 40.0,
            }),
            resident: Some(0.875),
        }
    }

    fn head() -> Head {
        Head {
            model: "a \"b\", c".to_owned(),
            bytes: 5,
            device: "cpu:plain".to_owned(),
            numerics: "exact".to_owned(),
        }
    }

    #[test]
    fn a_row_has_its_mean_its_deviation_and_its_share() {
        let line = text(&row());
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "2 tg128 @ d4096 10.00 ± 1.00 25 % of reading 87.5 % of experts in memory"
        );
        let plain = Row {
            depth: 0,
            rates: vec![3.0],
            roof: None,
            resident: None,
            test: Test::Prompt(5),
            ..row()
        };
        let words: Vec<String> = text(&plain).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), "2 pp5 3.00 ± 0.00");
    }

    #[test]
    fn values_with_commas_are_quoted() {
        let want = r#""a ""b"", c",5,"cpu:plain","exact",2,0,128,4096,10.0,1.0,40.0,0.25,0.875"#;
        assert_eq!(csv(&head(), &row()), format!("{want}\n"));
    }
}
