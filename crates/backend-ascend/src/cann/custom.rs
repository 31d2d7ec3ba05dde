//! Custom operators that are called, where a package has them.

use std::ffi::CString;

pub(super) use backend_ascend_sys::abi::vllm_ascend_0_23_0::Operators;
use backend_ascend_sys::{Ascend, CustomOperators, VLLM_ASCEND_0_23_0};

use crate::chip::Family;

/// The operators of vllm-ascend 0.23.0 that a family of chips has kernels of.
///
/// # Errors
/// Why there are none.
pub(super) fn operators(ascend: &Ascend, family: Family) -> Result<&Operators, String> {
    let folder = match family {
        Family::A2 => "ascend910b",
        Family::A3 => "ascend910_93",
        Family::A5 => return Err("it has no kernels for this chip".to_owned()),
    };
    let mut packages = ascend.custom.iter();
    let found = packages.find_map(|package| match &package.operators {
        CustomOperators::VllmAscend0_23_0(operators) => Some((package, &**operators)),
        _ => None,
    });
    let found = found.filter(|_| is_played(ascend));
    let (package, operators) = found.ok_or_else(|| "not installed".to_owned())?;
    if package.has_kernels(folder) {
        return Ok(operators);
    }
    Err(format!(
        "{} has no kernels for {folder}",
        package.path.display()
    ))
}

/// Whether the provider is there where an emulator stands in for several.
fn is_played(ascend: &Ascend) -> bool {
    let Some(emulator) = &ascend.emulator else {
        return true;
    };
    let prefix = VLLM_ASCEND_0_23_0.emulator_prefix();
    let prefix = CString::new(prefix).expect("a name without zeros");
    // SAFETY: a text with a zero at its end.
    unsafe { (emulator.ascendEmuProvides)(prefix.as_ptr()) == 0 }
}

/// Which of those that are called are missing.
pub(super) fn missing(there: &Operators) -> Vec<&'static str> {
    let all = [
        ("HcPre", there.HcPre.is_none()),
        ("HcPost", there.HcPost.is_none()),
        ("MoeGatingTopKHash", there.MoeGatingTopKHash.is_none()),
    ];
    let lacks = all.into_iter().filter(|(_, lacks)| *lacks);
    lacks.map(|(name, _)| name).collect()
}
