#![doc = include_str!("../README.md")]
#![cfg(unix)]
#![deny(unsafe_code)]

mod array;
mod call;
mod captures;
mod codes;
mod collectives;
mod config;
mod control;
mod copies;
mod devices;
mod emulator;
mod exports;
mod handles;
mod kernels;
mod launch;
mod memory;
mod objects;
mod planner;
mod queues;
mod tensor;
mod thread;
mod work;
