//! `kboot adopt`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use futures_util::future::join_all;
use time::OffsetDateTime;

use crate::adopt::{self, Named, Reached};
use crate::engine::{Failure, Hint};
use crate::fleet::Fleet;
use crate::inventory::{Cluster, Host, HostSsh, Role};

use super::exit::{Problem, print_data, remark};
use super::file;

/// Write the inventory of a cluster that kubeadm created
///
/// The command reads the cluster and its hosts, and changes nothing. It prints an equivalent inventory, for which `kboot plan` finds
/// no significant changes. It reports what an inventory can't express, and also writes that into the file. At least one of the hosts
/// must be a control plane. The inventory also contains nodes that you do not name.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot adopt --host root@10.0.0.11 --host root@10.0.0.12 > inventory.yaml
  kboot adopt --host root@10.0.0.11 --host admin@10.0.0.13:2222 --out inventory.yaml
  kboot plan -i inventory.yaml                        Show what `kboot up` would then change")]
pub struct Adopt {
    /// The SSH address of a node of the cluster. Can be repeated. A user other than root needs passwordless sudo
    #[arg(long = "host", value_name = "[USER@]ADDRESS[:PORT]", required = true, value_parser = target)]
    hosts: Vec<Target>,
    /// Write the inventory to this file, and the repository keys that it names beside it
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// The private SSH key to log in with. Default: the SSH agent's keys, then ~/.ssh/id_ed25519 and id_ecdsa
    #[arg(long, value_name = "FILE")]
    identity_file: Option<Utf8PathBuf>,
    /// The file with the hosts' public SSH keys. Default: ~/.ssh/known_hosts
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
struct Target {
    text: String,
    user: String,
    address: String,
    port: u16,
}

fn target(text: &str) -> Result<Target, String> {
    let (user, rest) = text.rsplit_once('@').unwrap_or(("root", text));
    let (address, port) = match rest.rsplit_once(':') {
        Some((address, port)) => {
            (address, port.parse().ok().filter(|port| *port > 0).ok_or("the port is a number from 1 to 65535")?)
        }
        None => (rest, 22),
    };
    let is_plain = |word: &str| {
        !word.is_empty()
            && !word.starts_with('-')
            && !word.contains(|c: char| c.is_whitespace() || c == '/' || c == ':')
    };
    if !is_plain(user) || !is_plain(address) {
        return Err("write it as root@10.0.0.11 or admin@10.0.0.11:2222".into());
    }
    Ok(Target { text: text.into(), user: user.into(), address: address.into(), port })
}

impl Adopt {
    pub async fn run(self) -> Result<ExitCode, Problem> {
        let out = self.out.as_deref();
        if let Some(path) = out.filter(|path| path.exists()) {
            return Err(
                Problem::usage(format!("{path} is there already")).hint("name another file, or move this one away")
            );
        }
        let reached = Reached {
            identity_file: absolute(self.identity_file.as_deref())?,
            known_hosts: absolute(self.known_hosts.as_deref())?,
        };
        let named = self.look(&reached).await?;
        let adopted = adopt::adopt(&named, &reached, OffsetDateTime::now_utc())?;
        for note in &adopted.notes {
            remark(format!("note: {note}"));
        }
        let Some(path) = out else {
            print_data(&adopted.inventory)?;
            for name in adopted.keys.keys() {
                remark(format!("note: the inventory names the key {name} beside it: --out writes it, too"));
            }
            return Ok(ExitCode::SUCCESS);
        };
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        let written = adopted.keys.iter().try_for_each(|(name, key)| std::fs::write(folder.join(name), key));
        let written = written.and_then(|()| file::replace(path, &adopted.inventory, 0o644));
        written.map_err(|error| Failure::from(error).context(format_args!("write {path}")))?;
        remark(format!("the inventory is in {path}: `kboot plan -i {path}` shows what `kboot up` would change"));
        Ok(ExitCode::SUCCESS)
    }

