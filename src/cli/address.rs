//! Chooses this machine's address for `init` and `join`, if neither a flag nor a file gives it. The choice is a pure function.
//!
//! kubeadm uses the address of the default route. In a virtual machine, that may be the address of the hypervisor's NAT, which the
//! other virtual machines have, too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use ipnet::Ipv4Net;

use crate::facts::{Interface, NetworkFiles};
use crate::inventory::API_PORT;
use crate::pki::endpoint_url;
use crate::preflight::is_pod_network;

use super::Global;
use super::exit::{Problem, remark};

const FLAG: &str = "--apiserver-advertise-address";
const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// Interfaces that container engines and hypervisors create for their own guests, by the start of their names.
const FOR_GUESTS: [&str; 5] = ["lo", "docker", "br-", "virbr", "vbox"];

/// An address, and the reason for the choice.
#[derive(Debug, PartialEq)]
pub struct Chosen {
    pub address: IpAddr,
    why: String,
}

impl Chosen {
    /// Prints the address and the reason, in one line.
    pub fn tell(&self, global: &Global) {
        if !global.quiet && !matches!(global.output, super::Output::Json) {
            remark(self.line());
        }
    }

    fn line(&self) -> String {
        format!("this machine's address is {}: {}", self.address, self.why)
    }
}

/// A virtual machine's NAT, with addresses that other machines cannot use, or that belong to the tool.
struct Nat {
    network: &'static str,
    gateway: &'static str,
    name: &'static str,
    /// Whether every machine has the same address.
    is_same: bool,
}

/// kboot knows a NAT by its address and gateway, because a real network may have the same addresses.
const NATS: [Nat; 2] = [
    Nat { network: "10.0.2.15/32", gateway: "10.0.2.2", name: "the NAT of VirtualBox and QEMU", is_same: true },
    Nat { network: "192.168.121.0/24", gateway: "192.168.121.1", name: "the NAT of vagrant-libvirt", is_same: false },
];

/// The facts about this machine that decide the choice.
struct Machine {
    interfaces: Vec<Interface>,
    /// The default route's gateway.
    gateway: Option<Ipv4Addr>,
    /// The source address of the default route.
    default: Option<IpAddr>,
    /// The API server to join, and the source address of the route to it.
    server: Option<(String, IpAddr)>,
    /// The address in the kubelet's flags.
    own: Option<IpAddr>,
}

/// The address of this machine. To join a cluster: the address from which it reaches the API server at `endpoint`.
pub fn choose(endpoint: Option<&str>) -> Result<Chosen, Problem> {
    Machine::here(endpoint).choose()
}

impl Machine {
    fn here(endpoint: Option<&str>) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let route = text("/proc/net/route");
        let gateway = gateway(&route);
        let files = NetworkFiles {
            dev: text("/proc/net/dev"),
            fib_trie: text("/proc/net/fib_trie"),
            route,
            ..NetworkFiles::default()
        };
        let server = endpoint.and_then(|endpoint| Some((endpoint.to_owned(), source(&reach(endpoint)?)?)));
        Self {
            interfaces: files.network().interfaces,
            gateway,
            default: source(&SocketAddr::from(([192, 0, 2, 1], 9))),
            server,
            own: node_ip(&text(KUBELET_FLAGS)).filter(|address| is_here(*address)),
        }
    }

    fn choose(&self) -> Result<Chosen, Problem> {
        if let Some(address) = self.own {
            return Ok(Chosen { address, why: "the node has it already".into() });
        }
        let (address, why) = match (&self.server, self.default) {
            (Some((server, address)), _) => (*address, format!("it reaches {server} from there")),
            (None, Some(address)) => (address, "the default route's".to_owned()),
            (None, None) => {
                return Err(Problem::usage("this machine has no default route, so its address can't be told")
                    .hint(format!("give it: {FLAG} IP")));
            }
        };
        let Some(nat) = NATS.iter().find(|nat| nat.has(address, self.gateway)) else {
            return Ok(Chosen { address, why });
        };
        let others = self.others(address);
        match others.as_slice() {
            [(other, device)] => Ok(Chosen {
                address: *other,
                why: format!("{device}'s, for {address}, the default route's, is of {}{}", nat.name, nat.same()),
            }),
            [] if nat.is_same => {
                let why =
                    format!("there is no other; it is of {}{}, so no other machine can join", nat.name, nat.same());
                Ok(Chosen { address, why })
            }
            [_, _, ..] if nat.is_same => Err(Problem::usage(format!(
                "{address}, the default route's address, is of {}{}, and this machine has several others",
                nat.name,
                nat.same()
            ))
            .hint(format!("choose one of {}: {FLAG} IP", listed(&others)))),
            _ => Ok(Chosen { address, why }),
        }
    }

    /// The other IPv4 addresses at which machines may reach this one.
    fn others(&self, but: IpAddr) -> Vec<(IpAddr, &str)> {
        let is_for_others = |interface: &&Interface| {
            !is_pod_network(&interface.name) && !FOR_GUESTS.iter().any(|prefix| interface.name.starts_with(prefix))
        };
        let is_candidate = |address: &IpAddr| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && *address != but,
            IpAddr::V6(_) => false,
        };
        let of = |interface: &Interface| interface.addresses.iter().map(ipnet::IpNet::addr).collect::<Vec<_>>();
        let found = self.interfaces.iter().filter(is_for_others);
        found
            .flat_map(|it| of(it).into_iter().filter(is_candidate).map(move |address| (address, it.name.as_str())))
            .collect()
    }
}

