//! What becomes of a member of an etcd cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A change of an etcd cluster's membership, made through the members that answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    pub action: MemberAction,
    /// As in its own `--name`; a member that was added and never started has none in etcd.
    pub member: String,
    /// `https://10.0.0.2:2380`, by which the member is known from the moment it is added.
    pub peer_url: String,
    /// The client URLs of members to ask, as `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberAction {
    /// Adds it as a learner, which gets the data and has no vote.
    Add,
    /// Gives a learner its vote, once it has caught up.
    Promote,
    Remove,
    /// Takes back its alarm that there is no room.
    ClearNoSpace,
    /// It is known by this peer URL instead of the one that it had.
    Move,
}

impl fmt::Display for MemberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, peer_url, .. } = self;
        match self.action {
            MemberAction::Add => write!(f, "add the etcd member {member} ({peer_url}) as a learner"),
            MemberAction::Promote => write!(f, "give the etcd member {member} its vote"),
            MemberAction::ClearNoSpace => write!(f, "clear the alarm NOSPACE of the etcd member {member}"),
            MemberAction::Move => write!(f, "have the etcd member {member} known by {peer_url}"),
            MemberAction::Remove if member.is_empty() => {
                write!(f, "remove the etcd member at {peer_url}, which never started")
            }
            MemberAction::Remove => write!(f, "remove the etcd member {member} ({peer_url})"),
        }
    }
}
