# shellcheck shell=bash source-path=SCRIPTDIR
# Run by build/vagrant inside empty network and process namespaces: fills $STORE as containerd does when crictl pulls, from a registry
# on loopback.
set -euo pipefail
mount --make-rprivate /
ip link set lo up
cat >registry.yml <<Y
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $IMAGES_OF/storage}, maintenance: {readonly: {enabled: true}}}
http: {addr: 127.0.0.1:5000}
Y
mkdir -p certs.d/registry.k8s.io certs.d/ghcr.io run
for name in registry.k8s.io ghcr.io; do
  printf '[host."http://127.0.0.1:5000"]\n  capabilities = ["pull", "resolve"]\n' >"certs.d/$name/hosts.toml"
done
cat >containerd.toml <<Y
version = 3
root = "$STORE"
state = "$PWD/run"
[grpc]
  address = "$PWD/run/containerd.sock"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "$PWD/certs.d"
Y
"$ART_TOOLS/docker-registry" serve registry.yml &
"$ART_CONTAINERD/bin/containerd" --config containerd.toml --log-level warn &
runtime=$!
crictl=("$ART_PROGRAMS/crictl" --runtime-endpoint "unix://$PWD/run/containerd.sock" --image-endpoint "unix://$PWD/run/containerd.sock" --timeout 120s)
deadline=$((SECONDS + 60))
until "${crictl[@]}" images >/dev/null 2>&1 && (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null; do
  ((SECONDS < deadline)) || { echo "containerd or the registry does not answer" >&2; exit 1; }
  sleep 0.1
done
while read -r image; do
  case $image in
  flannel-io/* | testbed/*) "${crictl[@]}" pull "ghcr.io/$image" ;;
  *) "${crictl[@]}" pull "registry.k8s.io/$image" ;;
  esac
done <"$IMAGES_OF/images.list"
"${crictl[@]}" images
# Its database is whole only once it has ended.
kill "$runtime"
wait "$runtime" || true
