//! Interfaces, routes and listeners from /proc/net. Pure.
//!
//! /proc has no list of IPv4 addresses by interface: fib_trie knows the addresses, route the networks and their devices;
//! here the two are put together. IPv6's files say all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Interface, Listener, Route};
use crate::proc;

// linux/route.h and linux/ipv6_route.h
const RTF_UP: u32 = 0x1;
const RTF_GATEWAY: u32 = 0x2;
const RTF_REJECT: u32 = 0x200;
const RTF_LOCAL: u32 = 0x8000_0000;

/// The files that tell of a network namespace, each as its text.
#[derive(Debug, Default)]
pub struct Files {
    pub dev: String,
    pub route: String,
    pub fib_trie: String,
    pub if_inet6: String,
    pub ipv6_route: String,
}

/// What [`Files`] say.
#[derive(Debug, Default, PartialEq)]
pub struct Network {
    pub interfaces: Vec<Interface>,
    pub unplaced_addresses: Vec<IpAddr>,
    pub routes: Vec<Route>,
    pub default_route: Option<String>,
}

struct Entry {
    destination: IpNet,
    device: String,
    flags: u32,
    metric: u32,
}

impl Files {
    pub fn network(&self) -> Network {
        let (v4, v6) = (v4_routes(&self.route), v6_routes(&self.ipv6_route));
        let (mut addresses, unplaced_addresses) = self.place(&v4);
        for (device, address) in v6_addresses(&self.if_inet6) {
            addresses.entry(device).or_default().push(address);
        }
        let default_route = default_device(&v4).or_else(|| default_device(&v6));
        let routes: BTreeSet<_> = v4
            .into_iter()
            .chain(v6)
            .filter(|entry| entry.destination.prefix_len() > 0)
            .map(|entry| Route { destination: entry.destination, device: entry.device })
            .collect();
        let has_route = |name: &str| routes.iter().any(|route| route.device == name);
        let interfaces = proc::links(&self.dev)
            // The host's ends of pods' links have no addresses, and a node has hundreds of them.
            .filter(|name| !name.starts_with("veth") || addresses.contains_key(*name) || has_route(name))
            .map(|name| Interface {
                name: name.into(),
                addresses: addresses.get(name).cloned().unwrap_or_default(),
                is_up: has_route(name) || addresses.contains_key(name),
            })
            .collect();
        Network { interfaces, unplaced_addresses, routes: routes.into_iter().collect(), default_route }
    }

    /// Finds each IPv4 address' device: that of the smallest network on a link that holds it. Two cards in one network
    /// can't be told apart. An address of its own, without a network, belongs to the one device that has no other, if
    /// there is just one.
    fn place(&self, routes: &[Entry]) -> (BTreeMap<String, Vec<IpNet>>, Vec<IpAddr>) {
        let mut placed = BTreeMap::<String, Vec<IpNet>>::new();
        let mut alone = Vec::new();
        for address in v4_addresses(&self.fib_trie) {
            let on_link = |entry: &&Entry| {
                entry.flags & (RTF_GATEWAY | RTF_REJECT) == 0
                    && entry.destination.prefix_len() > 0
                    && entry.destination.contains(&IpAddr::V4(address))
            };
            let network = routes
                .iter()
                .filter(on_link)
                .max_by_key(|entry| (entry.destination.prefix_len(), std::cmp::Reverse(entry.metric)));
            let (device, prefix) = match network {
                _ if address.is_loopback() => ("lo", 8),
                Some(entry) => (entry.device.as_str(), entry.destination.prefix_len()),
                None => {
                    alone.push(IpAddr::V4(address));
                    continue;
                }
            };
            let address = Ipv4Net::new(address, prefix).expect("a prefix length that was parsed as one");
            placed.entry(device.into()).or_default().push(address.into());
        }
        let free: Vec<_> =
            proc::links(&self.dev).filter(|name| !name.starts_with("veth") && !placed.contains_key(*name)).collect();
        if let ([device], [_, ..]) = (free.as_slice(), alone.as_slice()) {
            placed.insert((*device).into(), alone.drain(..).map(IpNet::from).collect());
        }
        (placed, alone)
    }
}

