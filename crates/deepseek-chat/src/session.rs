//! A model at work, and the ways to ask it.

use std::ops::ControlFlow;

use deepseek_core::{Kernels, Level};
use deepseek_engine::{
    Engine, Limits, PlaceError, RequestId, Sampling, SamplingOptions, SavedPlace,
};
use deepseek_model::{Budget, Extras, Model, Plan, Prefill, TokenId};
use deepseek_text::{Content, Conversation, Options, Tokenizer};

use crate::error::Error;
use crate::limits::{CONTEXT, STEP_TOKENS};
use crate::media_item::MediaItem;
use crate::media_loader::{MediaLoader, MediaOptions};
use crate::model_source::{Defaults, Description, ModelSource};
use crate::turn::{Turn, TurnError, TurnOptions};

/// A model at work: an engine with what turns conversations into requests, and events into text.
///
/// It may be asked by several threads at a time; the engine takes their requests in turn, or together
/// where the decoder has room for more than one sequence. A conversation that goes on keeps its KV cache:
/// of its next prompt only what is new is run.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    tokenizer: Tokenizer,
    loader: MediaLoader,
    options: SessionOptions,
}

/// How a session asks unless told otherwise.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// How prompts are written.
    pub prompt: Options,
    /// How answers are made.
    pub answer: TurnOptions,
}

/// How a model is loaded, beside what its source says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadOptions {
    /// Positions of a sequence, prompt and answer together. [`CONTEXT`], or what the model has, unless
    /// it is said.
    pub context: Option<usize>,
    /// Sequences at a time.
    pub sequences: usize,
    /// What is rounded; what the source is meant for, unless it is said.
    pub level: Option<Level>,
    /// How much of a prompt runs through the layers that make no rows of their own (V4.1).
    pub prefill: Prefill,
    /// Tokens that the draft head proposes at once; 0 for none.
    pub drafts: u32,
}

impl Default for LoadOptions {
    /// One sequence, rounded as its source is meant to be, prompts as the vendor's service reads them, no drafts.
    fn default() -> Self {
        Self {
            context: None,
            sequences: 1,
            level: None,
            prefill: Prefill::Replay,
            drafts: 0,
        }
    }
}

impl SessionOptions {
    /// Those of a described model: its own words, its own ends of an answer, and `defaults` for the
    /// rest.
    ///
    /// # Panics
    /// If the default temperature is none.
    #[must_use]
    pub fn of(description: &Description, defaults: Defaults) -> Self {
        let sampling = SamplingOptions {
            temperature: defaults.temperature,
            ..SamplingOptions::default()
        };
        Self {
            prompt: Options {
                mode: defaults.mode,
                edition: description.edition(),
                ..Options::default()
            },
            answer: TurnOptions {
                sampling: Sampling::new(sampling).expect("a temperature of at least 0"),
                ends: description.config.eos.clone(),
                keep: true,
                ..TurnOptions::default()
            },
        }
    }
}

impl ModelSource {
    /// Loads the model on a device, and puts it to work.
    ///
    /// Whoever wants to show progress, to hold the memory that it takes against what there is, or to
    /// ask for other things than [`LoadOptions`] has, goes the same way by hand: [`describe`](Self::describe),
    /// [`Plan::new`], [`Model::load`], [`Session::new`].
    ///
    /// # Errors
    /// Files that do not hold, a model that cannot be laid out so, a device without room.
    pub fn load<B: Kernels + 'static>(
        &self,
        device: B,
        load: LoadOptions,
    ) -> Result<Session, Error> {
        let description = self.describe()?.with_drafts(load.drafts)?;
        let config = &description.config;
        let most = config.max_positions;
        let context = load.context.unwrap_or(CONTEXT.min(most));
        let budget = Budget {
            context,
            sequences: load.sequences,
            step_tokens: STEP_TOKENS.min(context),
            prefill: load.prefill,
            ..Budget::default()
        };
        let level = load.level.unwrap_or(self.defaults().level);
        let plan = Plan::new(config, level, budget)?;
        let extras = Extras {
            compressed: self.compressed_ids(config)?,
            projector: None,
        };
        let mut go_on = |_, _| ControlFlow::Continue(());
        let model = Model::load(device, plan, &self.checkpoint()?, extras, &mut go_on)?;
        let mut options = SessionOptions::of(&description, self.defaults());
        options.answer.drafts = load.drafts;
        let loader = MediaLoader::new(config, MediaOptions::of(config))?;
        let engine = Engine::spawn(Box::new(model), Limits::default());
        Ok(Session::new(engine, description.tokenizer, loader, options))
    }
}