impl Nat {
    fn has(&self, address: IpAddr, gateway: Option<Ipv4Addr>) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let network: Ipv4Net = self.network.parse().expect("a network that is written here");
        network.contains(&address) && gateway.is_some_and(|gateway| gateway.to_string() == self.gateway)
    }

    fn same(&self) -> &'static str {
        if self.is_same { ", the same on every machine" } else { "" }
    }
}

fn listed(addresses: &[(IpAddr, &str)]) -> String {
    addresses.iter().map(|(address, device)| format!("{address} ({device})")).collect::<Vec<_>>().join(", ")
}

/// The address from which the kernel would send to `to`. Connecting a UDP socket sends nothing: the kernel only chooses the route.
fn source(to: &SocketAddr) -> Option<IpAddr> {
    let any = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    let local = socket.connect(to).and_then(|()| socket.local_addr()).ok()?;
    (!local.ip().is_loopback()).then_some(local.ip())
}

/// The address of an API server; None if its name does not resolve. The first request to it reports that.
fn reach(endpoint: &str) -> Option<SocketAddr> {
    let url = endpoint_url(endpoint, API_PORT).ok()?;
    url.trim_start_matches("https://").trim_end_matches('/').to_socket_addrs().ok()?.next()
}

/// Whether an address is this machine's: only then can a socket be bound to it.
pub fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The gateway of the default route with the lowest metric. /proc/net/route: `device destination gateway flags refcnt use metric mask
/// …`, addresses in hexadecimal, the lowest byte first.
fn gateway(route: &str) -> Option<Ipv4Addr> {
    let default = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "00000000", gateway, _, _, _, metric, "00000000", ..] = fields[..] else { return None };
        let bits = u32::from_str_radix(gateway, 16).ok().filter(|bits| *bits != 0)?;
        Some((metric.parse::<u32>().ok()?, Ipv4Addr::from(bits.to_le_bytes())))
    };
    route.lines().skip(1).filter_map(default).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// `--node-ip` of kubeadm-flags.env.
