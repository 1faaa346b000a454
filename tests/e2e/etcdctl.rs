//! etcdctl in the container of a control plane's etcd, with that etcd's certificates.

use serde_json::Value;

use crate::command::Done;
use crate::lab::Lab;

/// A function of the shell, as docs/recover.md has it.
pub const ETCDCTL: &str = "etcdctl() { crictl exec -i $(crictl ps -q --name '^etcd$') etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt \
                           --cert /etc/kubernetes/pki/etcd/peer.crt --key /etc/kubernetes/pki/etcd/peer.key \"$@\"; }";

/// Also on hosts of kubeadm's, which have no /etc/crictl.yaml.
#[track_caller]
pub fn etcdctl(lab: &Lab, host: &str, command: &str) -> Done {
    let runtime = "export CONTAINER_RUNTIME_ENDPOINT=unix:///run/containerd/containerd.sock";
    lab.on(host, &format!("{runtime}\n{ETCDCTL}\netcdctl {command} </dev/null")).ok()
}

/// The members as this control plane's etcd reports them, sorted by name. A member that never started has no name.
#[track_caller]
pub fn members(lab: &Lab, host: &str) -> Vec<Member> {
    let done = etcdctl(lab, host, "-w json member list");
    let list: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{done}"));
    let mut members: Vec<Member> = list["members"].as_array().expect("it has members").iter().map(Member::of).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    members
}

pub struct Member {
    pub name: String,
    pub peer_url: String,
    pub votes: bool,
}

impl Member {
    fn of(member: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { name: text(&member["name"]), peer_url: text(&member["peerURLs"][0]), votes: member["isLearner"] != true }
    }
}

/// These are the members, and all vote.
#[track_caller]
pub fn all_vote(lab: &Lab, host: &str, names: &[&str]) {
    let found: Vec<(String, bool)> = members(lab, host).into_iter().map(|member| (member.name, member.votes)).collect();
    let expected: Vec<(String, bool)> = names.iter().map(|name| (name.to_string(), true)).collect();
    assert_eq!(found, expected);
}
