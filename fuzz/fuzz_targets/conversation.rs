//! Any bytes as a conversation.

#![no_main]

#[path = "../src/conversation.rs"]
mod conversation;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    conversation::read(bytes);
});
