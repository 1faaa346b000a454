//! `kboot config init`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::str::FromStr;

use camino::Utf8Path;
use clap::Args;

use crate::engine::Failure;
use crate::inventory;
use crate::report::count;

use super::exit::Problem;

/// Print an inventory of these machines, to begin with
///
/// The first machines become control planes, the others workers. A cluster without workers runs its pods on the control planes. The
/// inventory contains only what you give; every other setting has its default. The command connects to no machine.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot config init 10.0.0.11 10.0.0.12 10.0.0.13 > inventory.yaml
  kboot config init --control-planes 3 admin@10.0.0.11 admin@10.0.0.12 admin@10.0.0.13 > inventory.yaml
  kboot config init db=root@192.0.2.7:2222 > inventory.yaml")]
pub struct Init {
    /// The machines, each as [NAME=][USER@]HOST[:PORT]. NAME is the node's name. Default: the host name up to its first dot; n1, n2, …
    /// for addresses
    #[arg(value_name = "MACHINE", required = true)]
    hosts: Vec<Machine>,
    /// How many of the machines are control planes: one, or three or five for high availability
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    control_planes: u8,
    /// The cluster's name
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// The private key for SSH. Default: the SSH agent's keys, then ~/.ssh/id_ed25519 and ~/.ssh/id_ecdsa
    #[arg(long, value_name = "FILE")]
    identity_file: Option<String>,
}

/// A machine as the command line names it.
#[derive(Debug, Clone, PartialEq)]
struct Machine {
    name: Option<String>,
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl FromStr for Machine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').map_or((None, text), |(name, rest)| (Some(name), rest));
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("the address has no closing bracket")?,
            // An IPv6 address without brackets has no port.
            None if host.parse::<IpAddr>().is_ok() => (host, ""),
            None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => {
                Some(port.parse().ok().filter(|port| *port > 0).ok_or("the port is not between 1 and 65535")?)
            }
            None if port.is_empty() => None,
            None => return Err("only :PORT may follow the address".into()),
        };
        match (name, user, host) {
            (Some(""), ..) => Err("there is no name before `=`".into()),
            (_, Some(""), _) => Err("there is no user before `@`".into()),
            (.., "") => Err("there is no host".into()),
            (name, user, host) => {
                Ok(Self { name: name.map(String::from), user: user.map(String::from), host: host.into(), port })
            }
        }
    }
}

impl Machine {
    /// The address under which the other machines reach it too.
    fn address(&self) -> Result<IpAddr, Problem> {
        if let Ok(address) = self.host.parse() {
            return Ok(address);
        }
        let found = (self.host.as_str(), 0).to_socket_addrs();
        let found = found.map_err(|error| Problem::usage(format!("failed to look {} up: {error}", self.host)));
        let hint = format!("write its address: {}=ADDRESS", self.label());
        let addresses: BTreeSet<IpAddr> = found.map_err(|problem| problem.hint(&hint))?.map(|at| at.ip()).collect();
        // The inventory's networks are IPv4 unless it says otherwise.
        let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied();
        match first {
            Some(address) if address.is_loopback() => {
                Err(Problem::usage(format!("{} is this machine's own loopback, {address}", self.host)).hint(hint))
            }
            Some(address) => Ok(address),
            None => Err(Problem::usage(format!("{} has no address", self.host)).hint(hint)),
        }
    }

    /// The host name's first label.
    fn label(&self) -> String {
        self.host.split('.').next().unwrap_or_default().to_ascii_lowercase()
    }
}

impl Init {
    /// The inventory's text.
    pub fn text(&self) -> Result<String, Problem> {
        let control_planes = usize::from(self.control_planes);
        if control_planes > self.hosts.len() {
            let there = count(self.hosts.len(), "machine");
            return Err(Problem::usage(format!(
                "--control-planes is {control_planes}, but the arguments name {there}"
            )));
        }
        let names = self.names();
        let mut hosts = String::new();
        for (index, (machine, name)) in self.hosts.iter().zip(&names).enumerate() {
            let roles = match index < control_planes {
                true if control_planes == self.hosts.len() => "[control-plane, worker]",
                true => "[control-plane]",
                false => "[worker]",
            };
            let address = machine.address()?;
            write!(hosts, "  - name: {}\n    address: {address}\n    roles: {roles}\n", scalar(name))
                .expect(INFALLIBLE);
            let ssh = [
                machine.user.as_ref().filter(|_| self.user().is_none()).map(|user| format!("user: {}", scalar(user))),
                machine.port.map(|port| format!("port: {port}")),
            ];
            let ssh: Vec<String> = ssh.into_iter().flatten().collect();
            if !ssh.is_empty() {
                writeln!(hosts, "    ssh: {{{}}}", ssh.join(", ")).expect(INFALLIBLE);
            }
        }
        let text = format!("{HEAD}{}hosts:\n{hosts}", self.head());
        match inventory::parse(&text, Utf8Path::new("<arguments>")) {
            Ok(_) => Ok(text),
            Err(mistakes) => {
                let lines = mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message));
                Err(Problem::Usage(Failure::new("the arguments do not make an inventory").evidence(lines)))
            }
        }
    }

    fn head(&self) -> String {
        let name = self.cluster_name.as_ref().map(|name| format!("name: {}\n", scalar(name)));
        let user = self.user().map(|user| format!("  user: {}\n", scalar(user)));
        let key = self.identity_file.as_ref().map(|file| format!("  identityFile: {}\n", scalar(file)));
        let ssh: String = user.into_iter().chain(key).collect();
        let ssh = if ssh.is_empty() { ssh } else { format!("ssh:\n{ssh}") };
        name.unwrap_or_default() + &ssh
    }

    /// The user that all machines have.
    fn user(&self) -> Option<&str> {
        let first = self.hosts.first()?.user.as_deref()?;
        self.hosts.iter().all(|machine| machine.user.as_deref() == Some(first)).then_some(first)
    }

    /// A name for each machine. The given ones come first, so that no other machine gets one of them.
    fn names(&self) -> Vec<String> {
        let own = |machine: &Machine| match &machine.name {
            Some(name) => Some(name.clone()),
            None if machine.host.parse::<IpAddr>().is_ok() => None,
            None => Some(machine.label()),
        };
        let given: Vec<Option<String>> = self.hosts.iter().map(own).collect();
        let taken: BTreeSet<String> = given.iter().flatten().cloned().collect();
        let mut free = (1..).map(|number| format!("n{number}")).filter(|name| !taken.contains(name));
        given.into_iter().map(|name| name.or_else(|| free.next()).unwrap_or_default()).collect()
    }
}

