//! `deepseek tokenize`: text to ids, and back.

use std::io::Write;

use deepseek_chat::read_tokenizer;
use deepseek_model::TokenId;
use deepseek_text::Tokenizer;
use serde_json::json;

use crate::args::Tokenize;
use crate::fault::Result;
use crate::input;
use crate::load;
use crate::screen;

pub(crate) fn run(args: &Tokenize) -> Result<()> {
    let tokenizer = match (&args.tokenizer, &args.model) {
        (Some(file), _) => read_tokenizer(file)?,
        (None, folder) => load::source(folder.as_deref())?.tokenizer()?,
    };
    if let Some(ids) = &args.decode {
        return decode(&tokenizer, &ids.read()?, args.json);
    }
    let text = match &args.file {
        Some(file) => input::file(file)?,
        None => input::text(args.text.as_deref())?,
    };
    let ids = if args.special {
        tokenizer.encode_trusted(&text)?
    } else {
        tokenizer.encode(&text)?
    };
    let mut out = screen::stdout();
    if args.count {
        writeln!(out, "{}", ids.len())?;
    } else if args.json {
        let tokens = ids
            .iter()
            .map(|&id| Ok(json!({ "id": id, "text": tokenizer.decode(&[id])? })))
            .collect::<Result<Vec<_>>>()?;
        writeln!(out, "{}", json!({ "count": ids.len(), "tokens": tokens }))?;
    } else {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", ids.join(","))?;
    }
    Ok(())
}

fn decode(tokenizer: &Tokenizer, ids: &[TokenId], as_json: bool) -> Result<()> {
    let text = tokenizer.decode(ids)?;
    let mut out = screen::stdout();
    if as_json {
        writeln!(out, "{}", json!({ "count": ids.len(), "text": text }))?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(())
}
