//! One turn of a conversation, with a decoder that has no weights and knows its answer by heart.

use std::io::Write;
use std::time::Duration;

use deepseek_chat::{Delta, Turn, TurnOptions};
use deepseek_engine::toy::{Toy, ToyDecoder};
use deepseek_engine::{Engine, Limits};
use deepseek_model::Capacity;
use deepseek_text::{Conversation, Options, Tokenizer, marker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokenizer = Tokenizer::parse(Tokenizer::tiny_json(300)?.as_bytes())?;
    let said = format!(
        "They ask for the time. {}It is late.{}",
        marker::THINK_END,
        marker::EOS
    );
    let decoder = ToyDecoder::new(Toy {
        capacity: Capacity {
            vocabulary: 300,
            ..Toy::default().capacity
        },
        script: tokenizer.encode_trusted(&said)?,
        ..Toy::default()
    });
    let engine = Engine::spawn(Box::new(decoder), Limits::default());

    let conversation = Conversation::ask("What time is it?");
    let options = TurnOptions {
        drafts: 2,
        ..TurnOptions::default()
    };
    let turn = Turn::start(
        &engine,
        &tokenizer,
        &conversation,
        &Options::default(),
        options,
    )?;
    #[allow(clippy::disallowed_methods, reason = "the toy says what stands above")]
    let mut out = std::io::stdout().lock();
    for delta in turn {
        match delta? {
            Delta::Thinking(text) | Delta::Text(text) => write!(out, "{text}")?,
            Delta::ToolCall {
                name, arguments, ..
            } => writeln!(out, "{name} {arguments}")?,
            Delta::Finished { reason, usage } => {
                let (generated, accepted) = (usage.generated, usage.accepted);
                writeln!(
                    out,
                    "\n{reason:?}: {generated} ids, of which {accepted} were drafted"
                )?;
            }
            _ => {}
        }
    }
    engine.close(Duration::ZERO)?;
    Ok(())
}
