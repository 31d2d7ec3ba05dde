//! `deepseek devices`: what this build can compute on, on this machine.

use std::io::Write;

use serde_json::{Value, json};

use crate::args::Devices;
use crate::device;
use crate::fault::Result;
use crate::screen;

pub(crate) fn run(args: &Devices) -> Result<()> {
    let devices = device::list();
    let mut out = screen::stdout();
    if args.json {
        let devices: Vec<Value> = devices
            .iter()
            .map(|device| {
                json!({
                    "name": device.name,
                    "is_there": device.is_there,
                    "is_emulated": device.is_emulated,
                    "about": device.about,
                })
            })
            .collect();
        writeln!(out, "{:#}", Value::from(devices))?;
        return Ok(());
    }
    for device in devices {
        let mark = if device.is_there { ' ' } else { '-' };
        writeln!(out, "{mark} {:<11} {}", device.name, device.about)?;
    }
    Ok(())
}
