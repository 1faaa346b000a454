//! Why a host can't be reached, or must not be: each cause with what mends it.

use camino::Utf8PathBuf;

use crate::engine::Failure;
use crate::engine::hint::INVENTORY;
use crate::fleet::known_hosts;

/// Why there is no connection. The text is the cause; [`ConnectError::hint`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the name {host} does not resolve")]
    Name { host: String },
    #[error("{address} refused the connection")]
    Refused { address: String },
    #[error("no route to {address}")]
    NoRoute { address: String },
    #[error("{address} did not answer within {seconds} s")]
    TimedOut { address: String, seconds: u64 },
    #[error("can't connect to {address}: {why}")]
    Unreachable { address: String, why: String },
    #[error("{address} closed the connection: {why}")]
    Closed { address: String, why: String },
    #[error("{address} and kboot share no SSH {kind} algorithm (it offers {offered})")]
    NoCommonAlgorithm { address: String, kind: String, offered: String },

    #[error("the host key of {address} is unknown: {algorithm} {fingerprint} is not in {file}")]
    HostKeyUnknown { address: String, algorithm: String, fingerprint: String, file: Utf8PathBuf },
    #[error(transparent)]
    HostKeyChanged(Box<ChangedKey>),
    #[error(
        "the host key of {address} is not the one that it must be: expected {expected}, it shows {algorithm} {offered}"
    )]
    HostKeyNotPinned { address: String, algorithm: String, offered: String, expected: String },
    #[error("the hostKey of {host} in the inventory can't be read: {why}")]
    BadPin { host: String, why: String },
    #[error("the host key of {address}, {fingerprint}, is revoked by {file}:{line}")]
    HostKeyRevoked { address: String, fingerprint: String, file: Utf8PathBuf, line: usize },
    #[error(
        "{file}:{line} trusts {address} through a certificate authority, which kboot does not support (the host shows {algorithm} {fingerprint})"
    )]
    HostKeyAuthority { address: String, algorithm: String, fingerprint: String, file: Utf8PathBuf, line: usize },
    #[error("only {algorithm} is on record for {address} ({file}:{line}), which kboot does not verify")]
    HostKeyUnsupported { address: String, algorithm: String, file: Utf8PathBuf, line: usize },
    #[error(transparent)]
    KnownHosts(#[from] known_hosts::Error),

    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{address} refused to let {user} in with {}", tried.join(", "))]
    AuthenticationRefused {
        address: String,
        user: String,
        /// Each key that was offered: fingerprint and where it came from.
        tried: Vec<String>,
        /// The first of them that is a file.
        identity: Option<Utf8PathBuf>,
    },
    #[error("{address} hung up after {count} keys of {user}: it lets nobody try more (MaxAuthTries)")]
    TooManyKeys { address: String, user: String, count: usize },
    #[error("{address} took the key of {user} and wants more ({wanted})")]
    MoreWanted {
        address: String,
        user: String,
        /// The methods that it would go on with.
        wanted: String,
    },
    #[error("the SSH agent failed: {why}")]
    Agent { why: String },
}

/// A host shows another key than the one on record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host key of {address} has changed: {file}:{line} has {expected}, it shows {algorithm} {offered}")]
pub struct ChangedKey {
    pub address: String,
    /// As in known_hosts: what `ssh-keygen -R` takes.
    pub host_field: String,
    /// Of the key that it shows.
    pub algorithm: String,
    pub offered: String,
    pub expected: String,
    pub file: Utf8PathBuf,
    pub line: usize,
}

/// Why there is no key to log in with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key file {file} does not exist")]
    Missing { file: Utf8PathBuf },
    #[error("can't read the key file {file}: {why}")]
    Unreadable { file: Utf8PathBuf, why: String },
    #[error("the key file {file} is open to others (mode {mode:04o})")]
    TooOpen { file: Utf8PathBuf, mode: u32 },
    #[error("{file} is not a private key: {why}")]
    NotAKey { file: Utf8PathBuf, why: String },
    #[error("the key file {file} is a public key, and no SSH agent has its private one")]
    PublicOnly { file: Utf8PathBuf },
    #[error("the key file {file} needs a passphrase, and there is no terminal to ask for it")]
    Locked { file: Utf8PathBuf },
    #[error("wrong passphrase for the key file {file}")]
    WrongPassphrase { file: Utf8PathBuf },
    #[error("the key file {file} holds an RSA key, which kboot does not sign with")]
    Rsa { file: Utf8PathBuf },
    #[error("the key file {file} holds a key that kboot does not sign with ({algorithm})")]
    Unsupported { file: Utf8PathBuf, algorithm: String },
    #[error(
        "there is no key to log in with: no SSH agent has one, and there is neither ~/.ssh/id_ed25519 nor ~/.ssh/id_ecdsa"
    )]
    Nowhere,
}

