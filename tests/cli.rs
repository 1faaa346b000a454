//! The binary as people and scripts meet it: exit code and both streams, whole.

#[path = "cli/bad_flags.rs"]
mod bad_flags;
#[path = "cli/bad_inventory.rs"]
mod bad_inventory;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/earlier.rs"]
mod earlier;
#[path = "cli/etcd_files.rs"]
mod etcd_files;
#[path = "cli/etcd_hosts.rs"]
mod etcd_hosts;
#[path = "cli/generated.rs"]
mod generated;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/kubeadm.rs"]
mod kubeadm;
#[path = "cli/liar.rs"]
mod liar;
#[path = "cli/lock.rs"]
mod lock;
#[path = "cli/rooted.rs"]
mod rooted;
#[path = "cli/sandbox.rs"]
mod sandbox;
#[path = "support/skips.rs"]
mod skips;
#[path = "cli/sources.rs"]
mod sources;
#[path = "cli/ssh.rs"]
mod ssh;
#[path = "cli/sshd.rs"]
mod sshd;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/terminal.rs"]
mod terminal;
