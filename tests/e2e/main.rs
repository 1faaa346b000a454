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
mod etcdctl;
mod events;
mod external_etcd;
mod hard;
mod interop;
mod joins;
mod killed;
mod kubeadm;
mod lab;
mod lock;
mod online;
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
    online::TESTS,
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

const CUT_OFF: &str =
    "endpoint::a_local_balancer_outlives_n1_killed and endpoint::a_virtual_address_outlives_its_holder_cut_off show it";

/// What only the full suite runs, and what shows the same in the shorter one.
const FULL: &[(&str, &str)] = &[
    ("endpoint::a_local_balancer_outlives_n2_killed", "the same with n1 shows it"),
    ("endpoint::a_local_balancer_outlives_n3_killed", "the same with n1 shows it"),
    ("endpoint::a_local_balancer_outlives_n1_cut_off", CUT_OFF),
    ("endpoint::a_local_balancer_outlives_n2_cut_off", CUT_OFF),
    ("endpoint::a_local_balancer_outlives_n3_cut_off", CUT_OFF),
    ("endpoint::a_virtual_address_outlives_another_control_plane", "the same with its holder shows it"),
    (
        "endpoint::a_virtual_address_is_the_endpoint",
        "endpoint::a_cluster_moves_to_a_virtual_address_under_load shows what is there then",
    ),
    ("endpoint::and_back_again", "the move to the virtual address shows it"),
    (
        "address::a_control_plane_of_three_and_a_worker_move_under_load",
        "address::a_single_control_plane_and_a_worker_move_and_back shows it",
    ),
    (
        "control_planes::three_become_five_and_two_may_die",
        "endpoint::one_control_plane_grows_to_three_under_load and control_planes::the_first_is_replaced_without_it show it",
    ),
    (
        "control_planes::a_member_that_never_started_is_forgotten",
        "control_planes::the_first_is_replaced_without_it shows it of one that did",
    ),
    (
        "control_planes::one_becomes_three_again",
        "endpoint::one_control_plane_grows_to_three_under_load and docs/kill-matrix.md show it",
    ),
    ("etcd_role::a_dead_one_is_replaced", "control_planes::the_first_is_replaced_without_it shows it"),
    ("etcd_role::all_go", "control_planes::three_become_one and external_etcd::a_reset_leaves_it_alone show it"),
    (
        "external_etcd::by_hand_and_by_kubeadm",
        "external_etcd::two_control_planes_keep_their_state_in_it and control_planes::by_hand_and_by_kubeadm show it",
    ),
    (
        "interop::kubeadm_resets_a_node_of_kboot_s_and_joins_it",
        "oracle::a_fresh_host_joins_with_kubeadm_and_leaves_again shows it",
    ),
    ("interop::kubeadm_renews_lists_and_plans_upgrades", "interop::kubeadm_renews_what_kboot_issued shows it"),
    ("oracle::a_worker_is_reset_and_comes_back", "reset::the_same_host_comes_back shows it"),
    ("by_hand::reset_and_all_over_again", "reset::the_same_host_comes_back shows it"),
    (
        "hard::kills_at_the_worst_moments_are_survived",
        "killed::interrupted_and_killed_runs_end_in_the_same_cluster shows it",
    ),
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
