//! Commands of other tools: for an unknown command, the kboot command that does the same.

/// Commands of kubeadm, k0sctl, Kubespray, RKE2, Talos, kOps, Helm and Terraform, and what to use instead. When kboot gets such a
/// command, remove its words from this list.
const WORDS: &[(&[&str], &str)] = &[
    (
        &["upgrade", "update", "set-version"],
        "kboot does not upgrade a running cluster yet; `kubeadm upgrade` works on clusters that kboot created",
    ),
    (
        &["status", "health", "doctor", "get", "info", "describe", "list", "ls"],
        "`kboot plan` shows what differs from the inventory, and `kboot kubeconfig` fetches what `kubectl get nodes` needs",
    ),
    (
        &["destroy", "delete", "down", "remove", "rm", "uninstall", "teardown", "cleanup", "clean", "purge"],
        "`kboot reset` takes hosts out of the cluster and restores them",
    ),
    (
        &["create", "install", "deploy", "bootstrap", "provision", "setup", "start", "sync", "converge"],
        "`kboot up` makes a cluster of the hosts in an inventory, and `kboot init` makes this machine a control plane",
    ),
    (&["diff", "check", "drift", "preflight", "preview"], "`kboot plan` shows what `kboot up` would change"),
    (
        &["images", "image", "bundle"],
        "`kboot config images list` lists a cluster's images, and `kboot lock` records them with their digests",
    ),
    (
        &["certs", "cert", "certificates", "renew", "rotate"],
        "kboot does not renew certificates yet; `kubeadm certs` works on control planes that kboot created",
    ),
    (
        &["etcd", "backup", "snapshot", "restore"],
        "kboot does not back up etcd yet: use `etcdctl snapshot save`; `kboot recover` is for an etcd that has permanently lost quorum",
    ),
    (
        &["node", "nodes", "host", "cordon", "uncordon"],
        "`kboot hosts` works with the machines of an inventory, and `kubectl` with nodes",
    ),
    (&["drain", "leave", "evict"], "`kboot reset --host NAME` drains a host and takes it out of the cluster"),
    (&["add", "scale", "scale-up"], "add the host to the inventory, then `kboot up`"),
    (&["validate", "lint", "verify"], "`kboot config validate` checks an inventory"),
    (&["logs", "log", "events", "journal"], "`kboot history` lists the runs and changes on hosts"),
    (&["rollback", "revert"], "`kboot undo` reverts the last run"),
    (&["import", "attach"], "`kboot adopt` writes the inventory of a cluster that kubeadm created"),
    (&["generate", "new"], "`kboot config init ADDRESS…` prints an inventory to begin with"),
    (&["admin", "user", "login"], "`kboot kubeconfig` fetches the administrator's kubeconfig"),
    (&["trust", "ssh", "keyscan"], "`kboot hosts trust` shows and keeps the machines' host keys"),
    (&["certificate-key", "upload-certs"], "`kboot init --upload-certs` prints a certificate key"),
];

/// What to use instead of a command that kboot does not have.
pub fn instead(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn no_word_is_a_command_or_is_there_twice() {
        let words: Vec<&str> = WORDS.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        for word in words {
            assert!(Cli::command().find_subcommand(word).is_none(), "kboot has `{word}` now");
        }
    }

    #[test]
    fn what_is_named_instead_is_there() {
        for (_, instead) in WORDS {
            for named in instead.split('`').skip(1).step_by(2).filter(|named| named.starts_with("kboot ")) {
                let line = named.split(' ').chain(["--help"]);
                let error = Cli::command().try_get_matches_from(line).expect_err("help, or the version");
                assert_eq!(error.exit_code(), 0, "{named}: {error}");
            }
        }
    }
}
