//! Requests, scheduling and sampling over a DeepSeek-V4 decoder.
