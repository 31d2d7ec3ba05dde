//! A completion to typed pieces, as it comes.
//!
//! Ids and text become the same three kinds of units: text, the end of reasoning, and the mark of
//! tool calls. From ids, the latter two are the single control tokens alone; from text, their
//! spelling. What the units mean is decided in one place, `Words`; blocks of calls in `calls.rs`.

use std::mem;

use crate::calls::{Block, Read};
use crate::delta::{Delta, Flaw};
use crate::detok::Utf8;
use crate::error::Result;
use crate::message::Answer;
use crate::start::{Stage, Start};
use crate::stops::Stops;
use crate::tokenizer::{Tokenizer, marker};

/// Reads a completion, id by id or in pieces of text.
///
/// Given ids, `</think>` and `｜DSML｜` count as the single control tokens alone; given text, by
/// their spelling. The opener of a tool block ends reasoning that was not closed. The
/// end-of-sentence marker ends the completion; what comes after it is passed over.
///
/// A piece that may hold the beginning of a marker, or of a stop string, is held back whole until
/// that is decided, and a call until it has ended. A call that cannot be read, or does not end, is
/// given as the text that it is.
#[derive(Debug)]
pub struct Reader {
    tokenizer: Option<Tokenizer>,
    utf8: Utf8,
    /// Text that may be the beginning of a marker.
    held: String,
    words: Words,
}

impl Reader {
    /// A reader of what the model writes after a prompt that ended at `start`. The answer is cut
    /// before the first of `stops`; reasoning and calls are not searched.
    pub fn new(tokenizer: &Tokenizer, start: impl Into<Start>, stops: Vec<String>) -> Self {
        Self::build(Some(tokenizer.clone()), start.into(), stops)
    }

    fn build(tokenizer: Option<Tokenizer>, start: Start, stops: Vec<String>) -> Self {
        Self {
            tokenizer,
            utf8: Utf8::default(),
            held: String::new(),
            words: Words::new(start, stops),
        }
    }

    /// What is certain after one more id; often nothing.
    ///
    /// # Errors
    /// [`Error::UnknownId`](crate::Error::UnknownId).
    pub fn push(&mut self, id: u32) -> Result<Vec<Delta>> {
        let Some(tokenizer) = self.tokenizer.clone() else {
            return Ok(Vec::new());
        };
        let bytes = tokenizer.bytes(id)?;
        if id == tokenizer.eos() {
            return self.finish();
        }
        // What was given as text is no part of an id.
        let text = mem::take(&mut self.held);
        self.words.text(&text);
        if tokenizer.is_added(id) {
            let part = self.utf8.finish();
            self.words.text(&part);
            let is = |text| tokenizer.marker(text).is_ok_and(|marker| marker == id);
            match () {
                () if is(marker::THINK_END) => self.words.think_end(),
                () if is(marker::DSML) => self.words.dsml(),
                () => self.words.text(&String::from_utf8_lossy(bytes)),
            }
        } else {
            let text = self.utf8.push(bytes);
            self.words.text(&text);
        }
        Ok(self.words.take())
    }

    /// What is certain after more text, cut anywhere, within a character too.
    ///
    /// # Errors
    /// None: text is always read.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Result<Vec<Delta>> {
        let text = self.utf8.push(bytes);
        self.held.push_str(&text);
        while let Some((at, found)) = first_marker(&self.held) {
            let tail = self.held.split_off(at + found.len());
            let mut before = mem::replace(&mut self.held, tail);
            before.truncate(at);
            self.words.text(&before);
            match found {
                marker::THINK_END => self.words.think_end(),
                marker::DSML => self.words.dsml(),
                _ => {
                    self.held.clear();
                    return self.finish();
                }
            }
        }
        let keep = MARKERS
            .into_iter()
            .map(|marker| overlap(&self.held, marker));
        let keep = keep.max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        let certain = mem::replace(&mut self.held, rest);
        self.words.text(&certain);
        Ok(self.words.take())
    }

    /// The rest of the completion, with [`Delta::Finished`] at its end; nothing the second time.
    /// To be called when the model has stopped for another reason than its end-of-sentence.
    ///
    /// # Errors
    /// None: what is there is always read.
    pub fn finish(&mut self) -> Result<Vec<Delta>> {
        let rest = mem::take(&mut self.held) + &self.utf8.finish();
        self.words.text(&rest);
        self.words.finish();
        Ok(self.words.take())
    }

    /// Whether [`Delta::Finished`] has been given.
    pub fn is_finished(&self) -> bool {
        self.words.finished
    }
}

