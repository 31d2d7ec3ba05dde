//! A question to a model: that of a folder, or the small one of `deepseek-assets`.
//!
//! `cargo run -p deepseek-chat --example ask -- [DIR] [QUESTION]`

use std::env;
use std::io::{self, Write};
use std::thread;

use backend_host::Host;
use deepseek_chat::{CarriedModel, Defaults, Delta, LoadOptions, ModelSource};
use deepseek_core::Level;
use deepseek_text::Mode;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let source = match arguments.next() {
        Some(folder) => ModelSource::open(folder)?,
        None => ModelSource::Carried(CarriedModel {
            config: deepseek_assets::CONFIG,
            tokenizer: deepseek_assets::TOKENIZER,
            weights: deepseek_assets::WEIGHTS,
            defaults: Defaults {
                mode: Mode::Chat,
                temperature: 0.0,
                level: Level::Exact,
            },
        }),
    };
    let question = arguments.next();
    let question = question.as_deref().unwrap_or("What is 12 + 30?");

    let threads = thread::available_parallelism()?.get();
    let session = source.load(Host::new(threads), LoadOptions::default())?;
    #[allow(
        clippy::disallowed_methods,
        reason = "the answer goes where it is asked for"
    )]
    let mut out = io::stdout().lock();
    for delta in session.ask(question)? {
        if let Delta::Text(text) = delta? {
            write!(out, "{text}")?;
            out.flush()?;
        }
    }
    writeln!(out)?;
    Ok(())
}
