#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cluster;
mod command;
mod follower;
mod load;

pub use cluster::Cluster;
pub use command::Command;
