//! Graphs that there is no room for, and those that fail.

use anyhow::Result;
use deepseek_model::Decoder;
use serde_json::json;

use crate::Session;
use crate::emulated::graphs::{BEFORE, MODELS, opened, token};

/// Where the device has no room for graphs, steps are asked for anew, and why is told.
#[test]
fn steps_that_there_is_no_graph_for_are_asked_for_anew() -> Result<()> {
    let (name, prefill) = MODELS[0];

    let session = Session::new(&json!({"schedule": "lazy", "limits": {"graphs": 0}}));
    let mut model = opened(&session, name, prefill, true)?;
    for at in BEFORE..BEFORE + 8 {
        model.step(&token(at))?;
    }
    let captures = model.backend().captures();
    assert_eq!((captures.graphs, captures.replays), (0, 0));
    let why: Vec<_> = captures.refused.keys().collect();
    assert!(
        matches!(&why[..], [why] if why.contains("ACL_ERROR_RT_NO_MODEL_RESOURCE")),
        "{why:?}"
    );
    drop(model);
    session.clean();
    Ok(())
}

/// A fault of a replay is the step's, with the vendor's code; a device that goes on is asked anew, one that is lost stays so.
#[test]
fn a_fault_in_a_replay_is_a_typed_error() -> Result<()> {
    let (name, prefill) = MODELS[0];
    for (code, is_lost) in [(107_017, false), (507_015, true)] {
        let fault = json!([{"call": "aclmdlRIExecuteAsync", "nth": 3, "code": code}]);
        let session = Session::new(&json!({"schedule": "lazy", "faults": fault}));
        let mut model = opened(&session, name, prefill, true)?;
        let steps = (BEFORE..BEFORE + 12).map(|at| model.step(&token(at)));
        let failed = steps
            .filter_map(std::result::Result::err)
            .collect::<Vec<_>>();
        let text = format!("{failed:?}");
        assert!(text.contains("aclmdlRIExecuteAsync: "), "{text}");
        assert!(text.contains(&code.to_string()), "{text}");
        if is_lost {
            assert!(failed.len() > 1, "{text}");
        } else {
            assert_eq!(failed.len(), 1, "{text}");
            assert_eq!(model.backend().captures().replays, 2);
        }
        drop(model);
        assert_eq!(session.violations(), Vec::<String>::new());
    }
    Ok(())
}
