//! Changes as data: what a plan lists, the journal records and the host carries out.

mod id;
mod text;

use std::fmt;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize, Serializer};

pub use id::ChangeId;

use super::digest::shown;
use super::mask::{masked, masked_like};
use super::member::MemberChange;
use super::object::redact_object;
use crate::inventory::Taint;
use crate::pki::CertificateRequest;

/// A change that a plan proposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposed {
    #[serde(flatten, serialize_with = "Change::with_id")]
    pub change: Change,
    /// Why the host differs; None where the change only follows from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// Why a host differs from what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// kboot has not made this yet.
    New,
    /// Something else is wanted than what was applied last.
    Inventory,
    /// What is wanted was applied, and is not so any more.
    Drift,
    /// Something else is wanted, and the host is not as it was left either.
    Both,
}

impl From<Change> for Proposed {
    fn from(change: Change) -> Self {
        Self { change, cause: None }
    }
}

/// One change of one host. Carried out by [`super::Host::apply`]; each is idempotent: doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Makes or replaces a file, atomically, with its parent directories.
    WriteFile {
        path: Utf8PathBuf,
        mode: FileMode,
        before: Option<Content>,
        after: Content,
    },
    /// Removes a file or a whole directory.
    Remove {
        path: Utf8PathBuf,
    },
    /// Makes a directory with its parents.
    MakeDirectory {
        path: Utf8PathBuf,
        mode: FileMode,
    },
    /// Removes a directory if there is nothing in it.
    RemoveEmptyDirectory {
        path: Utf8PathBuf,
    },
    /// Makes a symbolic link, or lets it lead elsewhere, atomically.
    MakeLink {
        path: Utf8PathBuf,
        target: Utf8PathBuf,
    },
    SetMode {
        path: Utf8PathBuf,
        mode: FileMode,
    },
    SetOwner {
        path: Utf8PathBuf,
        uid: u32,
        gid: u32,
    },
    /// Reads the package lists of one source file anew, or of all.
    RefreshPackages {
        source: Option<Utf8PathBuf>,
    },
    InstallPackages {
        packages: Vec<PackageChange>,
        /// What a lock file says of these packages and of what comes along with them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock: Option<PackageLock>,
    },
    RemovePackages {
        packages: Vec<String>,
    },
    /// Keeps packages at the version they have (`apt-mark hold`), or no longer.
    HoldPackages {
        packages: Vec<String>,
        hold: bool,
    },
    /// Mends an interrupted dpkg run (`dpkg --configure -a`).
    MendPackages {
        why: String,
    },
    SetUnit(UnitChange),
    LoadModule {
        module: String,
    },
    UnloadModule {
        module: String,
    },
    SetSysctl {
        key: String,
        before: String,
        after: String,
    },
    SwapOff {
        device: String,
    },
    SwapOn {
        device: String,
    },
    /// Makes a key and a certificate for it, signed by the authority at `issuer` or by itself.
    IssueCertificate {
        certificate: Utf8PathBuf,
        key: Utf8PathBuf,
        issuer: Option<(Utf8PathBuf, Utf8PathBuf)>,
        request: CertificateRequest,
    },
    /// Makes a key pair without a certificate.
    MakeKeyPair {
        private: Utf8PathBuf,
        public: Utf8PathBuf,
        algorithm: crate::inventory::EncryptionAlgorithm,
    },
    /// Makes a kubeconfig whose client certificate is made with it.
    WriteKubeconfig {
        path: Utf8PathBuf,
        cluster: String,
        server: String,
        authority: (Utf8PathBuf, Utf8PathBuf),
        request: CertificateRequest,
    },
    PullImages {
        images: Vec<String>,
    },
    RemoveImages {
        images: Vec<String>,
    },
    /// Applies an object of the cluster; `before` is None where it does not exist yet.
    ApplyObject {
        object: serde_json::Value,
        before: Option<serde_json::Value>,
    },
    DeleteObject {
        api_version: String,
        kind: String,
        namespace: Option<String>,
        name: String,
    },
    MarkNode(MarkNode),
    /// Removes Kubernetes' and the pod network's rules and chains from a packet filter, `iptables` or `ip6tables`.
    RemoveFilterRules {
        program: String,
        /// How many rules and chains go.
        count: usize,
        /// What does it, a line each, as `nat -D PREROUTING -j KUBE-SERVICES`, `nat -F KUBE-SERVICES`, `nat -X KUBE-SERVICES`.
        #[serde(default)]
        deletions: Vec<String>,
    },
    /// Removes a table of nftables with all that is in it.
    RemoveFilterTable {
        /// As `ip`, `ip6` or `inet`.
        family: String,
        table: String,
    },
    /// Ends the processes of a control group and of those below it, and removes the groups.
    RemoveControlGroup {
        path: Utf8PathBuf,
    },
    /// Lets no more pods onto a node and asks these, as `namespace/name`, to leave it: their disruption budgets count.
    DrainNode {
        node: String,
        pods: Vec<String>,
        /// How long they may take.
        seconds: u64,
    },
    /// Changes who belongs to an etcd cluster.
    SetMember(MemberChange),
    /// Downloads a package repository's public keys: those with one of these fingerprints, and no others.
    FetchKey {
        url: String,
        path: Utf8PathBuf,
        fingerprints: Vec<String>,
    },
    /// Runs a command; `undo` is the one that takes it back, if there is one.
    Run {
        argv: Vec<String>,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<Vec<String>>,
    },
}

