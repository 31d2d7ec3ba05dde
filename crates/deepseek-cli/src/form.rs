//! What an answer has to look like, as it is asked for.

use anyhow::Context;
use deepseek_chat::{AnswerConstraint, Description, Form as Source, GrammarError};
use deepseek_text::{Conversation, Json};

use crate::args::Run;
use crate::fault::{Fault, Result};
use crate::input;

/// What an answer has to look like.
#[derive(Debug)]
pub(crate) struct Form {
    kind: Kind,
    /// What messages call it.
    name: String,
    source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    JsonSchema,
    Regex,
    Grammar,
}

impl Form {
    /// Reads what was named, if anything was.
    pub(crate) fn read(args: &Run) -> Result<Option<Self>> {
        let files = [
            (Kind::JsonSchema, &args.json_schema),
            (Kind::Grammar, &args.grammar),
        ];
        for (kind, file) in files {
            if let Some(file) = file {
                return Ok(Some(Self {
                    kind,
                    name: file.display().to_string(),
                    source: input::file(file)?,
                }));
            }
        }
        Ok(args.regex.as_ref().map(|regex| Self {
            kind: Kind::Regex,
            name: "--regex".to_owned(),
            source: regex.clone(),
        }))
    }

    /// Tells the model of it, as far as it was trained to be told.
    pub(crate) fn announce(&self, conversation: &mut Conversation) -> Result<()> {
        if self.kind == Kind::JsonSchema {
            let schema = Json::parse(&self.source).with_context(|| self.name.clone());
            let schema = schema.map_err(Fault::input)?;
            conversation.first_brief().response_format = Some(schema);
        }
        Ok(())
    }

    /// Compiles it for a model.
    pub(crate) fn compile(&self, model: &Description) -> Result<AnswerConstraint> {
        let source = match self.kind {
            Kind::JsonSchema => Source::JsonSchema(&self.source),
            Kind::Regex => Source::Regex(&self.source),
            Kind::Grammar => Source::Ebnf(&self.source),
        };
        model.constraint(source).map_err(|error| {
            let fault = match error {
                GrammarError::Thread(_) => Fault::machine(error),
                error => Fault::input(error),
            };
            fault.at(self.name.clone())
        })
    }
}
