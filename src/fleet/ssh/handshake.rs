//! From an address to a connection whose host is who it should be: name, TCP, key exchange, host key.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason};
use russh::keys::{Algorithm, EcdsaCurve, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::{ChangedKey, why};
use super::{ConnectError, Target};
use crate::fleet::known_hosts::{self, Record, Verdict, fingerprint, host_field};

pub(super) const ED25519: Algorithm = Algorithm::Ed25519;
/// The ECDSA host keys that can be verified.
pub(super) const ECDSA: [Algorithm; 3] = [
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
];

/// How long nothing may come from a host before it is asked for a sign of life, and how many such questions it may ignore.
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(10), 5);

/// What a host's key is held against.
#[derive(Clone)]
pub(super) enum Trust {
    OnRecord(Record),
    /// The key in the inventory.
    Pinned(PublicKey),
    /// The fingerprint in the inventory.
    PinnedFingerprint(String),
    /// Nothing: the key is only looked at, and the connection ends there.
    Nobody,
}

impl Trust {
    pub fn of(target: &Target) -> Result<Self, ConnectError> {
        let Some(pin) = target.host_key.as_deref().map(str::trim) else {
            return Ok(Self::OnRecord(known_hosts::record(&target.known_hosts, &target.host, target.port)?));
        };
        if pin.starts_with("SHA256:") {
            return Ok(Self::PinnedFingerprint(pin.trim_end_matches('=').to_owned()));
        }
        match PublicKey::from_openssh(pin) {
            Ok(key) if is_verifiable(&key.algorithm()) => Ok(Self::Pinned(key)),
            Ok(key) => Err(bad_pin(target, format!("kboot does not verify {} host keys", key.algorithm()))),
            Err(error) => Err(bad_pin(target, error.to_string())),
        }
    }

    /// The host key algorithms to ask for, best first: those whose key is known, so that the host shows that one.
    fn algorithms(&self, target: &Target) -> Result<Vec<Algorithm>, ConnectError> {
        let all = || std::iter::once(ED25519).chain(ECDSA);
        match self {
            Self::Pinned(key) => Ok(vec![key.algorithm()]),
            Self::PinnedFingerprint(_) | Self::Nobody => Ok(all().collect()),
            Self::OnRecord(record) => {
                let Some(first) = record.trusted().first() else { return Ok(all().collect()) };
                let on_record = record.algorithms();
                let usable: Vec<_> = all().filter(|algorithm| on_record.contains(algorithm)).collect();
                if usable.is_empty() {
                    return Err(ConnectError::HostKeyUnsupported {
                        address: target.address(),
                        algorithm: first.key.algorithm().to_string(),
                        file: first.file.clone(),
                        line: first.line,
                    });
                }
                Ok(usable)
            }
        }
    }

    fn check(&self, target: &Target, key: &PublicKey) -> Result<(), ConnectError> {
        let (address, algorithm, offered) = (target.address(), key.algorithm().to_string(), fingerprint(key));
        match self {
            Self::Nobody => Ok(()),
            Self::Pinned(pin) if pin.key_data() == key.key_data() => Ok(()),
            Self::Pinned(pin) => {
                Err(ConnectError::HostKeyNotPinned { address, algorithm, offered, expected: fingerprint(pin) })
            }
            Self::PinnedFingerprint(expected) if *expected == offered => Ok(()),
            Self::PinnedFingerprint(expected) => {
                Err(ConnectError::HostKeyNotPinned { address, algorithm, offered, expected: expected.clone() })
            }
            Self::OnRecord(record) => match record.check(key) {
                Verdict::Match => Ok(()),
                Verdict::Unknown => Err(ConnectError::HostKeyUnknown {
                    address,
                    algorithm,
                    fingerprint: offered,
                    file: record.file().to_owned(),
                }),
                // Asked for the algorithm on record, it has shown another one.
                Verdict::Changed { file, line, expected } | Verdict::OtherAlgorithm { file, line, expected } => {
                    let host_field = host_field(&target.host, target.port);
                    let key = ChangedKey { address, host_field, algorithm, offered, expected, file, line };
                    Err(ConnectError::HostKeyChanged(Box::new(key)))
                }
                Verdict::Revoked { file, line } => {
                    Err(ConnectError::HostKeyRevoked { address, fingerprint: offered, file, line })
                }
                Verdict::OnlyAuthority { file, line } => {
                    Err(ConnectError::HostKeyAuthority { address, algorithm, fingerprint: offered, file, line })
                }
            },
        }
    }
}

