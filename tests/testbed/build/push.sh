# shellcheck shell=bash
# Run by build/images inside an empty network namespace: fills $OUT/storage through a registry on loopback.
set -euo pipefail
ip link set lo up
cat >registry.yml <<Y
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $OUT/storage}}
http: {addr: 127.0.0.1:5000}
Y
"$ART_TOOLS/docker-registry" serve registry.yml &
trap 'kill %1' EXIT
until (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null; do
  kill -0 %1
  sleep 0.05
done
while read -r image; do
  skopeo copy --quiet --insecure-policy --dest-tls-verify=false "oci:oci:$image" "docker://127.0.0.1:5000/$image"
done <images.list
cp images.list "$OUT/images.list"
