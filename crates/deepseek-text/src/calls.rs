//! A block of calls, as the model writes it: which of it are calls, and what is none.
//!
//! What is called with what is never guessed. Tags may have blanks and their attributes any order;
//! whatever else is not as the model was taught makes the call unreadable as a whole.

use std::mem;

use crate::json::Json;
use crate::tokenizer::marker;

/// Bytes of a tag, beyond which it is none.
const TAG_BYTES_MAX: usize = 4096;

/// A block whose opener has been read.
#[derive(Debug)]
pub(crate) struct Block {
    /// What has been read since the block began, or since the last thing was given out.
    raw: String,
    place: Place,
    /// The tag that is being read.
    tag: Option<Tag>,
    /// What stands before the next tag.
    gap: String,
    name: String,
    /// Names and values, each as JSON.
    arguments: Vec<(String, String)>,
    /// Whether a call has been begun, and whether one has been read.
    begun: bool,
    has_calls: bool,
}

/// What a block has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Nothing that is certain.
    More,
    /// A whole call.
    Call { name: String, arguments: String },
    /// A call that cannot be read; whether the block is over, too.
    Bad { text: String, ends: bool },
    /// Words between calls.
    Stray(String),
    /// It is over. The text is what is left of one without calls.
    End(String),
    /// It is none: its opener was a word among others.
    NoBlock(String),
}

/// Where in a block.
#[derive(Debug)]
enum Place {
    /// Outside of calls.
    Between,
    /// In a call, outside of its parameters.
    Call,
    /// In the value of a parameter.
    Value { key: String, is_string: bool },
    /// In a call that cannot be read.
    Bad,
}

/// A tag from its mark on.
#[derive(Debug)]
struct Tag {
    closes: bool,
    text: String,
}

/// What a tag says.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    Call(String),
    Parameter { key: String, is_string: bool },
    EndCall,
    EndParameter,
    EndBlock,
}

impl Tag {
    /// Whether it may become a tag that means something.
    fn may_be(&self) -> bool {
        let names: &[&str] = if self.closes {
            &["invoke", "parameter", "tool_calls", "calls"]
        } else {
            &["invoke", "parameter"]
        };
        let text = self.text.trim_start();
        let begins = |name: &&str| name.starts_with(text) || text.starts_with(*name);
        names.iter().any(begins) && self.text.len() <= TAG_BYTES_MAX
    }
}

impl Block {
    /// A block with this opener.
    pub(crate) fn new(opener: String) -> Self {
        Self {
            raw: opener,
            place: Place::Between,
            tag: None,
            gap: String::new(),
            name: String::new(),
            arguments: Vec::new(),
            begun: false,
            has_calls: false,
        }
    }

    /// Whether a call has been read in it.
    pub(crate) fn has_calls(&self) -> bool {
        self.has_calls
    }

    /// What has been read and not been given out, at the end of all words.
    pub(crate) fn rest(&mut self) -> String {
        let closes = self.tag.as_ref().is_some_and(|tag| tag.closes);
        let is_over = closes || "</".starts_with(self.gap.trim());
        match self.place {
            // Behind a call nothing is missing but the end of the block.
            Place::Between if self.has_calls && is_over => String::new(),
            _ => mem::take(&mut self.raw),
        }
    }

