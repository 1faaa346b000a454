# shellcheck shell=bash
# A Debian root for tests that install something: tests/fresh and tests/dist.

# debian_root SUITE ROOT SCRATCH OPTION…: with mmdebstrap's options. The mirror and the proxy are those that this machine's apt uses; SCRATCH
# keeps copies of its settings.
debian_root() {
  local suite=$1 root=$2 scratch=$3 codename file
  local -a sources=() options=()
  shift 3
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
  mkdir "$scratch/sources"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    # Of other archives, the root has nothing.
    if [[ -n $codename ]] && grep -qsE "(^|\s)$codename(\s|\$)" "$file" && grep -qw main "$file"; then
      sed "s/\b$codename\b/$suite/g" "$file" >"$scratch/sources/${file##*/}"
      sources+=("$scratch/sources/${file##*/}")
    fi
  done
  apt-config dump --no-empty --format '%F "%v";%n' Acquire | grep -vE '::(IndexTargets|Languages)' >"$scratch/apt.conf"
  for file in /etc/apt/auth.conf /etc/apt/auth.conf.d; do
    [[ ! -e $file ]] || options+=(--setup-hook="copy-in $file /etc/apt")
  done
  mmdebstrap --quiet --aptopt="$scratch/apt.conf" "${options[@]}" "$@" "$suite" "$root" "${sources[@]}"
}
