//! What the libraries say of a machine and of its chips before a device is opened.

use std::ffi::{CStr, c_char};

use backend_cambricon_sys::Neuware;
use backend_cambricon_sys::types::cnrtDeviceAttr_t;
use backend_offload::{Failure, Machine};
use deepseek_core::Result;

use super::device::checked;
use super::graph::Captures;
use super::groups::Groups;
use crate::chip::{CambriconChip, Lacks, Release};
use crate::limits::{CHIP_NAME_BYTES, CNNL_OLDEST, CNRT_OLDEST};

/// What failures are told of that are no single device's.
const NAME: &str = "mlu";

/// Asks the libraries. A machine has chips of one kind.
pub(crate) fn machine(neuware: &Neuware) -> Result<Machine<CambriconChip>> {
    asked(neuware).map_err(|failure| failure.of(NAME))
}

fn asked(neuware: &Neuware) -> Result<Machine<CambriconChip>, Failure> {
    let mut devices = 0;
    // SAFETY: a place for the number.
    let code = unsafe { (neuware.runtime.cnrtGetDeviceCount)(&raw mut devices) };
    checked(neuware, "cnrtGetDeviceCount", code)?;
    let releases = releases(neuware)?;
    let software = releases.each_ref().map(Release::to_string).join(", ");
    let found = (devices > 0)
        .then(|| chip(neuware, (NAME, 0)))
        .transpose()?;
    let model = found.as_ref().map(|(chip, _)| chip.model().to_owned());
    Ok(Machine {
        devices,
        model: model.unwrap_or_default(),
        chip: found.and_then(|(chip, has_bf16)| has_bf16.then_some(chip)),
        software: Some(software),
    })
}

/// What is known of the chip of a device, and whether it computes with BF16.
pub(super) fn chip(
    neuware: &Neuware,
    (name, id): (&str, i32),
) -> Result<(CambriconChip, bool), Failure> {
    let model = model(neuware, id).unwrap_or_default();
    let chip = CambriconChip::new(name, &model, &releases(neuware)?);
    let groups = Groups::of(&neuware.operators).err();
    let captures = Captures::of(&neuware.runtime).err();
    Ok((
        chip.lacking(Lacks { groups, captures }),
        has_bf16(neuware, id)?,
    ))
}

/// The vendor's name for the chip of a device, if the driver's library tells.
fn model(neuware: &Neuware, id: i32) -> Option<String> {
    let driver = neuware.driver.as_ref().ok()?;
    let (start, find, tell) = (driver.cnInit?, driver.cnDeviceGet?, driver.cnDeviceGetName?);
    // SAFETY: no flags are given.
    let started = unsafe { start(0) };
    let mut device = 0;
    // SAFETY: the place is one for a device.
    let found = unsafe { find(&raw mut device, id) };
    let mut name = [0_u8; CHIP_NAME_BYTES];
    let place = name.as_mut_ptr().cast::<c_char>();
    if started != 0 || found != 0 {
        return None;
    }
    // SAFETY: a buffer of this length, and a device that was just found.
    let told = unsafe { tell(place, CHIP_NAME_BYTES as u32, device) };
    let name = CStr::from_bytes_until_nul(&name)
        .ok()
        .filter(|_| told == 0)?;
    Some(name.to_string_lossy().into_owned())
}

/// Whether the chip of a device computes with BF16. Asked for by an attribute, because the structure of properties differs between
/// releases under one name.
fn has_bf16(neuware: &Neuware, id: i32) -> Result<bool, Failure> {
    let (mut value, attr) = (0, cnrtDeviceAttr_t::cnrtAttrBF16ComputingSupported);
    let ask = neuware.runtime.cnrtDeviceGetAttribute;
    // SAFETY: the place is one for a number.
    let code = unsafe { ask(&raw mut value, attr, id) };
    checked(neuware, "cnrtDeviceGetAttribute", code)?;
    Ok(value != 0)
}

/// The releases of the runtime and of the operators.
fn releases(neuware: &Neuware) -> Result<[Release; 2], Failure> {
    let [mut cnrt, mut cnnl] = [[0; 3]; 2];
    let [a, b, c] = &mut cnrt;
    // SAFETY: three places for numbers.
    let code = unsafe { (neuware.runtime.cnrtGetLibVersion)(a, b, c) };
    checked(neuware, "cnrtGetLibVersion", code)?;
    let [a, b, c] = &mut cnnl;
    // SAFETY: three places for numbers.
    unsafe { (neuware.operators.cnnlGetLibVersion)(a, b, c) };
    Ok([
        Release {
            library: "CNRT",
            version: cnrt,
            oldest: CNRT_OLDEST,
        },
        Release {
            library: "CNNL",
            version: cnnl,
            oldest: CNNL_OLDEST,
        },
    ])
}
