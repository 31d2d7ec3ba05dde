//! A conversation becomes a prompt, and an answer with a tool call is read back, piece by piece.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;

use deepseek_text::{Answer, Conversation, Edition, Options, Reader, Tokenizer, encode};

/// What a client sends: a tool, and a question that wants it.
const CONVERSATION: &str = r#"[
    {"role": "system", "content": "Answer in one sentence.", "tools": [{"type": "function", "function": {
        "name": "weather", "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]},
    {"role": "user", "content": "Does it rain in Oslo?"}
]"#;

/// What a model might answer, with the markers of V4.1.
const ANSWER: &str = "A tool knows.</think>I will look.

<｜DSML｜ calls>
<｜DSML｜ invoke name=\"weather\">
<｜DSML｜ parameter name=\"city\" string=\"true\">Oslo</｜DSML｜ parameter>
</｜DSML｜ invoke>
</｜DSML｜ calls><｜end▁of▁sentence｜>";

fn main() -> Result<(), Box<dyn Error>> {
    // The tokenizer of the embedded model; of a checkpoint, the bytes of its `tokenizer.json`.
    let tokenizer = Tokenizer::parse(deepseek_assets::TOKENIZER)?;
    let options = Options {
        edition: Edition::of(&tokenizer),
        ..Options::default()
    };
    let prompt = encode(&tokenizer, &Conversation::parse(CONVERSATION)?, &options)?;
    println!(
        "{}\n\n{} ids: {:?}\n",
        prompt.text,
        prompt.ids.len(),
        prompt.ids
    );

    let mut reader = Reader::new(&tokenizer, prompt.start, Vec::new());
    let mut answer = Answer::default();
    for id in tokenizer.encode_trusted(ANSWER)? {
        for delta in reader.push(id)? {
            println!("{delta:?}");
            answer.push(&delta);
        }
    }
    println!("\n{answer:#?}");
    Ok(())
}