const HEAD: &str = "\
# All other settings have their defaults: `kboot config print -i FILE` prints them.
apiVersion: kboot/v1alpha1
kind: Cluster
";
const INFALLIBLE: &str = "writing to memory does not fail";

/// A text as YAML, quoted where it must be.
fn scalar(text: &str) -> String {
    serde_yaml::to_string(text).expect("a text is always YAML").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Text;

    fn init(hosts: &[&str], control_planes: u8) -> Init {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Init { hosts, control_planes, cluster_name: None, identity_file: None }
    }

    fn machine(name: Option<&str>, user: Option<&str>, host: &str, port: Option<u16>) -> Result<Machine, String> {
        let (name, user) = (name.map(String::from), user.map(String::from));
        Ok(Machine { name, user, host: host.into(), port })
    }

    #[test]
    fn a_machine_has_a_name_a_user_and_a_port_if_they_are_given() {
        assert_eq!("10.0.0.1".parse(), machine(None, None, "10.0.0.1", None));
        assert_eq!("db=admin@10.0.0.1:2222".parse(), machine(Some("db"), Some("admin"), "10.0.0.1", Some(2222)));
        assert_eq!("fd00::1".parse(), machine(None, None, "fd00::1", None));
        assert_eq!("[fd00::1]:22".parse(), machine(None, None, "fd00::1", Some(22)));
        assert_eq!("a@b@db.example.com".parse(), machine(None, Some("a@b"), "db.example.com", None));
        for wrong in [
            "",
            "=10.0.0.1",
            "@10.0.0.1",
            "db=",
            "root@",
            ":22",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:70000",
            "[::1",
            "[::1]22",
        ] {
            assert!(wrong.parse::<Machine>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_machines_get_the_same_name() {
        assert_eq!(init(&["10.0.0.1", "n1=10.0.0.2", "10.0.0.3"], 1).names(), ["n2", "n1", "n3"]);
        assert_eq!(init(&["Web.example.com"], 1).names(), ["web"]);
    }

    #[test]
    fn a_user_of_all_is_written_once() {
        let text = init(&["admin@10.0.0.1", "admin@10.0.0.2:2222"], 1).text().ok().unwrap();
        assert!(text.contains("ssh:\n  user: admin\nhosts:\n") && text.contains("    ssh: {port: 2222}\n"), "{text}");
        let text = init(&["admin@10.0.0.1", "10.0.0.2"], 1).text().ok().unwrap();
        assert!(text.contains("    ssh: {user: admin}\n") && !text.contains("\nssh:"), "{text}");
    }

    #[test]
    fn control_planes_without_workers_run_pods() {
        let roles = |text: &str| {
            text.lines().filter(|line| line.contains("roles")).map(str::trim).map(String::from).collect::<Vec<_>>()
        };
        let text = init(&["10.0.0.1", "10.0.0.2"], 1).text().ok().unwrap();
        assert_eq!(roles(&text), ["roles: [control-plane]", "roles: [worker]"]);
        let text = init(&["10.0.0.1"], 1).text().ok().unwrap();
        assert_eq!(roles(&text), ["roles: [control-plane, worker]"]);
    }

    #[test]
    fn what_makes_no_inventory_is_refused() {
        let cause = |init: Init| match init.text() {
            Err(Problem::Usage(failure)) => (failure.cause, failure.evidence),
            _ => (Text::default(), Vec::new()),
        };
        assert_eq!(cause(init(&["10.0.0.1"], 3)).0, "--control-planes is 3, but the arguments name 1 machine");
        let (cause, evidence) = cause(init(&["10.0.0.1", "10.0.0.1"], 1));
        assert_eq!(cause, "the arguments do not make an inventory");
        assert!(evidence[0].to_string().starts_with("hosts[1].address: "), "{evidence:?}");
    }
}
