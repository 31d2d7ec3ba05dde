#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod backend;
pub mod collective;
pub mod error;
pub mod few;
pub mod file;
pub mod format;
pub mod group;
pub mod guard;
pub mod host;
pub mod kernels;
pub mod loader;
pub mod note;
pub mod numerics;
pub mod operands;
pub mod quant;
pub mod ranks;
pub mod reference;
pub mod rope;
pub mod weights;

pub use backend::{Backend, DeviceTensor, Lists, NO_ROW, Rotation, Unary, Use};
pub use collective::{Collective, Rendezvous};
pub use error::{Error, Result};
pub use few::Few;
pub use format::{Format, Fp4Scale, Rounding, RowFormat, ScaleFormat};
pub use group::{Group, Member};
pub use host::{Fetched, HostTensor};
pub use kernels::Kernels;
pub use loader::Loader;
pub use note::Note;
pub use numerics::{Level, Numerics};
pub use operands::Linear;
pub use ranks::{Parallel, Share, Shares, Sum};
