//! SSH to one host: a connection whose host key has been verified, commands on it, and a long-running process on it.
//!
//! May use the known_hosts module and the user's keys. Knows nothing of the inventory, whose settings are mapped onto
//! [`Target`], nor of what is run on a host.

mod auth;
mod error;
mod handshake;
mod keyring;
mod process;

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use russh::client;
use russh::keys::PublicKey;

pub use error::{ChangedKey, ConnectError, KeyError};
pub use keyring::{Ask, Keyring};
pub use process::{ExecError, ExecOutput, Exit, Limits, Process, Status, Stdin, Stdout};

use crate::fleet::known_hosts::fingerprint;
use handshake::{ECDSA, ED25519, Farewell, Handler};

/// A host and how it is reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// The name in the inventory.
    pub name: String,
    /// A name or an IP address.
    pub host: String,
    pub port: u16,
    pub user: String,
    /// The private key to log in with; without one, what the [`Keyring`] has.
    pub identity_file: Option<Utf8PathBuf>,
    pub known_hosts: Utf8PathBuf,
    /// The host's public key, `ssh-ed25519 AAAA…`, or its fingerprint, `SHA256:…`. With one, known_hosts is not asked.
    pub host_key: Option<String>,
    /// For each of connecting, key exchange and logging in.
    pub connect_timeout: Duration,
}

impl Target {
    /// `host:port`, as messages have it.
    pub fn address(&self) -> String {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

/// A session on a host that is verified and has let us in. Dropping it ends every process on it: they read end of file.
pub struct Connection {
    target: Target,
    host_key: String,
    session: Option<client::Handle<Handler>>,
    farewell: Farewell,
}

/// Connects and logs in.
pub async fn connect(target: &Target, keys: &Keyring) -> Result<Connection, ConnectError> {
    let mut greeted = handshake::greet(target).await?;
    auth::log_in(&mut greeted, target, keys).await?;
    let host_key = greeted.host_key;
    Ok(Connection { target: target.clone(), host_key, session: Some(greeted.session), farewell: greeted.farewell })
}

/// A public key that a host showed. Nothing vouches for it: a person must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedKey {
    pub key: PublicKey,
    /// As in known_hosts: `ssh-ed25519`.
    pub algorithm: String,
    pub fingerprint: String,
}

/// The host's ed25519 and ECDSA keys, those of them that it has and at least one; nobody logs in.
pub async fn scan(target: &Target) -> Result<Vec<ScannedKey>, ConnectError> {
    let mut keys = Vec::new();
    // One after the other: sshd counts connections on which nobody logs in, and turns clients away that make many.
    for algorithms in [vec![ED25519], ECDSA.to_vec()] {
        if let Some(key) = handshake::show_key(target, algorithms).await? {
            let (algorithm, fingerprint) = (key.algorithm().to_string(), fingerprint(&key));
            keys.push(ScannedKey { key, algorithm, fingerprint });
        }
    }
    if keys.is_empty() {
        return Err(handshake::no_shared_host_key(target, "neither an ed25519 nor an ECDSA host key".into()));
    }
    Ok(keys)
}

impl Connection {
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The host's key, which was verified, as `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    pub fn is_closed(&self) -> bool {
        self.session.as_ref().is_none_or(client::Handle::is_closed)
    }

    /// What the host said when it hung up, or why it is taken for dead.
    pub fn farewell(&self) -> Option<String> {
        handshake::said(&self.farewell)
    }

    /// Runs a command to its end, with [`Limits::default`]. Secrets go through `stdin`, never into the command.
    pub async fn exec(&self, command: &str, stdin: Option<&[u8]>) -> Result<ExecOutput, ExecError> {
        self.exec_within(command, stdin.unwrap_or_default(), Limits::default()).await
    }

    /// Runs a command to its end, feeding it from `stdin`.
    pub async fn exec_within(
        &self,
        command: &str,
        stdin: impl tokio::io::AsyncRead + Unpin,
        limits: Limits,
    ) -> Result<ExecOutput, ExecError> {
        self.spawn(command).await?.output(stdin, limits).await
    }

    /// Starts a command and leaves it running. The host's answer is not waited for: a command that can't be started shows
    /// as one that ends.
    pub async fn spawn(&self, command: &str) -> Result<Process, ExecError> {
        let session = self.session.as_ref().ok_or_else(|| self.lost())?;
        let limit = self.target.connect_timeout;
        let opened = tokio::time::timeout(limit, session.channel_open_session()).await;
        let opened = opened.map_err(|_| ExecError::TimedOut { seconds: limit.as_secs() })?;
        let channel = opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(reason) => ExecError::Refused { why: format!("{reason:?}") },
            _ => self.lost(),
        })?;
        channel.exec(true, command).await.map_err(|_| self.lost())?;
        Ok(Process::new(channel, Arc::clone(&self.farewell)))
    }

    /// Says goodbye and ends the session.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take() {
            // A host that is gone needs no goodbye.
            let _ = session.disconnect(russh::Disconnect::ByApplication, "", "").await;
        }
    }

    fn lost(&self) -> ExecError {
        ExecError::Lost { why: self.farewell() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A process that still holds its channel would keep the session alive.
        if let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { session.disconnect(russh::Disconnect::ByApplication, "", "").await });
        }
    }
}

#[cfg(test)]
mod tests;
