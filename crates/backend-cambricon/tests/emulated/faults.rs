//! Every call that a driver makes fails once: a typed error comes of it, and nothing is left or misused.

use std::collections::BTreeMap;

use backend_offload::trial::{Case, Trial};
use deepseek_core::{Error, Result};
use serde_json::{Value, json};

use crate::Session;
use crate::driver::open;

/// Functions whose failure nobody can do anything about: they give back, or tell.
const UNHEARD: [&str; 2] = ["Destroy", "GetLastError"];
/// Functions that return no code, are not the driver's, or whose answer the driver does without.
const OTHERS: [&str; 6] = [
    "neuwareEmu",
    "LibVersion",
    "ErrorStr",
    "cnInit",
    "cnDeviceGet",
    "Free",
];

/// Runs cases that make every call there is.
fn exercise(session: &Session) -> Result<()> {
    let mut trial = Trial::new(open(session)?);
    for case in Case::ALL {
        trial.run(case, 3)?;
    }
    Ok(())
}

fn session(faults: &Value) -> Session {
    Session::lazy(&json!({"faults": faults}))
}

#[test]
fn each_call_that_fails_is_an_error_that_names_it_and_nothing_is_left() -> Result<()> {
    let sound = session(&json!([]));
    exercise(&sound)?;
    let calls: BTreeMap<String, u64> =
        serde_json::from_value(sound.report()["calls"].clone()).expect("a count of each call");
    sound.clean();
    let named = |call: &&String, parts: &[&str]| parts.iter().any(|part| call.contains(part));
    let tried = calls.keys();
    let tried = tried.filter(|call| !named(call, &UNHEARD) && !named(call, &OTHERS));
    let tried: Vec<_> = tried.collect();
    assert!(tried.len() > 50, "{tried:?}");
    for call in tried {
        let code = if call.starts_with("cnrt") { 100_006 } else { 4 };
        // The last waits are those of what goes: nobody is left to hear of them.
        let unheard = if call == "cnrtQueueSync" { 3 } else { 0 };
        let count = calls[call] - unheard;
        for nth in [1, count.div_ceil(2), count] {
            let session = session(&json!([{"call": call, "nth": nth, "code": code}]));
            match exercise(&session) {
                Ok(()) => panic!("{call}, {nth} of {count}: nobody noticed"),
                Err(Error::Device { why, .. }) => assert!(why.contains(&code.to_string()), "{why}"),
                Err(error) => panic!("{call}, {nth} of {count}: {error}"),
            }
            session.clean();
        }
    }
    Ok(())
}

#[test]
fn a_failure_to_give_back_is_no_panic() -> Result<()> {
    let sound = session(&json!([]));
    exercise(&sound)?;
    let calls = sound.report()["calls"].clone();
    sound.clean();
    let calls = calls.as_object().expect("a count of each call");
    for call in calls.keys().filter(|call| call.contains("Destroy")) {
        let session = session(&json!([{"call": call, "nth": 1, "code": 4}]));
        exercise(&session)?;
        assert_eq!(session.report()["violations"], json!([]), "{call}");
    }
    Ok(())
}