    /// Takes in text up to where something is certain, and returns what follows.
    pub(crate) fn text<'a>(&mut self, text: &'a str) -> (Read, &'a str) {
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let read = self.character(character);
            if read != Read::More {
                return (read, rest.as_str());
            }
        }
        (Read::More, "")
    }

    fn character(&mut self, character: char) -> Read {
        self.raw.push(character);
        let Some(tag) = &mut self.tag else {
            self.gap.push(character);
            return match self.place {
                Place::Between if !self.begun && !self.is_blank() => self.no_block(),
                Place::Call if !self.is_blank() => self.spoil(),
                _ => Read::More,
            };
        };
        if character != '>' {
            tag.text.push(character);
            return if tag.may_be() {
                Read::More
            } else {
                self.misread()
            };
        }
        match says(tag.closes, &tag.text) {
            Some(says) => self.heed(says),
            None if tag.closes => self.misread(),
            // The bracket may stand in a name.
            None => {
                tag.text.push('>');
                Read::More
            }
        }
    }

    /// Takes in the mark of calls.
    pub(crate) fn mark(&mut self) -> Read {
        if self.tag.is_some() {
            // A tag within a tag: what came before is none.
            if let Read::NoBlock(text) = self.misread() {
                return Read::NoBlock(text + marker::DSML);
            }
        }
        let closes = self.gap.ends_with("</");
        let opens = self.gap.ends_with('<');
        let is_tag = match self.place {
            Place::Between | Place::Call => closes || opens,
            Place::Value { .. } if opens => {
                self.place = Place::Bad;
                false
            }
            Place::Value { .. } | Place::Bad => closes,
        };
        if !is_tag {
            self.raw.push_str(marker::DSML);
            self.gap.push_str(marker::DSML);
            return match self.place {
                Place::Between if !self.begun => self.no_block(),
                Place::Call => self.spoil(),
                _ => Read::More,
            };
        }
        let bracket = if closes { "</" } else { "<" };
        self.gap.truncate(self.gap.len() - bracket.len());
        self.tag = Some(Tag {
            closes,
            text: String::new(),
        });
        match self.place {
            Place::Between if !self.gap.trim().is_empty() => {
                self.raw.clear();
                self.raw.push_str(bracket);
                self.raw.push_str(marker::DSML);
                Read::Stray(mem::take(&mut self.gap))
            }
            _ => {
                self.raw.push_str(marker::DSML);
                Read::More
            }
        }
    }

    /// Goes where a tag leads.
    fn heed(&mut self, says: Says) -> Read {
        self.tag = None;
        let value = mem::take(&mut self.gap);
        match (mem::replace(&mut self.place, Place::Between), says) {
            (Place::Between, Says::Call(name)) => {
                self.name = name;
                self.arguments.clear();
                self.begun = true;
                self.place = Place::Call;
                Read::More
            }
            (Place::Between, Says::EndBlock) => match (self.has_calls, self.begun) {
                (true, _) => Read::End(String::new()),
                (false, true) => Read::End(mem::take(&mut self.raw)),
                (false, false) => self.no_block(),
            },
            (Place::Between, _) => {
                self.gap.clone_from(&self.raw);
                if self.begun {
                    Read::More
                } else {
                    self.no_block()
                }
            }
            (Place::Call, Says::Parameter { key, is_string }) => {
                self.place = Place::Value { key, is_string };
                Read::More
            }
            (Place::Call, Says::EndCall) => {
                self.raw.clear();
                self.has_calls = true;
                let arguments = mem::take(&mut self.arguments).into_iter();
                let arguments = arguments.map(|(key, value)| format!("{key}: {value}"));
                Read::Call {
                    name: mem::take(&mut self.name),
                    arguments: format!("{{{}}}", arguments.collect::<Vec<_>>().join(", ")),
                }
            }
            (Place::Value { key, is_string }, Says::EndParameter) => {
                let key = Json::from(&*key).to_string();
                self.arguments.push((key, json(&value, is_string)));
                self.place = Place::Call;
                Read::More
            }
            (_, says @ (Says::EndCall | Says::EndBlock)) => Read::Bad {
                text: mem::take(&mut self.raw),
                ends: says == Says::EndBlock,
            },
            _ => self.spoil(),
        }
    }

    /// A tag that is none here. It becomes a part of what stands before the next.
    fn misread(&mut self) -> Read {
        let tag = self.tag.take().map(|tag| tag.text).unwrap_or_default();
        self.gap.clone_from(&self.raw);
        match self.place {
            Place::Between if tag.trim_start().starts_with("invoke") => {
                self.begun = true;
                self.spoil()
            }
            Place::Between if self.begun => Read::More,
            Place::Between => self.no_block(),
            _ => self.spoil(),
        }
    }

    /// The call cannot be read.
    fn spoil(&mut self) -> Read {
        self.place = Place::Bad;
        Read::More
    }

    fn no_block(&mut self) -> Read {
        Read::NoBlock(mem::take(&mut self.raw))
    }

    /// Whether nothing stands between the tags.
    fn is_blank(&self) -> bool {
        "</".starts_with(self.gap.trim_start())
    }
}

/// A value as JSON: what is marked as such and is none is a string.
fn json(value: &str, is_string: bool) -> String {
    let trimmed = value.trim_matches([' ', '\t', '\n', '\r']);
    if is_string || Json::parse(trimmed).is_err() {
        Json::from(value).to_string()
    } else {
        trimmed.to_owned()
    }
}

/// What a tag says, given its text up to the bracket.
fn says(closes: bool, text: &str) -> Option<Says> {
    let text = text.trim();
    if closes {
        return match text {
            "invoke" => Some(Says::EndCall),
            "parameter" => Some(Says::EndParameter),
            "tool_calls" | "calls" => Some(Says::EndBlock),
            _ => None,
        };
    }
    if let Some(text) = text.strip_prefix("invoke") {
        let name = match attributes(text) {
            Some(attributes) => match attributes.as_slice() {
                [("name", name)] => name,
                _ => return None,
            },
            None => text
                .trim_start()
                .strip_prefix("name=\"")?
                .strip_suffix('"')?,
        };
        return (!name.is_empty()).then(|| Says::Call(name.to_owned()));
    }
    let text = text.strip_prefix("parameter")?;
    let (key, is_string) = match attributes(text) {
        Some(attributes) => match attributes.as_slice() {
            [("name", key), ("string", is)] | [("string", is), ("name", key)] => (*key, *is),
            _ => return None,
        },
        // A name may have quotes in it.
        None => {
            let text = text.trim_start().strip_prefix("name=\"")?;
            let end = |is| Some((text.strip_suffix(&format!("\" string=\"{is}\""))?, is));
            end("true").or_else(|| end("false"))?
        }
    };
    let is_string = match is_string {
        "true" => true,
        "false" => false,
        _ => return None,
    };
    let key = key.to_owned();
    Some(Says::Parameter { key, is_string })
}

/// Names and values, if there is nothing else.
fn attributes(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut attributes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let name = name.trim_end();
        let (value, tail) = tail.trim_start().strip_prefix('"')?.split_once('"')?;
        if name.is_empty() || !name.chars().all(char::is_alphabetic) {
            return None;
        }
        attributes.push((name, value));
        rest = tail.trim_start();
    }
    Some(attributes)
}
