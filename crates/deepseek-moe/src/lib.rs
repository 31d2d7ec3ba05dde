//! DeepSeek-V4 mixture of experts: routing and experts.