fn bad_pin(target: &Target, why: String) -> ConnectError {
    ConnectError::BadPin { host: target.name.clone(), why }
}

fn is_verifiable(algorithm: &Algorithm) -> bool {
    *algorithm == ED25519 || ECDSA.contains(algorithm)
}

/// A session whose host has shown the right key; nobody is logged in yet.
pub(super) struct Greeted {
    pub session: client::Handle<Handler>,
    /// What the host said when it hung up, if it did.
    pub farewell: Farewell,
    /// The key that it showed, without a comment.
    pub host_key: String,
}

pub(super) type Farewell = Arc<Mutex<Option<String>>>;

pub(super) fn said(farewell: &Farewell) -> Option<String> {
    farewell.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Connects, exchanges keys and checks the host's.
pub(super) async fn greet(target: &Target) -> Result<Greeted, ConnectError> {
    let trust = Trust::of(target)?;
    let algorithms = trust.algorithms(target)?;
    if let Trust::PinnedFingerprint(_) = trust {
        return by_fingerprint(target, algorithms, &trust).await;
    }
    match shake(target, algorithms, trust.clone()).await {
        Err(Broken::NoSharedHostKey { offered }) => {
            // The key on record is of a kind that the host no longer has. Which one it has now, a person will want to know.
            let shown = show_key(target, std::iter::once(ED25519).chain(ECDSA).collect()).await?;
            let Some(key) = shown else { return Err(no_shared_host_key(target, offered)) };
            trust.check(target, &key)?;
            Err(no_shared_host_key(target, offered))
        }
        other => other.map(|(greeted, _)| greeted).map_err(|broken| broken.into_error(target)),
    }
}

/// A fingerprint does not tell the key's algorithm, and a host shows the key of the one that it is asked for.
async fn by_fingerprint(target: &Target, algorithms: Vec<Algorithm>, trust: &Trust) -> Result<Greeted, ConnectError> {
    let (mut another, mut none) = (None, None);
    for algorithm in algorithms {
        match shake(target, vec![algorithm], trust.clone()).await {
            Ok((greeted, _)) => return Ok(greeted),
            Err(Broken::Error(error)) if matches!(*error, ConnectError::HostKeyNotPinned { .. }) => {
                another = another.or(Some(*error));
            }
            Err(Broken::NoSharedHostKey { offered }) => none = Some(no_shared_host_key(target, offered)),
            Err(broken) => return Err(broken.into_error(target)),
        }
    }
    Err(another.or(none).unwrap_or_else(|| no_shared_host_key(target, String::new())))
}

/// The key that the host shows when asked for one of `algorithms`; `None` if it has none of them.
pub(super) async fn show_key(target: &Target, algorithms: Vec<Algorithm>) -> Result<Option<PublicKey>, ConnectError> {
    match shake(target, algorithms, Trust::Nobody).await {
        Ok((greeted, key)) => {
            // Best effort: the connection ends with the session's handle in any case.
            let _ = greeted.session.disconnect(russh::Disconnect::ByApplication, "", "").await;
            Ok(key)
        }
        Err(Broken::NoSharedHostKey { .. }) => Ok(None),
        Err(broken) => Err(broken.into_error(target)),
    }
}

pub(super) fn no_shared_host_key(target: &Target, offered: String) -> ConnectError {
    ConnectError::NoCommonAlgorithm { address: target.address(), kind: "host key".into(), offered }
}

async fn shake(
    target: &Target,
    algorithms: Vec<Algorithm>,
    trust: Trust,
) -> Result<(Greeted, Option<PublicKey>), Broken> {
    let socket = dial(target).await.map_err(|error| Broken::Error(Box::new(error)))?;
    let config = client::Config {
        // Measured: uploads gain a quarter from the larger window and packets, each exec 40 ms from not waiting to fill one.
        window_size: 8 << 20,
        maximum_packet_size: 65_535,
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE.0),
        keepalive_max: KEEPALIVE.1,
        preferred: Preferred { key: algorithms.into(), ..Preferred::DEFAULT },
        ..client::Config::default()
    };
    let farewell = Farewell::default();
    let shown = Arc::new(Mutex::new(None));
    let handler = Handler { target: target.clone(), trust, farewell: farewell.clone(), shown: shown.clone() };
    let session = timeout(target.connect_timeout, client::connect_stream(Arc::new(config), socket, handler))
        .await
        .map_err(|_| Broken::Error(Box::new(timed_out(target))))??;
    let key = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    let host_key = key.as_ref().map(plain).unwrap_or_default();
    Ok((Greeted { session, farewell, host_key }, key))
}

