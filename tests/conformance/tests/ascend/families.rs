//! The families of chips beside the one that everything else is run on.

use anyhow::Result;
use backend_ascend::Family;
use serde_json::json;

use crate::Session;
use crate::emulated::device;

#[test]
fn every_family_passes_the_suite() -> Result<()> {
    for (family, want) in [("a3", Family::A3), ("a5", Family::A5)] {
        let session = Session::new(&json!({"family": family, "schedule": "lazy"}));
        let device = device(&session)?;
        assert_eq!(device.chip().family(), want);
        conformance::verbs::check(&device, 6..8)?;
        drop(device);
        session.clean();
    }
    Ok(())
}
