//! Tests that can't run on a machine say so. Where they must run, that is a failure: in CI, and wherever `KBOOT_E2E_REQUIRED=1` is set.

use std::io::Write as _;

/// Whether a test that can't run here is a failure.
pub fn are_failures() -> bool {
    let is_set =
        |name: &str| std::env::var_os(name).is_some_and(|value| !["", "0", "false"].iter().any(|no| value == *no));
    is_set("CI") || is_set("KBOOT_E2E_REQUIRED")
}

/// Says why a test does not run here.
#[track_caller]
pub fn skip(why: &str) {
    assert!(!are_failures(), "this test must run here, and can't: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
