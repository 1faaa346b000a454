//! The product on real hosts with the real Kubernetes: what a person does, from bare machines to a cluster and back.
//!
//! The hosts are the testbed's (tests/testbed). Each test declares what its hosts are when it begins: bare ones, a cluster that others start
//! from as well, or what the test before it in its chain leaves. The runner sees to that, on several labs side by side, in any order.
//! `cargo test --test e2e -- --ignored [NAME…]` runs them, each with those that it starts from.
//! They take the release binary that is there, or `$KBOOT_BIN`, and know it by its command line only.
//!
//! - `--full` also runs what only the full suite has. A test of that is also run when its whole name is given.
//! - `--shuffle-seed N` takes the chains in another order.
//! - `KBOOT_E2E_LABS=N` sets the number of labs. Their names are `$KBOOT_LAB` (`e2e`) and a number.
//! - `KBOOT_E2E_KEEP=1` leaves the labs up afterwards; `KBOOT_E2E_REUSE=1` goes on with the first one, and runs the named tests alone.
//! - `KBOOT_E2E_REQUIRED=1`, or `CI=true`: it is a failure where the tests can't run.

mod address;
mod agreement;
mod bad_input;
mod bare;
mod by_hand;
mod chains;
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
mod report;
mod reset;
#[path = "../support/skips.rs"]
#[expect(dead_code, reason = "shared with the tests of one program, which use more of it")]
mod skips;
mod suite;
mod undo;
mod up;
mod upstream;
mod whole;

use std::process::ExitCode;

use chains::Test;
use suite::{Arguments, Choice};

/// Labs take chains in this order: the longest first, so that all labs have work until the end.
const TESTS: &[&[Test]] = &[
    endpoint::TESTS,
    up::TESTS,
    upstream::TESTS,
    control_planes::TESTS,
    recover::TESTS,
    interop::TESTS,
    external_etcd::TESTS,
    etcd_role::TESTS,
    killed::TESTS,
    by_hand::TESTS,
    joins::TESTS,
    reset::TESTS,
    kubeadm::TESTS,
    hard::TESTS,
    phases::TESTS,
    plan::TESTS,
    lock::TESTS,
    etcd::TESTS,
    bare::TESTS,
    bad_input::TESTS,
    // On the cluster that `up` makes.
    plan::ON_CLUSTER,
    edits::TESTS,
    undo::TESTS,
    playbooks::TESTS,
    oracle::TESTS,
    interop::ON_CLUSTER,
    address::ON_CLUSTER,
];

/// What only the full suite runs, and what shows the same in the shorter one.
const FULL: &[(&str, &str)] = &[
    ("endpoint::a_local_balancer_outlives_n2_killed", "the same with n1 shows it"),
    ("endpoint::a_local_balancer_outlives_n3_killed", "the same with n1 shows it"),
    ("endpoint::a_local_balancer_outlives_n2_cut_off", "the same with n1 shows it"),
    ("endpoint::a_local_balancer_outlives_n3_cut_off", "the same with n1 shows it"),
];

fn main() -> ExitCode {
    let labs = std::env::var("KBOOT_E2E_LABS").ok();
    let arguments = match Arguments::read(std::env::args().skip(1), labs.as_deref()) {
        Ok(arguments) => Arguments { is_required: skips::are_failures(), ..arguments },
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    // It lives as long as the process, also for whoever interrupts that.
    let report: &report::Report = Box::leak(Box::new(report::Report::new(Box::new(std::io::stdout()))));
    lab::down_when_interrupted(|| {
        report.say("\ninterrupted\n");
        report.spoil();
        report.end();
    });
    match suite::main(&Choice::new(TESTS, FULL, &arguments), &arguments, report) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(101),
    }
}
