#![doc = include_str!("../README.md")]
#![cfg(unix)]
#![deny(unsafe_code)]

mod call;
mod codes;
mod config;
mod control;
mod copies;
mod devices;
mod emulator;
mod events;
mod exports;
mod failure;
mod handles;
mod memory;
mod objects;
mod streams;
mod thread;
mod work;
