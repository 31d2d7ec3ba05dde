//! The most likely next tokens after a text, by the model that is embedded in `deepseek-assets`.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::ops::ControlFlow;

use backend_host::Host;
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Budget, Config, Decoder, Model, Plan, SeqId, Span, Step, Want};
use deepseek_text::{Conversation, Edition, Mode, Options, Tokenizer, encode};

fn main() -> Result<(), Box<dyn Error>> {
    // From the config alone: what each layer is, and the memory that it takes.
    let config = Config::parse(deepseek_assets::CONFIG)?.without_drafts();
    let budget = Budget {
        context: 256,
        ..Budget::default()
    };
    let plan = Plan::new(&config, Numerics::EXACT, budget)?;
    println!("{} bytes for a sequence", plan.memory_bytes());

    // The weights, on a device. Of a released model, `Checkpoint::open` takes the folder.
    let checkpoint = Checkpoint::from_static("model.safetensors", deepseek_assets::WEIGHTS)?;
    let tokenizer = Tokenizer::parse(deepseek_assets::TOKENIZER)?;
    let compressed = Some(tokenizer.engram_ids()?);
    let progress = &mut |_, _| ControlFlow::Continue(());
    let mut model = Model::load(Host::new(2), plan, &checkpoint, compressed, progress)?;

    let options = Options {
        mode: Mode::Chat,
        edition: Edition::of(&tokenizer),
        ..Options::default()
    };
    let prompt = encode(&tokenizer, &Conversation::ask("What is 12 + 30?"), &options)?;
    let span = Span {
        seq: SeqId(0),
        at: 0,
        tokens: prompt.ids,
        media: Vec::new(),
        want: Want::Last,
    };
    let logits = model.step(&Step { spans: vec![span] })?;
    let row = logits.span(0).next().ok_or("a row was asked for")?;
    let mut ids: Vec<u32> = (0..).take(row.len()).collect();
    ids.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
    for id in &ids[..5] {
        println!("{:8.3} {:?}", row[*id as usize], tokenizer.decode(&[*id])?);
    }
    Ok(())
}