fn node_ip(flags: &str) -> Option<IpAddr> {
    let (_, rest) = flags.split_once("--node-ip=")?;
    rest.split([' ', '"', '\n']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// /proc/net/route of a Vagrant machine with VirtualBox.
    const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
        eth1\t0038A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    fn interface(name: &str, address: &str) -> Interface {
        Interface { name: name.into(), addresses: vec![address.parse().unwrap()], is_up: true }
    }

    /// A machine with NAT at eth0 and a private network at eth1.
    fn machine() -> Machine {
        Machine {
            interfaces: vec![
                interface("lo", "127.0.0.1/8"),
                interface("eth0", "10.0.2.15/24"),
                interface("eth1", "192.168.56.11/24"),
                interface("docker0", "172.17.0.1/16"),
                interface("cni0", "10.244.0.1/24"),
            ],
            gateway: gateway(ROUTE),
            default: Some("10.0.2.15".parse().unwrap()),
            server: None,
            own: None,
        }
    }

    fn said(machine: &Machine) -> String {
        match machine.choose() {
            Ok(chosen) => chosen.line(),
            Err(Problem::Usage(failure)) => {
                format!("error: {}; hint: {}", failure.cause, failure.hint.unwrap())
            }
            Err(_) => "another error".into(),
        }
    }

    #[test]
    fn the_private_address_counts_before_that_of_a_nat() {
        assert_eq!(
            said(&machine()),
            "this machine's address is 192.168.56.11: eth1's, for 10.0.2.15, the default route's, is of the NAT of VirtualBox and \
             QEMU, the same on every machine"
        );
        let mut libvirt = machine();
        libvirt.interfaces[1] = interface("ens5", "192.168.121.37/24");
        libvirt.gateway = Some("192.168.121.1".parse().unwrap());
        libvirt.default = Some("192.168.121.37".parse().unwrap());
        assert_eq!(
            said(&libvirt),
            "this machine's address is 192.168.56.11: eth1's, for 192.168.121.37, the default route's, is of the NAT of \
             vagrant-libvirt"
        );
        // libvirt's machines also reach each other at the NAT's addresses. These work if the private address is ambiguous.
        libvirt.interfaces.push(interface("eth2", "192.168.57.11/24"));
        assert_eq!(said(&libvirt), "this machine's address is 192.168.121.37: the default route's");
    }

    #[test]
    fn a_real_network_with_the_same_addresses_is_no_nat() {
        let mut cloud = machine();
        cloud.gateway = Some("10.0.2.1".parse().unwrap());
        assert_eq!(said(&cloud), "this machine's address is 10.0.2.15: the default route's");
        cloud.default = Some("10.0.2.37".parse().unwrap());
        cloud.gateway = Some("10.0.2.2".parse().unwrap());
        assert_eq!(said(&cloud), "this machine's address is 10.0.2.37: the default route's");
    }

    #[test]
    fn several_private_addresses_are_the_user_s_to_choose_from() {
        let mut machine = machine();
        machine.interfaces.push(interface("eth2", "192.168.57.11/24"));
        assert_eq!(
            said(&machine),
            "error: 10.0.2.15, the default route's address, is of the NAT of VirtualBox and QEMU, the same on every machine, and this \
             machine has several others; hint: choose one of 192.168.56.11 (eth1), 192.168.57.11 (eth2): \
             --apiserver-advertise-address IP"
        );
    }

    #[test]
    fn the_nat_s_own_address_is_taken_with_a_word_where_there_is_no_other() {
        let mut machine = machine();
        machine.interfaces.remove(2);
        assert_eq!(
            said(&machine),
            "this machine's address is 10.0.2.15: there is no other; it is of the NAT of VirtualBox and QEMU, the same on every \
             machine, so no other machine can join"
        );
    }

    #[test]
    fn a_machine_that_joins_takes_the_address_from_which_it_reaches_the_server() {
        let mut machine = machine();
        machine.interfaces.push(interface("eth2", "192.168.57.11/24"));
        machine.server = Some(("192.168.57.10:6443".into(), "192.168.57.11".parse().unwrap()));
        assert_eq!(said(&machine), "this machine's address is 192.168.57.11: it reaches 192.168.57.10:6443 from there");
        // The route to a server outside of the NAT says nothing about the machines' own network.
        machine.interfaces.pop();
        machine.server = Some(("api.example.com".into(), "10.0.2.15".parse().unwrap()));
        assert!(said(&machine).starts_with("this machine's address is 192.168.56.11: eth1's"), "{}", said(&machine));
    }

    #[test]
    fn a_node_keeps_its_address() {
        let flags = "KUBELET_KUBEADM_ARGS=\"--node-ip=192.168.57.11 --v=2\"\n";
        assert_eq!(node_ip(flags), Some("192.168.57.11".parse().unwrap()));
        assert_eq!(node_ip("KUBELET_KUBEADM_ARGS=\"--v=2\"\n"), None);
        let machine = Machine { own: node_ip(flags), ..machine() };
        assert_eq!(said(&machine), "this machine's address is 192.168.57.11: the node has it already");
    }

    #[test]
    fn without_a_default_route_it_is_asked_for() {
        let machine = Machine { default: None, gateway: None, ..machine() };
        assert_eq!(
            said(&machine),
            "error: this machine has no default route, so its address can't be told; hint: give it: \
             --apiserver-advertise-address IP"
        );
    }

    #[test]
    fn the_gateway_is_that_of_the_route_that_counts() {
        assert_eq!(gateway(ROUTE), Some(Ipv4Addr::new(10, 0, 2, 2)));
        let better = format!("{ROUTE}eth2\t00000000\t0139A8C0\t0003\t0\t0\t10\t00000000\t0\t0\t0\n");
        assert_eq!(gateway(&better), Some(Ipv4Addr::new(192, 168, 57, 1)));
        assert_eq!(gateway("Iface\n"), None);
    }

    #[test]
    fn an_endpoint_is_an_address_with_or_without_a_port() {
        assert_eq!(reach("192.0.2.1"), Some("192.0.2.1:6443".parse().unwrap()));
        assert_eq!(reach("192.0.2.1:8443"), Some("192.0.2.1:8443".parse().unwrap()));
        assert_eq!(reach("[2001:db8::1]:8443"), Some("[2001:db8::1]:8443".parse().unwrap()));
        assert_eq!(reach("no such name"), None);
    }
}
