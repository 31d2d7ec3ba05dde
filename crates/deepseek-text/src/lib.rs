//! Tokens and the DeepSeek-V4 prompt encoding, both ways.