    /// Connects to all hosts at once, and inspects each.
    async fn look(&self, reached: &Reached) -> Result<Vec<Named>, Problem> {
        let fleet = &Fleet::new(crate::report::ask_secret);
        let looks = self.hosts.iter().map(|target| async move {
            let look = async {
                let (cluster, host) = target.cluster(reached);
                // The agent leaves nothing on the host, not even its own file.
                let agent = fleet.agent(&cluster, &host, false).await?;
                Ok::<_, Failure>((agent.facts().await?, agent.survey().await?))
            };
            look.await.map_err(|failure| (target, failure))
        });
        let (mut named, mut failed) = (Vec::new(), Vec::new());
        for (target, look) in self.hosts.iter().zip(join_all(looks).await) {
            match look {
                Ok((facts, survey)) => named.push(Named {
                    target: target.text.clone(),
                    address: target.address.clone(),
                    user: target.user.clone(),
                    port: target.port,
                    facts,
                    survey,
                }),
                Err(told) => failed.push(told),
            }
        }
        match failed.as_slice() {
            [] => Ok(named),
            [(target, failure)] => Err(target.told(failure.clone()).into()),
            several => {
                let lines = several.iter().map(|(target, failure)| format!("{}: {}", target.text, failure.cause));
                let hint = several.iter().find_map(|(target, failure)| target.told(failure.clone()).hint);
                let failure = Failure::new(format!("{} hosts can't be looked at", several.len())).evidence(lines);
                Err(Failure { hint, ..failure }.into())
            }
        }
    }
}

impl Target {
    /// A cluster of this host alone, because the fleet connects only to hosts of a cluster.
    fn cluster(&self, reached: &Reached) -> (Cluster, Host) {
        let mut host = Host::new(self.text.clone(), [127, 0, 0, 1].into(), vec![Role::ControlPlane]);
        host.ssh = HostSsh {
            address: Some(self.address.clone()),
            user: Some(self.user.clone()),
            port: Some(self.port),
            ..HostSsh::default()
        };
        let mut cluster = Cluster::single(host.clone());
        cluster.ssh.identity_file.clone_from(&reached.identity_file);
        let home = || {
            std::env::var("HOME").map_or_else(
                |_| cluster.ssh.known_hosts.clone(),
                |home| cluster.ssh.known_hosts.replacen('~', &home, 1),
            )
        };
        cluster.ssh.known_hosts = reached.known_hosts.clone().unwrap_or_else(home);
        (cluster, host)
    }

    /// Replaces a hint to `kboot hosts trust`: that command needs an inventory, and there is none yet.
    fn told(&self, failure: Failure) -> Failure {
        let ssh = format!("ssh -p {} {}@{}", self.port, self.user, self.address);
        let hint = failure.hint.clone().map(|hint| match hint.to_string().contains("kboot hosts trust") {
            true => Hint::text(format!(
                "compare the key with what the host shows on its console, and have it remembered: `{ssh}`"
            )),
            false => hint,
        });
        let failure = failure.context(format_args!("look at {}", self.text));
        Failure { hint, ..failure }
    }
}

fn absolute(path: Option<&Utf8Path>) -> Result<Option<String>, Problem> {
    let path = path.map(camino::absolute_utf8).transpose()?;
    Ok(path.map(Utf8PathBuf::into_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_ssh_has_them() {
        let found = |text| target(text).map(|target| (target.user, target.address, target.port));
        let expected = |user: &str, address: &str, port| Ok((user.to_owned(), address.to_owned(), port));
        assert_eq!(found("10.0.0.1"), expected("root", "10.0.0.1", 22));
        assert_eq!(found("admin@n1.example.com:2222"), expected("admin", "n1.example.com", 2222));
        for bad in [
            "",
            "@10.0.0.1",
            "root@",
            "root@10.0.0.1:",
            "root@10.0.0.1:0",
            "root@10.0.0.1:x",
            "-oProxy=x",
            "a b",
            "ssh://a",
        ] {
            found(bad).unwrap_err();
        }
    }
}
