//! To come.

use crate::suite::Test;

pub const TESTS: &[Test] = &[];
