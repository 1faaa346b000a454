# shellcheck shell=bash
# What a host shows of Kubernetes: files, links, packet filter, pods, images, units. The same before each measurement.
set -euo pipefail
{
  for dir in /etc/kubernetes /var/lib/etcd /var/lib/kubelet /var/lib/cni /etc/cni /run/flannel /run/netns /opt/cni /usr/local/bin; do
    # Packages make some of these, and leave them empty.
    find "$dir" -mindepth 1 -not -type d -printf 'file %p\n' 2>/dev/null || true
  done
  ip -brief link | awk '{ sub(/@.*/, "", $1); print "link", $1 }'
  for program in iptables ip6tables; do
    "$program-save" 2>/dev/null | grep -E '^(-A|:(KUBE|FLANNEL|CNI))' | sed "s/^/$program /" || true
  done
  awk '{ print "mount", $2 }' /proc/mounts | grep -E '/(kubelet|containerd|netns)/' || true
  crictl pods -q 2>/dev/null | sed 's/^/pod /'
  crictl images -q 2>/dev/null | sed 's/^/image /'
  pgrep -lx 'kubelet|etcd|kube-.*|coredns|flanneld|containerd-shim.*|containerd' | cut -d' ' -f2 | sed 's/^/process /' || true
} | sort