impl Session {
    /// Puts together what was made by hand.
    #[must_use]
    pub fn new(
        engine: Engine,
        tokenizer: Tokenizer,
        loader: MediaLoader,
        options: SessionOptions,
    ) -> Self {
        Self {
            engine,
            tokenizer,
            loader,
            options,
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What loads media.
    #[must_use]
    pub fn loader(&self) -> &MediaLoader {
        &self.loader
    }

    /// How it asks unless told otherwise.
    #[must_use]
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Asks one question.
    ///
    /// # Errors
    /// A medium that cannot be had, a prompt that cannot be written, an engine that does not take it.
    pub fn ask(&self, content: impl Into<Content>) -> Result<Turn, Error> {
        self.answer(&Conversation::ask(content))
    }

    /// Asks for the next message of a conversation, whose media are read.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and where the conversation leaves nothing to answer.
    pub fn answer(&self, conversation: &Conversation) -> Result<Turn, Error> {
        let media = MediaLoader::load_all(conversation, |part| self.loader.load(part))?;
        let SessionOptions { prompt, answer } = &self.options;
        Ok(self.turn(conversation, prompt, answer.clone(), media)?)
    }

    /// The same, for whoever has the media loaded and asks in a way of their own.
    ///
    /// # Errors
    /// Where the conversation leaves nothing to answer, an option is out of its bounds, or the engine
    /// does not take the request.
    pub fn turn(
        &self,
        conversation: &Conversation,
        prompt: &Options,
        answer: TurnOptions,
        media: Vec<MediaItem>,
    ) -> Result<Turn, TurnError> {
        let answer = TurnOptions { media, ..answer };
        Turn::start(&self.engine, &self.tokenizer, conversation, prompt, answer)
    }

    /// The KV cache that an answer has left ([`Completion::request`](crate::Completion::request)), to go on
    /// from in another session, of this process or of a later one.
    ///
    /// # Errors
    /// [`PlaceError::Gone`] where another request has its place by now.
    pub fn save(&self, request: RequestId) -> Result<SavedPlace, PlaceError> {
        self.engine.save(request)
    }

    /// Takes in a KV cache: of a conversation that begins as the one that it was saved of, what is new is
    /// run. That it is of the same model, laid out and computed alike, its
    /// [`Binding`](deepseek_model::saved::Binding) shows.
    ///
    /// # Errors
    /// What does not fit the model.
    pub fn load(&self, saved: SavedPlace) -> Result<(), PlaceError> {
        self.engine.load(saved)
    }

    /// Goes on with a text as it stands, without the layout of a conversation.
    ///
    /// # Errors
    /// A text that cannot be encoded, or an engine that does not take it.
    pub fn go_on(&self, text: &str) -> Result<Turn, TurnError> {
        self.complete(self.tokenizer.encode(text)?)
    }

    /// The same with a text that somebody wrote out as a prompt: markers spelled in it are control tokens.
    ///
    /// # Errors
    /// As [`go_on`](Self::go_on).
    pub fn go_on_with_markers(&self, text: &str) -> Result<Turn, TurnError> {
        self.complete(self.tokenizer.encode_trusted(text)?)
    }

    /// Goes on with ids, behind the marker with which every prompt begins.
    fn complete(&self, mut ids: Vec<TokenId>) -> Result<Turn, TurnError> {
        let bos = self.tokenizer.bos();
        if ids.first() != Some(&bos) {
            ids.insert(0, bos);
        }
        let answer = self.options.answer.clone();
        Turn::complete(&self.engine, &self.tokenizer, ids, answer)
    }
}
