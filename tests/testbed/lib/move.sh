# shellcheck shell=bash
# What a lab serves, moved on as the world moves: a newer package in the repository, another image behind a tag. The cache stays as it is.

# served: the lab's own view of the artifacts, made of links into the cache.
served() {
  local storage part
  mkdir -p "$LAB/served/repo"
  ln -sfn "$(artifact mirror)/debian" "$LAB/served/repo/debian"
  if is_online; then return; fi
  storage=$(artifact images)/storage/docker/registry/v2
  mkdir -p "$LAB/served/storage/docker/registry/v2"
  ln -sfn "$storage/blobs" "$LAB/served/storage/docker/registry/v2/blobs"
  rm -rf "$LAB/served/storage/docker/registry/v2/repositories" "$LAB/served/moved"
  # Only names and digests: the images themselves are blobs.
  cp -r "$storage/repositories" "$LAB/served/storage/docker/registry/v2/"
  for part in "$(artifact repo)"/*; do ln -sfn "$part" "$LAB/served/repo/${part##*/}"; done
}

move_verb() {
  local verb=${1-}
  [[ $# == 0 ]] || shift
  need_root
  lock_lab
  need_lab
  ! is_online || die "move: lab $LAB_NAME was made with --online, and serves neither packages nor images"
  case $verb in
  package) [[ $# == 1 ]] || die "move package: which one?"; publish "$1" ;;
  image) [[ $# == 2 ]] || die "move image: takes a NAME:TAG and the one that it becomes"; retag "$1" "$2" ;;
  back) served ;;
  *) die "move: takes package, image or back" ;;
  esac
}

# publish PACKAGE: the Kubernetes repository has it under a higher version, too.
publish() {
  local moved=$LAB/served/moved deb version
  local -a found=("$(artifact repo)/kubernetes/$1"_*.deb)
  deb=${found[0]}
  [[ -f $deb ]] || die "the repository has no $1"
  version=$(dpkg-deb -f "$deb" Version)+1
  rm -rf "$moved"
  mkdir -p "$moved/kubernetes" "$moved/work"
  ln -s "$(artifact repo)/kubernetes"/*.deb "$moved/kubernetes/"
  cp "$(artifact repo)/kubernetes/Release.key" "$moved/kubernetes/"
  dpkg-deb -R "$deb" "$moved/tree"
  sed -i "s/^Version: .*/Version: $version/" "$moved/tree/DEBIAN/control"
  dpkg-deb -Zzstd -z1 --root-owner-group -b "$moved/tree" "$moved/kubernetes/$1_${version}_amd64.deb" >/dev/null
  rm -rf "$moved/tree"
  (
    # shellcheck disable=SC2034 # the functions of the next file read it
    WORK=$moved/work
    # shellcheck source-path=SCRIPTDIR source=../build/signed.sh
    . "$TESTBED/build/signed.sh"
    flat "$moved/kubernetes" moved "isv:kubernetes:core:stable:v${K8S_VERSION%.*}"
  )
  gpgconf --homedir "$CACHE/gpg" --kill all
  ln -sfn "$moved/kubernetes" "$LAB/served/repo/kubernetes"
  echo "$version"
}

# retag NAME:TAG OTHER:TAG: the first name now means the second's image.
retag() {
  local repositories=$LAB/served/storage/docker/registry/v2/repositories digest revision
  local tag=$repositories/${1%:*}/_manifests/tags/${1##*:} other=$repositories/${2%:*}/_manifests/tags/${2##*:}
  [[ -d $tag && -d $other ]] || die "the registry has no $1 or no $2"
  digest=$(<"$other/current/link")
  revision=$repositories/${1%:*}/_manifests/revisions/sha256/${digest#sha256:}
  mkdir -p "$revision" "$tag/index/sha256/${digest#sha256:}"
  printf %s "$digest" | tee "$revision/link" "$tag/index/sha256/${digest#sha256:}/link" >"$tag/current/link"
  echo "$digest"
}
