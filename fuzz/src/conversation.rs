//! Reads bytes as a conversation, as a client may send one, and writes the prompts of both models for it.

use std::sync::LazyLock;

use deepseek_text::{Conversation, Options, Tokenizer, encode};

/// Small tokenizers with the markers of V4 and of V4.1.
static TOKENIZERS: LazyLock<[Tokenizer; 2]> = LazyLock::new(|| {
    [Tokenizer::tiny_json(300), Tokenizer::tiny_v41_json(340)].map(|json| {
        let json = json.expect("bytes and markers fit");
        Tokenizer::parse(json.as_bytes()).expect("a tokenizer")
    })
});

/// Whether the bytes were a conversation that leaves something to answer.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let conversation = Conversation::parse(text).and_then(|conversation| {
        conversation.check()?;
        Ok(conversation)
    });
    match conversation {
        Ok(conversation) => {
            for tokenizer in TOKENIZERS.iter() {
                match encode(tokenizer, &conversation, &Options::default()) {
                    Ok(encoded) => {
                        // V4 names media in words, where V4.1 has places for them.
                        let places: Vec<usize> =
                            encoded.media.iter().map(|place| place.at).collect();
                        assert!(places.len() <= conversation.media().count());
                        assert!(places.is_sorted() && places.last() < Some(&encoded.ids.len()));
                    }
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
