# shellcheck shell=bash
# usage: ready.sh NODE…: returns when these nodes are Ready and all of CoreDNS is available. Run after either side, so that both are held
# to the same: at once where the side has waited for it itself. kubectl watches; it does not poll.
set -euo pipefail
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl wait --for=condition=Ready node "$@" --timeout=180s
kubectl -n kube-system rollout status deployment/coredns --timeout=180s
