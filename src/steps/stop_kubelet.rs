//! The kubelet is stopped, so that it brings back nothing that is removed.

use crate::resource::{Converge, Unit};

use super::start_kubelet::UNIT;

pub fn step() -> Converge {
    Converge::new("stop-kubelet", "Stop the kubelet").with(Unit::stopped(UNIT))
}
