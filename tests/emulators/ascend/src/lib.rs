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
mod events;
mod executors;
mod exports;
mod failure;
mod handles;
mod layout;
mod memory;
mod objects;
mod operators;
mod planner;
mod streams;
mod thread;
mod work;
