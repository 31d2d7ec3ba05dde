//! Set-up, report and faults.

use std::ffi::CStr;

use serde_json::json;

use crate::session::{Session, call};

#[test]
fn it_says_what_it_is() {
    let session = Session::bare(&json!({"family": "a3", "cann_version": "9.0.1"}));
    let runtime = &session.ascend.runtime;
    let emulator = session.ascend.emulator.as_ref().expect("an emulator");
    let read = |text| {
        // SAFETY: both are texts that stay.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    };
    assert_eq!(
        read(call!(emulator, ascendEmuVersion())),
        "ascend-emulator 1"
    );
    assert_eq!(
        read(call!(runtime, optional aclrtGetSocName())),
        "Ascend910_9392-EMU"
    );
    let mut version = [0_u8; 128];
    let package = c"runtime".as_ptr().cast_mut();
    let code = call!(runtime, optional aclsysGetVersionStr(package, version.as_mut_ptr().cast()));
    assert_eq!(code, 0);
    assert_eq!(CStr::from_bytes_until_nul(&version), Ok(c"9.0.1"));
}

#[test]
fn a_configuration_that_is_none_changes_nothing() {
    let session = Session::new(&json!({}));
    let block = session.malloc(64);
    assert_eq!(session.configure(&json!({"devices": 99})), 100_000);
    assert!(session.text().contains("99 devices"), "{}", session.text());
    assert_eq!(session.free(block), 0, "the run goes on");
}

#[test]
fn a_report_is_cut_to_its_buffer() {
    let session = Session::new(&json!({}));
    let emulator = session.ascend.emulator.as_ref().expect("an emulator");
    let mut text = [1_u8; 8];
    let bytes = call!(emulator, ascendEmuReport(text.as_mut_ptr().cast(), 4));
    assert!(bytes > 8);
    assert_eq!(text[3..], [0, 1, 1, 1, 1]);
}

#[test]
fn calls_are_counted_and_the_nth_fails_on_demand() {
    let session = Session::new(&json!({
        "faults": [
            {"call": "aclrtMalloc", "nth": 2, "code": 207_001},
            {"call": "aclCreateIntArray", "nth": 1, "code": 161_002},
        ],
    }));
    let first = session.malloc(64);
    assert_eq!(session.try_malloc(64), Err(207_001));
    assert!(session.text().contains("set to fail"), "{}", session.text());
    let third = session.malloc(64);
    let array = call!(session.ascend.tensors, aclCreateIntArray([1].as_ptr(), 1));
    assert!(array.is_null());
    assert_eq!(session.report()["calls"]["aclrtMalloc"], 3);
    session.free(first);
    session.free(third);
    session.clean();
}

#[test]
fn a_reset_begins_anew() {
    let session = Session::new(&json!({}));
    session.malloc(64);
    let emulator = session.ascend.emulator.as_ref().expect("an emulator");
    call!(emulator, ascendEmuReset());
    assert_eq!(session.try_malloc(64), Err(100_001));
    assert_eq!(session.init(), 0);
    assert_eq!(
        session.try_malloc(64),
        Err(107_002),
        "what threads remember is void"
    );
    session.clean();
}
