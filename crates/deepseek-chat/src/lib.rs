//! A conversation with a DeepSeek-V4 or V4.1 model.
#![doc = include_str!("../README.md")]
//!
//! # A conversation
//!
//! A conversation is a list of messages. The answer of a turn becomes a message of the next:
//!
//! ```
//! use deepseek_chat::{Error, Session};
//! use deepseek_text::{Conversation, Message};
//!
//! fn talk(session: &Session, questions: &[&str]) -> Result<Vec<String>, Error> {
//!     let mut conversation = Conversation { messages: vec![Message::system("Be brief.")] };
//!     let mut answers = Vec::new();
//!     for question in questions {
//!         conversation.messages.push(Message::user(*question));
//!         let said = session.answer(&conversation)?.wait()?;
//!         answers.push(said.answer.text.clone());
//!         conversation.messages.push(Message::assistant(said.answer));
//!     }
//!     Ok(answers)
//! }
//! ```
//!
//! # Media
//!
//! What is said is a list of parts. A part that is no text names a file or a data URL:
//!
//! ```
//! use deepseek_chat::{Error, Session, Turn};
//! use deepseek_text::Part;
//!
//! fn look(session: &Session) -> Result<Turn, Error> {
//!     session.ask(vec![
//!         Part::Image("cat.png".to_owned()),
//!         Part::Text("What is it?".to_owned()),
//!     ])
//! }
//! ```
//!
//! A model without an encoder for it refuses ([`MediaError::NoVision`], [`MediaError::NoAudio`]).
//! [`MediaItem::notes`] has what there is to be told of a file that could be read, though not as it was
//! meant.
//!
//! # Without waiting
//!
//! [`Turn`] is a stream: whoever polls it is woken when there is more. Any executor will do, or none:
//!
//! ```
//! use std::pin::Pin;
//! use std::task::{Context, Poll};
//!
//! use deepseek_chat::{Delta, Turn, TurnError};
//! use futures_core::Stream;
//!
//! /// All that is there now; `Ready` when nothing follows.
//! fn drain(turn: &mut Turn, context: &mut Context<'_>, text: &mut String) -> Poll<Result<(), TurnError>> {
//!     loop {
//!         match Pin::new(&mut *turn).poll_next(context) {
//!             Poll::Ready(Some(Ok(Delta::Text(piece)))) => text.push_str(&piece),
//!             Poll::Ready(Some(Ok(_))) => {}
//!             Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
//!             Poll::Ready(None) => return Poll::Ready(Ok(())),
//!             Poll::Pending => return Poll::Pending,
//!         }
//!     }
//! }
//! ```
//!
//! # The same by hand
//!
//! [`ModelSource::load`] is short for the steps below, between which a program may show a plan, ask for
//! another precision, hold the memory that is needed against what there is, or stop:
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use backend_host::Host;
//! use deepseek_chat::{
//!     CarriedModel, Defaults, MediaLoader, MediaOptions, ModelSource, Session, SessionOptions,
//! };
//! use deepseek_core::Level;
//! use deepseek_engine::{Engine, Limits};
//! use deepseek_model::{Budget, Extras, Model, Plan, Prefill};
//! use deepseek_text::Mode;
//!
//! // A small model that knows a small world.
//! let source = ModelSource::Carried(CarriedModel {
//!     config: deepseek_assets::CONFIG,
//!     tokenizer: deepseek_assets::TOKENIZER,
//!     weights: deepseek_assets::WEIGHTS,
//!     defaults: Defaults { mode: Mode::Chat, temperature: 0.0, level: Level::Exact },
//! });
//! let description = source.describe()?.with_drafts(0)?;
//! let config = &description.config;
//! let budget = Budget { context: 512, sequences: 1, step_tokens: 64, prefill: Prefill::Replay, ..Budget::default() };
//! let plan = Plan::new(config, source.defaults().level, budget)?;
//! let extras = Extras { compressed: source.compressed_ids(config)?, projector: None };
//! let mut progress = |_layers, _of| ControlFlow::Continue(());
//! let model = Model::load(Host::new(2), plan, &source.checkpoint()?, extras, &mut progress)?;
//!
//! let loader = MediaLoader::new(config, MediaOptions::of(config))?;
//! let options = SessionOptions::of(&description, source.defaults());
//! let engine = Engine::spawn(Box::new(model), Limits::default());
//! let session = Session::new(engine, description.tokenizer, loader, options);
//! let said = session.ask("What is 12 + 30?")?.wait()?;
//! assert_eq!(said.answer.text, "42");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod audio_source;
mod completion;
mod constraint;
mod digest;
mod error;
pub mod limits;
mod media_file;
mod media_item;
mod media_key;
mod media_loader;
mod model_source;
mod prefetch;
mod prompt;
mod session;
mod turn;

pub use address::{Address, AddressError, DataUrl};
pub use audio_source::{AudioSource, AudioSourceError};
pub use completion::Completion;
pub use constraint::AnswerConstraint;
pub use deepseek_grammar::{Error as GrammarError, Form};
pub use error::Error;
pub use media_item::{MediaItem, MediaRows, Segment};
pub use media_loader::{
    MediaError, MediaLoader, MediaOptions, Orientation, VideoAudio, brief, media_files,
};
pub use model_source::{
    CarriedModel, Defaults, Description, ModelSource, SourceError, read_config, read_tokenizer,
};
pub use prompt::{Prompt, PromptMedia};
pub use session::{LoadOptions, Session, SessionOptions};
pub use turn::{Delta, Turn, TurnError, TurnOptions};
