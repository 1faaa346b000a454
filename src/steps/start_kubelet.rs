//! The kubelet runs, and with its present configuration.

use crate::manifest::paths;
use crate::resource::{Converge, Unit};

pub const UNIT: &str = "kubelet.service";

pub fn step() -> Converge {
    let unit =
        Unit::running(UNIT).reads(paths::KUBELET_CONFIG).reads(paths::KUBELET_FLAGS).reads(paths::KUBELET_DROPIN);
    Converge::new("start-kubelet", "Start the kubelet").with(unit)
}
