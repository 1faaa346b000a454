//! From an inventory's host to a conversation with the agent on it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use camino::Utf8Path;
use secrecy::SecretString;
use tokio::io::{AsyncRead, ReadBuf};

use super::deliver::{AgentBinary, start_agent};
use super::ssh::{self, Connection, Keyring, Stdout, Target};
use crate::agent::{Client, HostFile};
use crate::engine::Result;
use crate::inventory::{Cluster, Host};

/// Where SSH finds a host and how it knows it.
pub fn target(cluster: &Cluster, host: &Host) -> Target {
    let ssh = cluster.ssh_target(host);
    Target {
        name: host.name.clone(),
        host: ssh.host,
        port: ssh.port,
        user: ssh.user,
        identity_file: ssh.identity_file,
        known_hosts: ssh.known_hosts,
        host_key: ssh.host_key,
        connect_timeout: Duration::from_secs(cluster.timeouts.connect),
    }
}

/// Reaches the hosts of an inventory. All share the keys that were read, so that a passphrase is asked for once.
pub struct Fleet {
    keys: Keyring,
    /// The keys that hosts have shown and that were found right, by the hosts' names.
    shown: Mutex<BTreeMap<String, String>>,
}

impl Fleet {
    /// `ask` gets a question and gives what a person answers, if there is one.
    pub fn new(ask: fn(&str) -> Option<SecretString>) -> Self {
        let ask = move |file: &Utf8Path, attempt: u32| {
            let again = if attempt > 0 { " (that was not it)" } else { "" };
            ask(&format!("Passphrase of {file}{again}: "))
        };
        Self { keys: Keyring::from_environment().asking(ask), shown: Mutex::default() }
    }

    /// Starts an agent on a host. One that does not stay leaves no file behind.
    pub async fn agent(&self, cluster: &Cluster, host: &Host, stays: bool) -> Result<Client> {
        let target = target(cluster, host);
        let connection = ssh::connect(&target, &self.keys).await?;
        self.shown.lock().expect("no panic while held").insert(host.name.clone(), connection.host_key().to_string());
        let process = start_agent(&connection, &target, AgentBinary::current()?, stays).await?;
        let input = Attached { output: process.stdout, _connection: connection, _status: process.status };
        Ok(Client::new(input, process.stdin))
    }

    /// The SSH key, as `ssh-ed25519 AAAA…`, of a host that an agent was started on.
    pub fn host_key(&self, host: &str) -> Option<String> {
        self.shown.lock().expect("no panic while held").get(host).cloned()
    }

    /// A file of a host, which an agent reads that does not stay; None where there is no such file.
    pub async fn read(&self, cluster: &Cluster, host: &Host, file: HostFile) -> Result<Option<Vec<u8>>> {
        self.agent(cluster, host, false).await?.read(file).await
    }
}

/// The agent's output together with what must live as long.
struct Attached {
    output: Stdout,
    _connection: Connection,
    _status: ssh::Status,
}

impl AsyncRead for Attached {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}
