# shellcheck shell=bash
# What is measured: each side of each benchmark, from its first command until host/ready.sh agrees.

TOKEN=abcdef.0123456789abcdef
CERTIFICATE_KEY=$(printf 'ab%.0s' {1..32})
KUBEADM_FLAGS=--ignore-preflight-errors=SystemVerification

# timed BENCHMARK SIDE RUN COMMAND…: appends "benchmark side run seconds" to the samples.
timed() {
  local what=$1 side=$2 run=$3 started ended
  shift 3
  started=$EPOCHREALTIME
  "$@" || die "$what, $side, run $run failed: see $OUT"
  ended=$EPOCHREALTIME
  sample "$what" "$side" "$run" "$started" "$ended"
}
sample() { awk -v a="$4" -v b="$5" -v what="$1" -v side="$2" -v run="$3" 'BEGIN { printf "%s\t%s\t%s\t%.3f\n", what, side, run, b - a }' >>"$OUT/samples"; }
last_seconds() { tail -n1 "$OUT/samples" | cut -f4; }

# On the host itself, so that no login is measured: the commands, then what both sides are held to. Prints when it began and ended.
on_host() { # COMMANDS
  # shellcheck disable=SC2016
  printf '%s\n' 'set -euo pipefail' 'exec 3>&1 >/root/bench/log 2>&1 </dev/null' 'started=$EPOCHREALTIME' "$1" 'set -- n1'
  cat "$BENCH/host/ready.sh"
  # shellcheck disable=SC2016
  printf 'echo "$started $EPOCHREALTIME" >&3\n'
}
init_side() { # SIDE RUN COMMANDS
  local log=$OUT/init-$1-$2 started ended failed=
  on_host "$3" >"$log.sh"
  host_ssh n1 "cat >/root/bench/side.sh" <"$log.sh"
  host_ssh n1 bash /root/bench/side.sh >"$log.times" || failed=1
  host_ssh n1 cat /root/bench/log >"$log.log"
  [[ ! $failed ]] || die "init, $1, run $2 failed: see $log.log"
  read -r started ended <"$log.times"
  sample init "$1" "$2" "$started" "$ended"
}

init_kboot() { init_side kboot "$1" 'kboot init --config /root/bench/inventory.yaml --output json'; }
init_kubeadm() {
  init_side kubeadm "$1" "kubeadm init --config /root/bench/kubeadm.yaml $KUBEADM_FLAGS
kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f /root/bench/flannel.yaml"
}

# The controller's peak memory is written beside the log.
kboot_up() { # LOG
  /usr/bin/time -f %M -o "$1.kib" ip netns exec "$NETNS" "$KBOOT" up -i "$INVENTORY" --output json >"$1.json" 2>"$1.log"
}
all_ready() { script_on n1 ready "${HOSTS[@]}" >"$1.ready" 2>&1; }

cluster_kboot() { timed cluster kboot "$1" with_ready kboot_up "$OUT/cluster-kboot-$1"; }
cluster_kubeadm() { timed cluster kubeadm "$1" with_ready kubeadm_up "$OUT/cluster-kubeadm-$1"; }
control_planes_kboot() { timed control-planes kboot "$1" with_ready kboot_up "$OUT/control-planes-kboot-$1"; }
control_planes_kubeadm() { timed control-planes kubeadm "$1" with_ready kubeadm_up "$OUT/control-planes-kubeadm-$1"; }
with_ready() { "$1" "$2" && all_ready "$2"; }

kubeadm_up() { # LOG
  local pin upload=
  ((${#HOSTS[@]} <= 3)) || upload=--upload-certs
  pin=$(host_ssh n1 bash -euo pipefail -s 2>"$1.log" <<Y
{
  kubeadm init --config /root/bench/kubeadm.yaml $upload $KUBEADM_FLAGS
  kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f /root/bench/flannel.yaml
} >&2 </dev/null
openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1
Y
  ) || return
  on_all "kubeadm_join $1 $pin" "${HOSTS[@]:1}"
}
kubeadm_join() { # LOG PIN HOST
  local role=()
  if ((${#HOSTS[@]} > 3)) && [[ $3 == n[23] ]]; then role=(--control-plane --certificate-key "$CERTIFICATE_KEY"); fi
  root_on "$3" kubeadm join 10.77.0.11:6443 --token "$TOKEN" --discovery-token-ca-cert-hash "sha256:$2" "${role[@]}" "$KUBEADM_FLAGS" >"$1-$3.log" 2>&1
}

again_kboot() {
  timed again kboot "$1" kboot_up "$OUT/again-$1"
  # A run that had something to do would not be the one that is meant.
  ! grep -q '"event":"change-started"' "$OUT/again-$1.json" || die "the second run changed something: $OUT/again-$1.json"
}
