# shellcheck shell=bash
# The lab's network: a bridge in a namespace of its own, and a namespace a host with one cable to that bridge.
# There is no way out: hosts reach the controller's address and each other. Nothing appears in the machine's own namespace.

host_address() { echo "10.77.0.$((10 + ${1#n}))"; }
host_netns() { echo "$NETNS.$1"; }

netns_exists() { ip netns list | grep -qE "^$1( |\$)"; }

net_up() {
  netns_exists "$NETNS" || ip netns add "$NETNS"
  ip -n "$NETNS" link set lo up
  ip -n "$NETNS" link add br0 type bridge forward_delay 0
  ip -n "$NETNS" addr add "$GATEWAY/24" dev br0
  ip -n "$NETNS" link set br0 up
  ip netns exec "$NETNS" sysctl -qw net.ipv4.ip_forward=0
}

# A boot starts with fresh links, routes and rules, as on a machine, so the namespace is made anew each time.
net_host_up() {
  local host=$1 ns
  ns=$(host_netns "$host")
  net_host_down "$host"
  ip netns add "$ns"
  # A fixed hardware address keeps the neighbours' caches right across a power cycle.
  ip -n "$NETNS" link add "v-$host" type veth peer name eth0 address "02:6b:62:74:00:$(printf %02x "${host#n}")" netns "$ns"
  ip -n "$NETNS" link set "v-$host" master br0 up
  ip -n "$ns" link set lo up
  ip -n "$ns" addr add "$(host_address "$host")/24" broadcast + dev eth0
  ip -n "$ns" link set eth0 up
  ip -n "$ns" route add default via "$GATEWAY"
}

net_host_down() {
  local ns
  ns=$(host_netns "$1")
  # The kernel takes a namespace apart in its own time; the link's name must be free at once.
  ip -n "$NETNS" link del "v-$1" 2>/dev/null || true
  ! netns_exists "$ns" || ip netns del "$ns"
}

net_down() {
  local ns
  for ns in $(ip netns list | awk '{ print $1 }' | grep -E "^$NETNS(\.n[0-9]+)?\$" | sort -r); do ip netns del "$ns"; done
}
