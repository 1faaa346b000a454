# shellcheck shell=bash
# Sourced by build/repo: indexes of a folder of .debs, and their signature with the cache's own key.

public_key() { gpg --homedir "$CACHE/gpg" --quiet --batch --armor --export; }

sign() { # FOLDER with a Release
  gpg --homedir "$CACHE/gpg" --quiet --batch --yes --clearsign -o "$1/InRelease" "$1/Release"
  gpg --homedir "$CACHE/gpg" --quiet --batch --yes --armor --detach-sign -o "$1/Release.gpg" "$1/Release"
}

release() { # FOLDER FIELD=VALUE…
  local dir=$1 option
  local -a options=()
  shift
  for option in "$@"; do options+=(-o "APT::FTPArchive::Release::$option"); done
  # Made outside the folder, else it would list itself.
  apt-ftparchive "${options[@]}" release "$dir" >"$WORK/Release"
  mv "$WORK/Release" "$dir/Release"
  sign "$dir"
}

flat() { # FOLDER ORIGIN LABEL
  (cd "$1" && apt-ftparchive packages . >Packages && gzip -9nk Packages)
  release "$1" "Origin=$2" "Label=$3" Suite=deb Codename=deb Architectures=amd64
}

suite() { # FOLDER ORIGIN LABEL SUITE CODENAME COMPONENT
  local dists=$1/dists/$5 index
  index=$dists/$6/binary-amd64
  mkdir -p "$index"
  (cd "$1" && apt-ftparchive packages "pool/$6") >"$index/Packages"
  gzip -9nk "$index/Packages"
  release "$dists" "Origin=$2" "Label=$3" "Suite=$4" "Codename=$5" Architectures=amd64 "Components=$6"
}