/// The ports that something listens on, by /proc/net/tcp or tcp6.
pub fn listening(tcp: &str) -> BTreeSet<u16> {
    proc::ports(tcp, proc::LISTEN).collect()
}

/// Who holds these ports, by what `ss -Hltnp` printed.
pub fn listeners(ports: &BTreeSet<u16>, ss: &str) -> Vec<Listener> {
    let owner = |line: &str| {
        let local = line.split_whitespace().nth(3)?;
        let port: u16 = local.rsplit_once(':')?.1.parse().ok()?;
        let process = line.split_once("((\"")?.1.split_once('"')?.0;
        Some((port, process.to_owned()))
    };
    let owners: BTreeMap<_, _> = ss.lines().filter_map(owner).collect();
    ports.iter().map(|&port| Listener { port, process: owners.get(&port).cloned() }).collect()
}

/// The addresses that fib_trie calls local, without networks' and broadcasts'.
fn v4_addresses(fib_trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf);
        }
    }
    found
}

/// /proc/net/route: `device destination gateway flags refcnt use metric mask …`, addresses in hexadecimal, the lowest byte first.
fn v4_routes(text: &str) -> Vec<Entry> {
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits.to_le_bytes()));
    let entry = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [device, destination, _, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let destination = Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?.trunc();
        Some(Entry { destination: destination.into(), device: device.into(), flags, metric: metric.parse().ok()? })
    };
    text.lines().skip(1).filter_map(entry).filter(|entry| entry.flags & RTF_UP != 0).collect()
}

/// /proc/net/ipv6_route: `destination length source length gateway metric refcnt use flags device`, all but the last in hexadecimal.
fn v6_routes(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [destination, length, _, _, gateway, metric, _, _, flags, device] = fields[..] else { return None };
        let mut flags = u32::from_str_radix(flags, 16).ok()?;
        if v6_address(gateway)? != Ipv6Addr::UNSPECIFIED {
            flags |= RTF_GATEWAY;
        }
        let destination = Ipv6Net::new(v6_address(destination)?, u8::from_str_radix(length, 16).ok()?).ok()?;
        let metric = u32::from_str_radix(metric, 16).ok()?;
        Some(Entry { destination: destination.into(), device: device.into(), flags, metric })
    };
    let is_wanted = |entry: &Entry| {
        let IpAddr::V6(network) = entry.destination.addr() else { return false };
        let is_local = entry.flags & (RTF_LOCAL | RTF_REJECT) != 0 || entry.device == "lo";
        entry.flags & RTF_UP != 0 && !is_local && !network.is_multicast() && !network.is_unicast_link_local()
    };
    text.lines().filter_map(entry).filter(is_wanted).collect()
}

/// /proc/net/if_inet6: `address index length scope flags device`, all but the last in hexadecimal.
fn v6_addresses(text: &str) -> Vec<(String, IpNet)> {
    let entry = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [address, _, length, _, _, device] = fields[..] else { return None };
        let address = Ipv6Net::new(v6_address(address)?, u8::from_str_radix(length, 16).ok()?).ok()?;
        Some((device.to_owned(), address.into()))
    };
    text.lines().filter_map(entry).collect()
}

fn v6_address(hex: &str) -> Option<Ipv6Addr> {
    (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok().map(Ipv6Addr::from)).flatten()
}

fn default_device(routes: &[Entry]) -> Option<String> {
    let is_default = |entry: &&Entry| entry.destination.prefix_len() == 0 && entry.flags & RTF_REJECT == 0;
    routes.iter().filter(is_default).min_by_key(|entry| entry.metric).map(|entry| entry.device.clone())
}

#[cfg(test)]
mod tests;
