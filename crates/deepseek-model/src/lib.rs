//! The DeepSeek-V4 model: config, plan, blocks and drafts, ending in a decoder.