/// What a file holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    Text(String),
    /// Base64 of bytes that are not text.
    Bytes(String),
    /// Text that no plan, log or journal may show. It travels to the host that needs it and nowhere else.
    Secret(String),
    /// Something secret of which only the digest is known here.
    Digest(String),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) => f.debug_tuple("Text").field(text).finish(),
            Content::Bytes(_) => f.write_str("Bytes(…)"),
            Content::Secret(_) => f.write_str("Secret(<redacted>)"),
            Content::Digest(digest) => f.debug_tuple("Digest").field(digest).finish(),
        }
    }
}

/// A file's permissions, as `0o644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileMode(pub u32);

impl FileMode {
    /// For what everybody may read.
    pub const PUBLIC: Self = Self(0o644);
    /// For what only root may read.
    pub const PRIVATE: Self = Self(0o600);
    pub const DIRECTORY: Self = Self(0o755);
    pub const PRIVATE_DIRECTORY: Self = Self(0o700);
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    pub name: String,
    /// The version that is there now.
    pub from: Option<String>,
    /// A version or a pattern of apt's (`1.37.2-*`); None for the newest.
    pub to: Option<String>,
    /// The version that apt would take by the lists that the host has now; None where they don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Folders that are there once it is installed, as far as what is planned after it depends on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<Utf8PathBuf>,
}

impl PackageChange {
    /// The version that it will have, as exactly as it is known: a version, a pattern, or nothing.
    pub fn version(&self) -> Option<&str> {
        self.candidate.as_deref().or(self.to.as_deref())
    }
}

/// Packages that are taken at these versions and with these digests only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageLock {
    pub pins: Vec<PackagePin>,
    /// Whether no other package may come along.
    pub is_complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagePin {
    pub name: String,
    pub version: String,
    /// The .deb's, in hexadecimal.
    pub sha256: String,
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "" => write!(f, "{}:{}", self.key, self.effect),
            value => write!(f, "{}={value}:{}", self.key, self.effect),
        }
    }
}

/// What becomes of a systemd unit; None leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    pub unit: String,
    pub enable: Option<bool>,
    pub start: Option<bool>,
    /// Why it must be restarted, if it must.
    pub restart: Option<String>,
    /// Whether it takes its files up while it runs, and need not end for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reloads: bool,
}

/// What becomes of a node's labels and taints; those that are not named stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkNode {
    pub node: String,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
    /// The keys of labels that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlabel: Vec<String>,
    /// Taints that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untaint: Vec<Taint>,
}

impl MarkNode {
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.taints.is_empty() && self.unlabel.is_empty() && self.untaint.is_empty()
    }
}

impl Change {
    /// A line of shell, for what takes more than one program.
    pub fn shell(why: impl Into<String>, line: impl Into<String>) -> Self {
        Self::Run { argv: ["sh".into(), "-c".into(), line.into()].into(), why: why.into(), undo: None }
    }

    /// The cluster forgets a node.
    pub fn delete_node(name: &str) -> Self {
        Self::DeleteObject { api_version: "v1".into(), kind: "Node".into(), namespace: None, name: name.into() }
    }

    /// Serialises the change with its id, for those who read events.
    pub(super) fn with_id<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Identified<'a> {
            id: ChangeId,
            #[serde(flatten)]
            change: &'a Change,
        }
        Identified { id: self.id(), change: self }.serialize(serializer)
    }

    /// Whether this change and those of its kind beside it may be made at the same time.
    pub(super) fn may_overlap(&self) -> bool {
        matches!(self, Change::ApplyObject { object, .. } if object["kind"] != "Namespace")
    }

    /// The same change without anything secret: what may be shown, stored or sent on.
    pub fn redacted(&self) -> Change {
        match self {
            Change::WriteFile { path, mode, before, after } => Change::WriteFile {
                path: path.clone(),
                mode: *mode,
                before: before.as_ref().map(|content| match (content, after) {
                    // What is secret now was secret before.
                    (_, Content::Secret(_) | Content::Digest(_)) => content.clone().into_secret().redacted(),
                    (Content::Text(text), Content::Text(_) | Content::Bytes(_)) => {
                        Content::Text(masked(text).into_owned())
                    }
                    (Content::Secret(_) | Content::Bytes(_) | Content::Digest(_), _) => content.redacted(),
                }),
                after: match (before, after) {
                    // An edit leaves somebody's passwords where they were.
                    (Some(Content::Text(before)), Content::Text(after)) => Content::Text(masked_like(before, after)),
                    (_, after) => after.redacted(),
                },
            },
            Change::ApplyObject { object, before } => {
                Change::ApplyObject { object: redact_object(object), before: before.as_ref().map(redact_object) }
            }
            other => other.clone(),
        }
    }
}

impl Content {
    pub fn redacted(&self) -> Content {
        match self {
            Content::Secret(text) => Content::Digest(shown(text.as_bytes())),
            other => other.clone(),
        }
    }

    fn into_secret(self) -> Content {
        match self {
            Content::Text(text) => Content::Secret(text),
            other => other,
        }
    }

    /// The bytes that the file gets; None where only a digest is known.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        match self {
            Content::Text(text) | Content::Secret(text) => Some(text.clone().into_bytes()),
            Content::Bytes(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).ok(),
            Content::Digest(_) => None,
        }
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Content {
        use base64::Engine as _;
        match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Bytes(base64::engine::general_purpose::STANDARD.encode(error.as_bytes())),
        }
    }
}
