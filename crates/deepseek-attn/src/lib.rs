//! DeepSeek-V4 attention: a window, compressed rows and the lightning indexer.
