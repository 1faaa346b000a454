//! What a host was before kboot first changed it, and what is different now.
//!
//! [`gather`] looks at the host through a [`Probe`] alone and keeps one short text a thing: names, digests, values. It is cheap
//! enough to be taken before every first change. [`Baseline::compare`] is pure, and [`explain`] says of each difference why it is
//! still there. Nothing here changes a host, and nothing here knows what kboot does with one: a baseline is judged by steps.

mod compare;
mod explain;
pub mod filter;
mod gather;
mod path_state;

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::engine::hint::PathWord;
use crate::engine::{Failure, Hint, Probe, Result};

pub use compare::Difference;
pub use explain::{Leftover, explain};
pub use gather::{gather, pod_cgroups};
pub use path_state::{Detail, PathState};

/// Where a host keeps its own, for root only.
pub const PATH: &str = "/var/lib/kboot/baseline.json";

/// The format's version.
const VERSION: u32 = 1;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file, directory or link below /etc: its mode, owner and digest.
    File,
    /// What lies in a folder that programs keep their state in: its mode and owner.
    Entry,
    Package,
    Sysctl,
    Module,
    Mount,
    /// A network link.
    Link,
    Route,
    /// A line of a packet filter's rules.
    Rule,
    /// A port that somebody listens on.
    Socket,
    User,
    Group,
    Cgroup,
    /// A unit of systemd's that nodes pull in: whether it is active.
    Unit,
}

/// How things are, by their names.
pub type Things = BTreeMap<String, String>;

/// A host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    pub version: u32,
    /// Milliseconds since 1970.
    pub taken: u64,
    pub things: BTreeMap<Kind, Things>,
}

impl Baseline {
    /// The host's own; None where none was taken.
    pub async fn load(probe: &dyn Probe) -> Result<Option<Self>> {
        let Some(bytes) = probe.read(Utf8Path::new(PATH)).await? else { return Ok(None) };
        let baseline: Self = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!("{PATH} can't be read: {error}"))
                .hint(Hint::RemoveBaseline { path: PathWord::of(PATH) })
        })?;
        if baseline.version > VERSION {
            return Err(Failure::new(format!(
                "{PATH} is of format {}, and this kboot reads formats up to {VERSION}",
                baseline.version
            ))
            .hint(Hint::RunNewerKboot));
        }
        Ok(Some(baseline))
    }

    /// What is different now; None where it was never written down how the host was.
    pub async fn differences(probe: &dyn Probe) -> Result<Option<Vec<Difference>>> {
        let Some(before) = Self::load(probe).await? else { return Ok(None) };
        Ok(Some(before.compare(&gather(probe).await?)))
    }

    /// As it is written to disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a baseline is plain data")
    }

    /// Where a link that was at this path led.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = |kind| match self.path(kind, path)?.detail {
            Detail::Target(target) => Some(target),
            Detail::None | Detail::Digest(_) | Detail::Size(_) | Detail::Empty => None,
        };
        [Kind::Entry, Kind::File].into_iter().find_map(target)
    }

    /// How a path was, which is a [`Kind::File`] or a [`Kind::Entry`].
    pub fn path(&self, kind: Kind, path: &str) -> Option<PathState> {
        self.state(kind, path)?.parse().ok()
    }

    /// How a thing was.
    pub fn state(&self, kind: Kind, name: &str) -> Option<&str> {
        self.things.get(&kind)?.get(name).map(String::as_str)
    }

    /// Whether something was below a path.
    pub fn has_below(&self, kind: Kind, path: &Utf8Path) -> bool {
        let start = format!("{path}/");
        let found = self.things.get(&kind).and_then(|things| things.range(start.clone()..).next());
        found.is_some_and(|(name, _)| name.starts_with(&start))
    }

    pub(crate) fn insert(&mut self, kind: Kind, name: impl Into<String>, state: impl Into<String>) {
        self.things.entry(kind).or_default().insert(name.into(), state.into());
    }
}

impl Kind {
    /// A word for it, as in "the kernel module br_netfilter".
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Entry => "path",
            Kind::Package => "package",
            Kind::Sysctl => "kernel parameter",
            Kind::Module => "kernel module",
            Kind::Mount => "mount",
            Kind::Link => "network link",
            Kind::Route => "route",
            Kind::Rule => "packet filter rule",
            Kind::Socket => "listening port",
            Kind::User => "user",
            Kind::Group => "group",
            Kind::Cgroup => "control group",
            Kind::Unit => "unit",
        }
    }
}