/// Reads a whole completion, with its markers spelled out.
///
/// # Errors
/// None: text is always read.
pub fn parse(completion: &str, start: impl Into<Start>) -> Result<Answer> {
    let mut reader = Reader::build(None, start.into(), Vec::new());
    let mut answer = Answer::default();
    for delta in reader
        .push_bytes(completion.as_bytes())?
        .iter()
        .chain(&reader.finish()?)
    {
        answer.push(delta);
    }
    Ok(answer)
}

/// The markers that text may spell.
const MARKERS: [&str; 3] = [marker::THINK_END, marker::DSML, marker::EOS];

fn first_marker(text: &str) -> Option<(usize, &'static str)> {
    let found = MARKERS
        .into_iter()
        .filter_map(|marker| Some((text.find(marker)?, marker)));
    found.min()
}

/// Bytes at the end of `text` with which `marker` begins.
fn overlap(text: &str, marker: &str) -> usize {
    let begins = |len: &usize| {
        marker
            .get(..*len)
            .is_some_and(|start| text.ends_with(start))
    };
    (0..marker.len()).rev().find(begins).unwrap_or(0)
}

/// What units mean, by what came before them.
#[derive(Debug)]
struct Words {
    place: Place,
    /// The block of calls that is being read.
    block: Option<Block>,
    /// Whether line breaks mean nothing here: no other word has come yet.
    fresh: bool,
    /// Whether blocks of calls are read.
    calls: bool,
    /// What may belong to the marker that follows: line breaks, and the beginning of an opener.
    held: String,
    /// Where in `held` the mark of an opener ends, if there is one.
    opener: Option<usize>,
    stops: Stops,
    called: usize,
    /// Whether words after the calls were passed over.
    trails: bool,
    ready: Vec<Delta>,
    finished: bool,
}

/// Where the words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Reasoning,
    Answer,
    /// Behind a block with calls.
    After,
}

impl Words {
    fn new(start: Start, stops: Vec<String>) -> Self {
        Self {
            place: match start.stage {
                Stage::Reasoning | Stage::OpenReasoning => Place::Reasoning,
                Stage::Answer | Stage::Continuation | Stage::Calls => Place::Answer,
            },
            block: (start.stage == Stage::Calls).then(|| Block::new(String::new())),
            fresh: matches!(start.stage, Stage::Reasoning | Stage::Answer),
            calls: start.calls,
            held: String::new(),
            opener: None,
            stops: Stops::new(stops),
            called: 0,
            trails: false,
            ready: Vec::new(),
            finished: false,
        }
    }

    /// What has become certain.
    fn take(&mut self) -> Vec<Delta> {
        mem::take(&mut self.ready)
    }

    /// The end of reasoning. Elsewhere it means nothing, but within a call it is a word.
    fn think_end(&mut self) {
        if self.finished {
            return;
        }
        if self.block.is_some() {
            return self.text(marker::THINK_END);
        }
        self.fresh = self.place == Place::Reasoning;
        if self.place == Place::Reasoning {
            self.opener = None;
            let held = mem::take(&mut self.held);
            self.say(held.trim_end_matches('\n'));
            self.place = Place::Answer;
        }
    }

    /// The mark of calls.
    fn dsml(&mut self) {
        if self.finished {
            return;
        }
        if let Some(block) = &mut self.block {
            let read = block.mark();
            self.heed(read);
        } else if self.calls && self.opener.is_none() && self.held.ends_with('<') {
            self.held.push_str(marker::DSML);
            self.opener = Some(self.held.len());
        } else {
            self.text(marker::DSML);
        }
    }

    fn text(&mut self, text: &str) {
        let mut rest = text;
        // A block gives back what is no part of it.
        while !rest.is_empty() && !self.finished {
            rest = if let Some(block) = &mut self.block {
                let (read, rest) = block.text(rest);
                self.heed(read);
                rest
            } else if let Some(from) = self.opener {
                self.go_on_opening(from, rest)
            } else {
                self.hold(rest);
                ""
            };
        }
    }

    /// Takes in words, and gives out those that can be no part of a marker.
    fn hold(&mut self, mut text: &str) {
        if self.fresh {
            text = text.trim_start_matches('\n');
            self.fresh = text.is_empty();
        }
        self.held.push_str(text);
        let mut certain = self.held.as_str();
        if self.calls {
            certain = certain.strip_suffix('<').unwrap_or(certain);
        }
        if self.calls || self.place == Place::Reasoning {
            certain = certain.trim_end_matches('\n');
        }
        let rest = self.held.split_off(certain.len());
        let certain = mem::replace(&mut self.held, rest);
        self.say(&certain);
    }