impl ConnectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Name { host } => {
                format!("check the name (`getent hosts {host}`), or put the IP address into the inventory")
            }
            Self::Refused { .. } => {
                "check the address and the SSH port in the inventory, and that sshd runs there (`systemctl status ssh`)".into()
            }
            Self::NoRoute { .. } => "check the address in the inventory, and this machine's route to it (`ip route get ADDRESS`)".into(),
            Self::TimedOut { .. } => {
                "check that the host is up and that no firewall drops the SSH port; `timeouts.connect` in the inventory says how long to wait".into()
            }
            Self::Unreachable { .. } => "check the address and the SSH port in the inventory".into(),
            Self::Closed { .. } => {
                "see why on the host: `journalctl -u ssh -n 20`; sshd's MaxStartups and PerSourcePenalties, or fail2ban, turn clients away".into()
            }
            Self::NoCommonAlgorithm { .. } => {
                "let the host's sshd offer current algorithms: an ed25519 or ECDSA host key, curve25519-sha256, aes256-ctr (see `sshd -T`)".into()
            }
            Self::HostKeyUnknown { .. } => {
                format!("compare the fingerprint with the host's own (there: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), then trust it with `kboot hosts trust -i {INVENTORY}`")
            }
            Self::HostKeyChanged(key) => format!(
                "someone may be in between. If the host was reinstalled: `ssh-keygen -R '{}' -f {}`, then `kboot hosts trust -i {INVENTORY}`",
                key.host_field, key.file
            ),
            Self::HostKeyNotPinned { .. } => {
                "someone may be in between. If the host was reinstalled, change its key where it is pinned: `hostKey` in the inventory, or kboot.lock (`kboot lock --update`)".into()
            }
            Self::BadPin { .. } => {
                "write it as in the host's /etc/ssh/ssh_host_ed25519_key.pub, `ssh-ed25519 AAAA…`, or as `SHA256:…`".into()
            }
            Self::HostKeyRevoked { .. } => "give the host a new key (there: `ssh-keygen -A` after removing the old ones)".into(),
            Self::HostKeyAuthority { .. } => {
                format!("trust the host's own key: compare the fingerprint with the host's own, then `kboot hosts trust -i {INVENTORY}`")
            }
            Self::HostKeyUnsupported { .. } => {
                format!("add the host's ed25519 or ECDSA key with `kboot hosts trust -i {INVENTORY}` (there: `ssh-keygen -A` makes one)")
            }
            Self::KnownHosts(error) => return known_hosts_hint(error),
            Self::Key(error) => error.hint(),
            Self::AuthenticationRefused { user, address, identity, .. } => {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, "22"));
                let host = host.trim_matches(['[', ']']);
                let identity = identity.as_ref().map(|file| format!(" -i {file}")).unwrap_or_default();
                let port = if port == "22" { String::new() } else { format!(" -p {port}") };
                format!("let the key in with `ssh-copy-id{identity}{port} {user}@{host}`, or set ssh.user and ssh.identityFile in the inventory")
            }
            Self::TooManyKeys { .. } => {
                "name the right key in the inventory, `ssh.identityFile`: of one that the SSH agent holds the public half is enough; `ssh-add -l` shows what it holds".into()
            }
            Self::MoreWanted { user, .. } => format!(
                "kboot logs in with a key alone. On the host, in sshd_config: `Match User {user}` and `AuthenticationMethods publickey`, or set ssh.user to another user"
            ),
            Self::Agent { .. } => "see what it holds with `ssh-add -l`, or set ssh.identityFile in the inventory".into(),
        };
        Some(hint)
    }

    /// Whether the host may answer a moment later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::NoRoute { .. }
                | Self::TimedOut { .. }
                | Self::Unreachable { .. }
                | Self::Closed { .. }
        )
    }
}

impl KeyError {
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "set ssh.identityFile in the inventory to a private key, or make one with `ssh-keygen -t ed25519`".into()
            }
            Self::Unreadable { file, .. } => format!("see who may read it: `ls -l {file}`"),
            Self::TooOpen { file, .. } => format!("`chmod 600 {file}`"),
            Self::NotAKey { .. } | Self::PublicOnly { .. } => {
                "ssh.identityFile must name a private key as ssh-keygen writes it (`ssh-keygen -t ed25519`)".into()
            }
            Self::Locked { file } => format!("unlock it for this session: `eval $(ssh-agent); ssh-add {file}`"),
            Self::WrongPassphrase { file } => {
                format!("try it with `ssh-keygen -y -f {file}`, or unlock it once with `ssh-add {file}`")
            }
            Self::Rsa { file } => format!(
                "RSA signing is left out since its implementation leaks timing (RUSTSEC-2023-0071). Let an SSH agent sign \
                 (`ssh-add {file}`), or use an ed25519 key (`ssh-keygen -t ed25519`, then `ssh-copy-id`)"
            ),
            Self::Unsupported { file, .. } => {
                format!("let an SSH agent sign (`ssh-add {file}`), or use an ed25519 key (`ssh-keygen -t ed25519`)")
            }
            Self::Nowhere => {
                "make a key (`ssh-keygen -t ed25519`) and let it in (`ssh-copy-id`), or set ssh.identityFile in the inventory".into()
            }
        }
    }
}

fn known_hosts_hint(error: &known_hosts::Error) -> Option<String> {
    use known_hosts::Error;
    match error {
        Error::Line { file, line, .. } => Some(format!("mend or remove the line: `sed -i '{line}d' {file}`")),
        Error::Conflict { file, line, .. } => {
            Some(format!("if the host was reinstalled, remove the old key first: `sed -i '{line}d' {file}`"))
        }
        Error::Read { .. } | Error::Write { .. } => Some("ssh.knownHosts in the inventory names this file".into()),
        Error::Revoked { .. } => None,
    }
}

impl From<known_hosts::Error> for Failure {
    fn from(error: known_hosts::Error) -> Self {
        ConnectError::from(error).into()
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let failure = Self { retryable: error.is_retryable(), ..Self::new(error.to_string()) };
        match error.hint() {
            Some(hint) => failure.hint_text(hint),
            None => failure,
        }
    }
}

/// An error's own words, without the path or call that our messages already carry.
pub(super) fn why(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let text = std::io::Error::from_raw_os_error(code).to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            lower_first(&text)
        }
        None => error.to_string(),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
