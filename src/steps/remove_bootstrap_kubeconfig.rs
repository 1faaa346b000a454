//! The token has done its work once the kubelet has its certificate; the file that holds it must not stay.

use crate::resource::{Absent, Converge};

use super::write_bootstrap_kubeconfig::BOOTSTRAP_CONF;

pub fn step() -> Converge {
    Converge::new("remove-bootstrap-kubeconfig", "Remove the join token from the host")
        .with(Absent::new(BOOTSTRAP_CONF))
}
