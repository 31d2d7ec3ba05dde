//! The host, CUDA and Metal as devices of the DeepSeek-V4 engine, on candle.
