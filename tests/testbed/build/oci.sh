# shellcheck shell=bash
# Sourced by build/images: writes images as an OCI layout (a folder of blobs named by digest, and an index) with tar and sha256sum alone.
# Everything is dated 1970, so the same contents make the same digests.

mkdir -p oci/blobs/sha256
echo '{"imageLayoutVersion":"1.0.0"}' >oci/oci-layout
manifests=()

blob() { # FILE: moves it in; prints "digest size"
  local digest size
  digest=$(sha256sum <"$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "oci/blobs/sha256/$digest"
  echo "$digest $size"
}

layer() { # FOLDER: prints "digest size diffid"
  local tar diff
  tar=$(mktemp -p .)
  tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" . >"$tar"
  diff=$(sha256sum <"$tar" | cut -d' ' -f1)
  # The tests unpack these hundreds of times, and zstd takes less processor time for that than gzip.
  zstd -q -3 -T0 --rm "$tar"
  echo "$(blob "$tar.zst") $diff"
}

busybox_layer() { # BUSYBOX: just enough for `cp`, without a C library
  local tool
  mkdir -p tiny/{bin,etc,tmp}
  chmod 1777 tiny/tmp
  printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/sbin/nologin\n' >tiny/etc/passwd
  printf 'root:x:0:\nnogroup:x:65534:\n' >tiny/etc/group
  for tool in $("$1" --list); do ln -sf busybox "tiny/bin/$tool"; done
  rm -f tiny/bin/busybox # it lists itself
  install "$1" tiny/bin/busybox
  layer tiny
}

image() { # NAME:TAG BASE-LAYER… -- SOURCE DESTINATION…      with ENTRYPOINT, and maybe ARGUMENT and OWNER, in the environment
  local name=$1 root digest size diff diffs='' layers='' config
  local -a all=()
  shift
  while [[ $1 != -- ]]; do all+=("$1"); shift; done
  shift
  root=$(mktemp -d -p .)
  chmod 755 "$root"
  mkdir -m 1777 "$root/tmp"
  while (($#)); do install -D -m755 -t "$root${2%/*}/" "$1"; shift 2; done
  all+=("$(layer "$root")")
  rm -rf "$root"
  for diff in "${all[@]}"; do
    read -r digest size diff <<<"$diff"
    diffs+=",\"sha256:$diff\""
    layers+=",{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+zstd\",\"digest\":\"sha256:$digest\",\"size\":$size}"
  done
  config=$(mktemp -p .)
  printf '{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"User":"%s","Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["%s"]%s,"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "${OWNER-}" "$ENTRYPOINT" "${ARGUMENT:+,\"Cmd\":[\"$ARGUMENT\"]}" "${diffs#,}" >"$config"
  read -r digest size < <(blob "$config")
  config=$(mktemp -p .)
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
    "$digest" "$size" "${layers#,}" >"$config"
  read -r digest size < <(blob "$config")
  manifests+=("{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$size,\"annotations\":{\"org.opencontainers.image.ref.name\":\"$name\"}}")
  (IFS=,; printf '{"schemaVersion":2,"manifests":[%s]}' "${manifests[*]}") >oci/index.json
  echo "$name" >>images.list
}
