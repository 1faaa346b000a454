use super::*;

const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 703677300   41619    0    0    0     0          0         0  3377384   31300    0    0    0     0       0          0
";
const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.0.2.0/24 2 0 2
        +-- 192.0.2.0/30 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
  +-- 0.0.0.0/0 3 0 5
           |-- 192.0.2.2
              /32 host LOCAL
";
const IF_INET6: &str = "\
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
fd000000000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
";
const IPV6_ROUTE: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001     eth0
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn route(destination: &str, device: &str) -> Route {
    Route { destination: net(destination), device: device.into() }
}

/// /proc/net/route of `device destination/length gateway metric` lines.
fn routes(lines: &[(&str, &str, &str, u32)]) -> String {
    let hex = |address: Ipv4Addr| format!("{:08X}", u32::from_le_bytes(address.octets()));
    let mut text = String::from("Iface\tDestination\n");
    for (device, destination, gateway, metric) in lines {
        let destination: Ipv4Net = destination.parse().unwrap();
        let gateway: Ipv4Addr = gateway.parse().unwrap();
        let flags = if gateway.is_unspecified() { 1 } else { 3 };
        let (network, gateway, mask) = (hex(destination.addr()), hex(gateway), hex(destination.netmask()));
        text += &format!("{device}\t{network}\t{gateway}\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n");
    }
    text
}

fn dev(names: &[&str]) -> String {
    let lines: String = names.iter().map(|name| format!("{name:>6}: 0 0\n")).collect();
    format!("Inter-| Receive\n face |bytes\n{lines}")
}

fn trie(addresses: &[&str]) -> String {
    addresses.iter().map(|address| format!("  |-- {address}\n     /32 host LOCAL\n")).collect()
}

#[test]
fn a_plain_host() {
    let files = Files {
        dev: DEV.into(),
        route: ROUTE.into(),
        fib_trie: FIB_TRIE.into(),
        if_inet6: IF_INET6.into(),
        ipv6_route: IPV6_ROUTE.into(),
    };
    let interface = |name: &str, addresses: &[&str], is_up| Interface {
        name: name.into(),
        addresses: addresses.iter().map(|address| net(address)).collect(),
        is_up,
    };
    let expected = Network {
        interfaces: vec![
            interface("lo", &["127.0.0.1/8", "::1/128"], true),
            interface("ifb0", &[], false),
            interface("eth0", &["192.0.2.2/24", "fe80::fc:ff:fe00:1/64", "fd00::2/64"], true),
        ],
        unplaced_addresses: vec![],
        routes: vec![route("192.0.2.0/24", "eth0"), route("fd00::/64", "eth0")],
        default_route: Some("eth0".into()),
    };
    assert_eq!(files.network(), expected);
}

#[test]
fn a_node_with_flannel() {
    let files = Files {
        dev: dev(&["lo", "eth0", "flannel.1", "cni0", "veth12ab", "veth34cd"]),
        route: routes(&[
            ("eth0", "10.77.0.0/24", "0.0.0.0", 0),
            ("flannel.1", "10.244.0.0/24", "10.244.0.0", 0),
            ("cni0", "10.244.1.0/24", "0.0.0.0", 0),
        ]),
        fib_trie: trie(&["127.0.0.1", "10.77.0.12", "10.244.1.1"]),
        ..Files::default()
    };
    let network = files.network();
    let names: Vec<_> = network.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["lo", "eth0", "flannel.1", "cni0"]);
    assert_eq!(network.interfaces[3].addresses, [net("10.244.1.1/24")]);
    assert_eq!(network.routes.len(), 3);
    assert_eq!(network.default_route, None);
}

#[test]
fn an_address_without_a_network_goes_to_the_only_device_without_another() {
    // As on clouds that hand out single addresses: the gateway alone is on the link.
    let mut files = Files {
        dev: dev(&["lo", "ens4"]),
        route: routes(&[("ens4", "0.0.0.0/0", "10.128.0.1", 100), ("ens4", "10.128.0.1/32", "0.0.0.0", 100)]),
        fib_trie: trie(&["127.0.0.1", "10.128.0.2"]),
        ..Files::default()
    };
    let network = files.network();
    assert_eq!(network.interfaces[1].addresses, [net("10.128.0.2/32")]);
    assert_eq!(network.unplaced_addresses, Vec::<IpAddr>::new());

    files.dev = dev(&["lo", "ens4", "ens5"]);
    let network = files.network();
    assert_eq!(network.unplaced_addresses, ["10.128.0.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn the_smallest_network_and_the_lowest_metric_win() {
    let files = Files {
        dev: dev(&["lo", "eth0", "eth1", "wlan0"]),
        route: routes(&[
            ("wlan0", "0.0.0.0/0", "192.168.1.1", 600),
            ("eth0", "0.0.0.0/0", "192.168.1.1", 100),
            ("eth0", "192.168.1.0/24", "0.0.0.0", 100),
            ("wlan0", "192.168.1.0/24", "0.0.0.0", 600),
            ("eth0", "10.0.0.0/8", "0.0.0.0", 0),
            ("eth1", "10.1.0.0/16", "0.0.0.0", 0),
        ]),
        fib_trie: trie(&["10.1.2.3", "192.168.1.5"]),
        ..Files::default()
    };
    let network = files.network();
    assert_eq!(network.default_route.as_deref(), Some("eth0"));
    assert_eq!(network.interfaces[1].addresses, [net("192.168.1.5/24")]);
    assert_eq!(network.interfaces[2].addresses, [net("10.1.2.3/16")]);
}

#[test]
fn routes_that_refuse_or_are_down() {
    let text = "Iface\tDestination\n*\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0\n\
                eth9\t0000010A\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                *\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n";
    let network = Files { route: text.into(), fib_trie: trie(&["10.0.0.1"]), ..Files::default() }.network();
    assert_eq!(network.routes, [route("10.0.0.0/8", "*")]);
    assert_eq!(network.default_route, None);
    assert_eq!(network.unplaced_addresses.len(), 1);
}

#[test]
fn listeners_and_their_ports() {
    let tcp = "  sl  local_address rem_address   st tx_queue rx_queue\n\
               \x20  0: 0100007F:2811 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n\
               \x20  1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n\
               \x20  2: 0B004D0A:192B 0B004D0A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n";
    assert_eq!(listening(tcp), [22, 10257].into());
    let tcp6 = "  sl  local_address\n   0: 00000000000000000000000000000000:192B 00000000000000000000000000000000:0000 0A 0 0\n";
    assert_eq!(listening(tcp6), [6443].into());
    assert_eq!(listening(""), BTreeSet::new());

    let ss = "LISTEN 0      4096       127.0.0.1:10257      0.0.0.0:*    users:((\"kube-controller\",pid=812,fd=3))\n\
              LISTEN 0      4096               *:6443             *:*    users:((\"kube-apiserver\",pid=799,fd=3))\n\
              LISTEN 0      4096   10.77.0.11:2379       0.0.0.0:*\n";
    let expected = |port, process: Option<&str>| Listener { port, process: process.map(String::from) };
    assert_eq!(
        listeners(&[2379, 6443, 10250, 10257].into(), ss),
        [
            expected(2379, None),
            expected(6443, Some("kube-apiserver")),
            expected(10250, None),
            expected(10257, Some("kube-controller")),
        ]
    );
}
