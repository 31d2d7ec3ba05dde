//! The vocabulary of the DeepSeek-V4 engine: shapes, formats, weights on disk, devices and kernels.
