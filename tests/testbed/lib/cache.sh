# shellcheck shell=bash
# The cache: one folder an artifact, named by a hash of all it is made from. A folder that is there is whole:
# it is made under another name and renamed, so a killed build is simply repeated.
#
# A build script is build/NAME. Its header says what goes into the key besides its own text:
#   # needs: other artifacts, found by the script as $ART_<NAME>, dashes as underscores
#   # uses: files or folders of the testbed
# and each variable of versions.env that its text names counts too. It finds the folder to fill in $OUT.

declare -A ART_KEY=()

# Everything a lab needs, in the order in which builds begin: the programs take longest, and what is unpacked from Debian fills their gaps.
ARTIFACTS=(tools programs base net shell mirror containerd flannel-cni debs repo images)
# A lab that is made with --upstream needs more, one with --online little.
with_upstream() { ARTIFACTS+=(servers upstream); }
with_online() { ARTIFACTS=(tools servers base mirror); }

# How long a build usually takes, on two cores with nothing cached; what is not here takes seconds.
declare -A USUAL=([programs]="9 min" [containerd]="3 min")

header() { sed -n "s/^# $2: //p" "$TESTBED/build/$1"; }

key_of() { # sets ART_KEY[NAME]
  local name=$1 need var
  [[ -z ${ART_KEY[$name]:-} ]] || return 0
  local -a needs uses
  read -ra needs <<<"$(header "$name" needs)"
  read -ra uses <<<"$(header "$name" uses)"
  for need in "${needs[@]}"; do key_of "$need"; done
  ART_KEY[$name]=$(
    cd "$TESTBED" && {
      echo "arch $(uname -m)"
      [[ -z ${KBOOT_TESTBED_QUICK-} || " ${uses[*]} " != *" build/go.sh "* ]] || echo quick
      cat "build/$name"
      grep -rhoE '\b[A-Z0-9_]+_(VERSION|REVISION|TAG|RELEASE|SUITE)\b' "build/$name" "${uses[@]}" | sort -u | while read -r var; do
        printf '%s=%s\n' "$var" "${!var-}"
      done
      for need in "${needs[@]}"; do echo "$need ${ART_KEY[$need]}"; done
      # File modes differ between clones by the umask; only what git keeps of them may count.
      [[ ${#uses[@]} == 0 ]] || tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=a+rX,u+w,go-w "${uses[@]}"
    } | sha256sum | cut -c1-16
  )
}

load_keys() {
  local name
  for name in "${ARTIFACTS[@]}"; do key_of "$name"; done
}

artifact() { # NAME: its folder, built or not
  key_of "$1"
  printf '%s/%s-%s' "$CACHE" "$1" "${ART_KEY[$1]}"
}

built() { [[ -d $(artifact "$1") ]]; }

missing_artifacts() {
  local name
  for name in "${ARTIFACTS[@]}"; do built "$name" || echo "$name"; done
}

make_artifact() {
  local name=$1 dir part need var started
  key_of "$name" # here, not in a subshell, so that it is worked out once
  dir=$(artifact "$name")
  [[ ! -d $dir ]] || return 0
  started=$(now)
  say "building $name …${USUAL[$name]:+ (usually ${USUAL[$name]})}"
  part=$dir.part
  rm -rf "$part" "$part.work"
  mkdir -p "$part" "$part.work"
  (
    export OUT=$part WORK=$part.work
    for need in $(header "$name" needs); do
      var=ART_${need^^}
      export "${var//-/_}=$(artifact "$need")"
    done
    cd "$WORK" && bash "$TESTBED/build/$name"
  ) </dev/null >"$CACHE/log/$name.log" 2>&1 || {
    tail -n 20 "$CACHE/log/$name.log" >&2
    die "failed to build $name; the whole log is $CACHE/log/$name.log"
  }
  rm -rf "$part.work"
  mv "$part" "$dir"
  say "building $name took $(since "$started")"
}

build_all() {
  mkdir -p "$CACHE/log"
  load_keys
  [[ -n $(missing_artifacts) ]] || return 0
  need_root
  require_tools
  exec {lock}>"$CACHE/lock"
  flock -n "$lock" || { say "another build is running; waiting for it"; flock "$lock"; }
  signing_key
  make_all
  exec {lock}>&-
}

# Two at a time, each as soon as what it needs is there: unpacking, linking and compressing keep one core busy.
make_all() {
  local name ended failed=
  local -a waiting later
  local -A running=()
  mapfile -t waiting < <(missing_artifacts)
  while ((${#waiting[@]} + ${#running[@]})); do
    later=()
    for name in "${waiting[@]}"; do
      if [[ -z $failed ]] && ((${#running[@]} < 2)) && needs_built "$name"; then
        make_artifact "$name" &
        running[$!]=$name
      else
        later+=("$name")
      fi
    done
    waiting=("${later[@]}")
    # What runs beside one that failed is kept for the next time.
    ((${#running[@]})) || break
    wait -n -p ended "${!running[@]}" || failed=1
    unset "running[$ended]"
  done
  [[ -z $failed ]] || exit 1
}

needs_built() {
  local need
  for need in $(header "$1" needs); do built "$need" || return 1; done
}

# The repository's signing key is made once in a cache and never leaves it but as a public key.
signing_key() {
  [[ ! -f $CACHE/gpg/done ]] || return 0
  rm -rf "$CACHE/gpg"
  install -dm700 "$CACHE/gpg"
  gpg --homedir "$CACHE/gpg" --quiet --batch --passphrase '' --quick-gen-key 'kboot testbed <testbed@kboot.invalid>' rsa3072 sign never
  gpgconf --homedir "$CACHE/gpg" --kill all
  touch "$CACHE/gpg/done"
}

# wanted_artifacts: the folders of the present versions.
wanted_artifacts() {
  local name
  for name in "${ARTIFACTS[@]}"; do artifact "$name"; echo -n " "; done
}

prune_cache() {
  local dir wanted
  wanted=" $(KBOOT_TESTBED_QUICK='' wanted_artifacts) $(KBOOT_TESTBED_QUICK=1 wanted_artifacts) "
  exec {lock}>"$CACHE/lock"
  flock -n "$lock" || die "a build is running"
  for dir in "$CACHE"/*-*/; do
    dir=${dir%/}
    [[ -d $dir && $wanted != *" $dir "* ]] || continue
    if in_use "$dir"; then say "kept $dir: a lab uses it"; continue; fi
    say "removing $dir"
    rm -rf "$dir"
  done
  exec {lock}>&-
}

# in_use DIR: some lab was made from it.
in_use() { grep -qsF "$1" "$LAB_DIR"/*/artifacts; }
