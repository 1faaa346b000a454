//! What targets of the fuzzer need of the private parts of `steps`: see [`crate::fuzz`].

use super::static_pod_state::{Container, Earlier, Verdict, Wanted};

/// A static pod's manifest, and what crictl says of its container.
pub(crate) fn static_pod(text: &str) {
    let Ok(wanted) = Wanted::parse("etcd", text) else { return };
    assert!(matches!(wanted.judge(None, &mut Earlier::default()), Verdict::Waits(_)));
    if let Ok(container) = serde_json::from_str::<Container>(text) {
        let _ = wanted.judge(Some(&container), &mut Earlier::default());
    }
}