    /// Takes in a character of what may be the rest of an opener, whose mark ends at `from`, and
    /// returns what follows.
    fn go_on_opening<'a>(&mut self, from: usize, text: &'a str) -> &'a str {
        let mut characters = text.chars();
        self.held.extend(characters.next());
        match opens(self.held.get(from..).unwrap_or_default()) {
            Opens::Yes => {
                self.opener = None;
                self.block = Some(Block::new(mem::take(&mut self.held)));
            }
            Opens::Perhaps => {}
            Opens::No => {
                self.opener = None;
                self.hold("");
            }
        }
        characters.as_str()
    }

    /// Does what a block has come to.
    fn heed(&mut self, read: Read) {
        let has_calls = self.block.as_ref().is_some_and(Block::has_calls);
        let mut ends = false;
        match read {
            Read::More => {}
            Read::Call { name, arguments } => {
                self.end_text();
                let index = self.called;
                self.called += 1;
                self.ready.push(Delta::Call {
                    index,
                    name,
                    arguments,
                });
            }
            Read::Bad { text, ends: over } => {
                self.say_raw(&text, has_calls);
                self.ready.push(Delta::Flaw(Flaw::BadCall));
                ends = over;
            }
            Read::Stray(text) => self.say_raw(&text, has_calls),
            Read::End(text) => {
                self.say_raw(&text, has_calls);
                ends = true;
            }
            // The opener was a word among others.
            Read::NoBlock(text) => {
                self.block = None;
                self.hold(&text);
            }
        }
        if ends {
            self.block = None;
            if has_calls {
                self.place = Place::After;
            }
        }
    }

    /// Gives out what is no call, and stands where it stands.
    fn say_raw(&mut self, text: &str, has_calls: bool) {
        match self.place {
            Place::Reasoning if !has_calls => self.think(text),
            Place::Reasoning | Place::Answer | Place::After => self.answer(text),
        }
    }

    /// Gives out words where they stand.
    fn say(&mut self, text: &str) {
        match self.place {
            Place::Reasoning => self.think(text),
            Place::Answer => self.answer(text),
            Place::After => {
                if !self.trails && !text.trim().is_empty() {
                    self.trails = true;
                    self.ready.push(Delta::Flaw(Flaw::Trailing));
                }
            }
        }
    }

    fn think(&mut self, text: &str) {
        match self.ready.last_mut() {
            _ if text.is_empty() => {}
            Some(Delta::Thinking(last)) => last.push_str(text),
            _ => self.ready.push(Delta::Thinking(text.to_owned())),
        }
    }

    /// Gives out words of the answer that hold no stop string.
    fn answer(&mut self, text: &str) {
        if self.finished {
            return;
        }
        let (certain, met) = self.stops.push(text);
        let stop = met.map(str::to_owned);
        self.push_text(certain);
        if stop.is_some() {
            self.ready.push(Delta::Finished { stop });
            self.finished = true;
        }
    }

    fn push_text(&mut self, text: String) {
        match self.ready.last_mut() {
            _ if text.is_empty() => {}
            Some(Delta::Text(last)) => last.push_str(&text),
            _ => self.ready.push(Delta::Text(text)),
        }
    }

    /// Gives out what might have become a stop string.
    fn end_text(&mut self) {
        let rest = self.stops.finish();
        self.push_text(rest);
    }

    fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.opener = None;
        let held = mem::take(&mut self.held);
        self.say(&held);
        let mut flaw = (self.place == Place::Reasoning).then_some(Flaw::OpenReasoning);
        if let Some(mut block) = self.block.take() {
            let text = block.rest();
            self.say_raw(&text, block.has_calls());
            flaw = (!text.trim().is_empty()).then_some(Flaw::HalfCall);
        }
        self.end_text();
        if !self.finished {
            self.ready.extend(flaw.map(Delta::Flaw));
            self.ready.push(Delta::Finished { stop: None });
            self.finished = true;
        }
    }
}

/// Whether an opener goes on so.
enum Opens {
    Yes,
    Perhaps,
    No,
}

/// `text` is what follows the mark of an opener: `tool_calls>`, or as V4.1 writes it ` calls>`.
fn opens(text: &str) -> Opens {
    let text = text.trim_start();
    let names = ["tool_calls", "calls"];
    if names.iter().any(|name| name.starts_with(text)) {
        return Opens::Perhaps;
    }
    match names
        .iter()
        .find_map(|name| text.strip_prefix(name))
        .map(str::trim_start)
    {
        Some(">") => Opens::Yes,
        Some("") => Opens::Perhaps,
        _ => Opens::No,
    }
}