fn plain(key: &PublicKey) -> String {
    let mut key = key.clone();
    key.set_comment("");
    key.to_openssh().map(|text| text.trim_end().to_string()).unwrap_or_default()
}

/// Why a handshake broke off, before it is known what that means.
#[derive(Debug)]
pub(super) enum Broken {
    Ssh(russh::Error),
    NoSharedHostKey { offered: String },
    Error(Box<ConnectError>),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. } => {
                Self::NoSharedHostKey { offered: theirs.join(", ") }
            }
            other => Self::Ssh(other),
        }
    }
}

impl Broken {
    fn into_error(self, target: &Target) -> ConnectError {
        let address = target.address();
        match self {
            Self::Error(error) => *error,
            Self::NoSharedHostKey { offered } => no_shared_host_key(target, offered),
            Self::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                let kind = match kind {
                    AlgorithmKind::Kex => "key exchange",
                    AlgorithmKind::Key => "host key",
                    AlgorithmKind::Cipher => "cipher",
                    AlgorithmKind::Compression => "compression",
                    AlgorithmKind::Mac => "MAC",
                };
                ConnectError::NoCommonAlgorithm { address, kind: kind.into(), offered: theirs.join(", ") }
            }
            Self::Ssh(russh::Error::Disconnect | russh::Error::HUP) => {
                ConnectError::Closed { address, why: "before the SSH handshake was done".into() }
            }
            Self::Ssh(russh::Error::IO(error)) => ConnectError::Closed { address, why: why(&error) },
            Self::Ssh(russh::Error::Version) => {
                ConnectError::Unreachable { address, why: "it does not speak SSH".into() }
            }
            Self::Ssh(error) => ConnectError::Closed { address, why: error.to_string() },
        }
    }
}

/// Sees the host's key, and what it says when it hangs up.
pub(super) struct Handler {
    target: Target,
    trust: Trust,
    farewell: Farewell,
    shown: Arc<Mutex<Option<PublicKey>>>,
}

impl client::Handler for Handler {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        // No certificate algorithm was offered, so a certificate here is the host's breach of the protocol.
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        self.trust.check(&self.target, key).map_err(|error| Broken::Error(Box::new(error)))?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (info.message, Ok(())),
            DisconnectReason::Error(Broken::Ssh(russh::Error::KeepaliveTimeout)) => {
                ("it no longer answers".into(), Ok(()))
            }
            DisconnectReason::Error(error) => (String::new(), Err(error)),
        };
        if !text.is_empty() {
            *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
        result
    }
}

/// Opens a TCP connection to the first of the host's addresses that answers.
async fn dial(target: &Target) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::Name { host: target.host.clone() };
    for address in resolve(target).await? {
        match timeout(target.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Only costs time where it fails.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = not_connected(target, &error),
            Err(_) => last = timed_out(target),
        }
    }
    Err(last)
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = timeout(target.connect_timeout, crate::names::lookup(&target.host)).await;
    match found {
        Ok(Ok(addresses)) => Ok(addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect()),
        Ok(Err(_)) | Err(_) => {
            Err(ConnectError::Name { host: target.host.trim_start_matches('[').trim_end_matches(']').to_owned() })
        }
    }
}

fn not_connected(target: &Target, error: &std::io::Error) -> ConnectError {
    use std::io::ErrorKind;
    let address = target.address();
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectError::Refused { address },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ConnectError::NoRoute { address },
        ErrorKind::TimedOut => timed_out(target),
        _ => ConnectError::Unreachable { address, why: why(error) },
    }
}

pub(super) fn timed_out(target: &Target) -> ConnectError {
    ConnectError::TimedOut { address: target.address(), seconds: target.connect_timeout.as_secs() }
}
