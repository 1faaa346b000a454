# shellcheck shell=bash
# Run on a bare host, the repository's key on standard input: what kubeadm's own instructions ask of a host, by hand.
set -euo pipefail
repo=http://$1:8080 registry=http://$1:5000 version=$2
export DEBIAN_FRONTEND=noninteractive

install -d /etc/apt/keyrings
cat >/etc/apt/keyrings/testbed.asc
cat >/etc/apt/sources.list.d/testbed.sources <<Y
Types: deb
URIs: $repo/kubernetes
Suites: /
Signed-By: /etc/apt/keyrings/testbed.asc

Types: deb
URIs: $repo/docker
Suites: bookworm
Components: stable
Signed-By: /etc/apt/keyrings/testbed.asc
Y
apt-get update -q >/dev/null
apt-get install -yq "kubelet=$version" "kubeadm=$version" "kubectl=$version" containerd.io conntrack socat iptables ethtool openssl >/dev/null

for name in registry.k8s.io ghcr.io; do
  install -d "/etc/containerd/certs.d/$name"
  printf 'server = "https://%s"\n\n[host."%s"]\n  capabilities = ["pull", "resolve"]\n' "$name" "$registry" >"/etc/containerd/certs.d/$name/hosts.toml"
done
# No CAP_SYS_RESOURCE here, so scores can be raised but not lowered.
cat >/etc/containerd/config.toml <<'Y'
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.10.2"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "/etc/containerd/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
Y
systemctl restart containerd
sysctl -qw net.ipv4.ip_forward=1
