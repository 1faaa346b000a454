# shellcheck shell=bash
# The benchmarks' hosts: prepared once, and taken back to the very same state before each measurement.

HOSTS=()
INVENTORY=

# lab INVENTORY HOST…: bare hosts become prepared ones, once. The run that does it is the one of the bare hosts.
lab() {
  INVENTORY=$OUT/$1.yaml
  shift
  HOSTS=("$@")
  "$TESTBED/testbed" up --hosts $# --fresh
  note "$(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), load $(cut -d' ' -f1 /proc/loadavg)"
  prepare
}

# root_on HOST COMMAND: as root whoever logs in.
root_on() {
  local host=$1
  shift
  if [[ $(host_user "$host") == root ]]; then host_ssh "$host" "$@"; else host_ssh "$host" sudo "$@"; fi
}
# script_on HOST SCRIPT ARGUMENT…: a script of tests/bench/host, run as root there.
script_on() {
  local host=$1 script=$2
  shift 2
  root_on "$host" bash -s -- "$@" <"$BENCH/host/$script.sh"
}

# on_all COMMAND HOST…: the command once for each host, at the same time.
on_all() {
  local command=$1 host jobs=() job
  shift
  for host in "$@"; do
    $command "$host" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
}

prepare() {
  write_inventory
  timed "bare-${#HOSTS[@]}" kboot 1 kboot_up "$OUT/bare-${#HOSTS[@]}"
  note "${#HOSTS[@]} bare hosts became a cluster in $(last_seconds) s"
  save_flannel
  list_images
  on_all pull_images "${HOSTS[@]}"
  kboot_here
  filled | host_ssh n1 'cat >/root/bench/kubeadm.yaml'
  reset "${HOSTS[@]}"
  on_all kernel_settings "${HOSTS[@]}"
  on_all remember "${HOSTS[@]}"
}

# What kubeadm wants of the kernel and does not set itself. A module that is built in can't be loaded.
kernel_settings() {
  root_on "$1" modprobe -qa overlay br_netfilter || true
  root_on "$1" sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
}

# The first host gets what is measured there: the binary, its configuration, and the pod network's objects for kubectl.
# The hosts share this machine's disk; how full it is must not decide what the kubelets do, on either side.
KUBELET='evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100'
write_inventory() {
  {
    # Its files are beside it; its kubelet settings, which have the same reason, make room for those that kubeadm gets as well.
    sed "s|: \./|: $LAB/|g; /^kubelet:/d; /^# The disk is/d" "$LAB/inventory.yaml"
    printf 'kubelet:\n  config:\n'
    printf "    %s\n" "${KUBELET//$'\n'/$'\n    '}"
  } | if ((${#HOSTS[@]} > 3)); then with_control_planes; else cat; fi >"$INVENTORY"
}

# The first three are control planes. The first one's address is the endpoint on both sides, so that neither has a balancer to make.
with_control_planes() { sed -E "/name: n[23],/s/worker/control-plane/; s|^name: .*|&\nendpoint: $(host_address n1):6443|"; }

kboot_here() {
  host_ssh n1 mkdir -p /root/bench </dev/null
  host_ssh n1 "sed 's|$LAB/|./|g' >/root/bench/inventory.yaml" <"$INVENTORY"
  host_ssh n1 'cat >/root/bench/repo.asc' <"$LAB/repo.asc"
  host_ssh n1 'cat >/root/bench/flannel.yaml' <"$OUT/flannel.yaml"
  host_ssh n1 'cat >/usr/local/bin/kboot && chmod 755 /usr/local/bin/kboot' <"$KBOOT"
}

filled() {
  local driver=cgroupfs endpoint='' key=''
  ! unified || driver=systemd
  ((${#HOSTS[@]} <= 3)) || endpoint="controlPlaneEndpoint: $(host_address n1):6443" key="certificateKey: $CERTIFICATE_KEY"
  sed "s/@K8S_VERSION@/$K8S_VERSION/; s/@CGROUP_DRIVER@/$driver/; s/@TOKEN@/$TOKEN/; s/@ENDPOINT@/$endpoint/; s/@CERTIFICATE_KEY@/$key/" "$BENCH/kubeadm.yaml" | awk -v kubelet="$KUBELET" '/^@KUBELET@/ { print kubelet; next } { print }'
}

# The objects of the pod network as kboot made them, without what the API server keeps in them.
save_flannel() {
  {
    kubectl get -o yaml namespace/kube-flannel clusterrole/flannel clusterrolebinding/flannel
    echo ---
    kubectl -n kube-flannel get -o yaml serviceaccount/flannel configmap/kube-flannel-cfg daemonset/kube-flannel-ds
  } | sed -E '/^    (creationTimestamp|resourceVersion|uid|generation):/d' >"$OUT/flannel.yaml"
}
kubectl() { host_ssh n1 kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }

# So that no side has to pull; CoreDNS may be placed on any node.
pull_images() {
  root_on "$1" xargs -n1 crictl pull <"$OUT/images" >"$OUT/pull-$1.log" 2>&1 || die "failed to pull images on $1: $OUT/pull-$1.log"
}
list_images() {
  host_ssh n1 crictl images | awk 'NR > 1 { print $1 ":" $2 }' >"$OUT/images"
}

# reset HOST…: by kboot, whichever side made the node. Packages and images stay.
reset() {
  local hosts=() host log
  for host in "$@"; do hosts+=(--host "$host"); done
  log=$OUT/reset.log
  ip netns exec "$NETNS" "$KBOOT" reset -i "$INVENTORY" "${hosts[@]}" --yes --keep-packages --drain-timeout 0 >"$log" 2>&1 || die "the reset of $* failed: see $log"
}

remember() { script_on "$1" state >"$OUT/state-$1"; }
# Nothing of the last run may be left: what a host shows of itself is what it showed after it was prepared.
take_back() {
  reset "$@"
  on_all compare "$@"
}
compare() {
  script_on "$1" state >"$OUT/state-$1.now"
  diff -u "$OUT/state-$1" "$OUT/state-$1.now" >&2 || die "$1 is not what it was before: see above"
}
