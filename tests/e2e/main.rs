//! The product on real hosts with the real Kubernetes: what a person does, from bare machines to a cluster and back.
//!
//! The hosts are the testbed's (tests/testbed). Tests run one after the other and share hosts where they can: booting is cheap,
//! installing a cluster is not. `cargo test --test e2e -- --ignored [NAME…]` runs them, each with those that it needs first.
//! They take the release binary that is there, or `$KBOOT_BIN`, and know it by its command line only.
//!
//! - `KBOOT_E2E_KEEP=1` leaves the lab up afterwards; `KBOOT_E2E_REUSE=1` goes on with it, and runs the named tests alone.

mod address;
mod agreement;
mod bad_input;
mod bare;
mod by_hand;
mod cluster;
mod command;
mod control_planes;
mod edits;
mod endpoint;
mod etcd;
mod etcd_role;
mod events;
mod external_etcd;
mod hard;
mod interop;
mod joins;
mod killed;
mod kubeadm;
mod lab;
mod lock;
mod oracle;
mod phases;
mod plan;
mod playbooks;
mod recover;
mod reset;
mod suite;
mod undo;
mod up;
mod upstream;
mod whole;

fn main() -> std::process::ExitCode {
    // Bare hosts first, then what a cluster is needed for, then what takes it apart.
    suite::main(&[
        bare::TESTS,
        plan::TESTS,
        bad_input::TESTS,
        lock::TESTS,
        upstream::TESTS,
        up::TESTS,
        plan::ON_CLUSTER,
        edits::TESTS,
        undo::TESTS,
        playbooks::TESTS,
        oracle::TESTS,
        interop::ON_CLUSTER,
        address::ON_CLUSTER,
        killed::TESTS,
        hard::TESTS,
        control_planes::TESTS,
        etcd::TESTS,
        recover::TESTS,
        joins::TESTS,
        by_hand::TESTS,
        phases::TESTS,
        kubeadm::TESTS,
        interop::TESTS,
        endpoint::TESTS,
        external_etcd::TESTS,
        etcd_role::TESTS,
        reset::TESTS,
    ])
}
