# shellcheck shell=bash
# What this machine must have: the only list of it. `tests/setup` installs by it, the testbed checks by it, README prints it.

# program, or a library that the compiler finds; its Debian package; what needs it. Debian's essential packages are left out.
#   build  the binary            lint, unit  those targets of make      testbed  labs and the artifacts that they are made from
#   e2e    end-to-end tests      bench       make bench                 fresh    make test-fresh
#   vagrant make vagrant-test    dist        make dist                  dist-test make dist-test
NEEDS='
cc             gcc                 build testbed
libc.a         libc6-dev           build testbed
shellcheck     shellcheck          lint
ssh-keygen     openssh-client      unit testbed e2e
ssh-agent      openssh-client      unit
ssh            openssh-client      testbed e2e
scp            openssh-client      e2e
sshd           openssh-server      unit
apt-ftparchive apt-utils           testbed
gpg            gnupg               testbed
gpgconf        gnupg               testbed
ip             iproute2            testbed e2e
mmdebstrap     mmdebstrap          testbed fresh dist-test
modprobe       kmod                testbed
skopeo         skopeo              testbed e2e
sysctl         procps              testbed
systemd-nspawn systemd-container   testbed
zstd           zstd                testbed
nft            nftables            e2e
strip          binutils            e2e
/etc/ssl/certs/ca-certificates.crt ca-certificates e2e
/usr/bin/time  time                bench
git            git                 fresh dist
rpm            rpm                 dist-test
vagrant        vagrant             vagrant
/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json vagrant-libvirt vagrant
libvirtd       libvirt-daemon-system vagrant
virsh          libvirt-clients     vagrant
dnsmasq        dnsmasq-base        vagrant
qemu-system-x86_64 qemu-system-x86 vagrant
qemu-img       qemu-utils          vagrant
bsdtar         libarchive-tools    vagrant
openssl        openssl             vagrant
'

NEEDS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# has PROGRAM: administrators' programs are not on everybody's path.
has() {
  case $1 in
  /*) [[ -e $1 ]] ;;
  *.a) [[ $(cc -print-file-name="$1" 2>/dev/null) == /* ]] ;;
  *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

# missing_packages USE…: what is not there of what these need.
missing_packages() {
  local program package uses use
  while read -r program package uses; do
    [[ -n $program ]] || continue
    for use in "$@"; do
      if [[ " $uses " == *" $use "* ]]; then has "$program" || echo "$package"; break; fi
    done
  done <<<"$NEEDS" | sort -u
}

# A lab needs root and Debian's tools. Where they are not to be had, the end-to-end tests are skipped.
can_have_labs() { [[ $EUID == 0 ]] && command -v apt-get >/dev/null; }

# too_old FOUND OLDEST
too_old() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n1) != "$2" ]]; }

oldest_rust() { sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$NEEDS_DIR/../Cargo.toml"; }

# Each prints what is wrong, in one line, or nothing.
rust_fault() {
  local oldest found
  oldest=$(oldest_rust)
  found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
  if [[ -z $found ]] || ! command -v cargo >/dev/null; then
    echo "there is no Rust on PATH; kboot needs $oldest or newer: https://rustup.rs"
  elif too_old "$found" "$oldest"; then
    echo "Rust $found is too old; kboot needs $oldest or newer: rustup update stable"
  fi
}
rust_lint_fault() {
  cargo fmt --version >/dev/null 2>&1 || { echo "Rust lacks rustfmt: rustup component add rustfmt"; return; }
  cargo clippy --version >/dev/null 2>&1 || echo "Rust lacks clippy: rustup component add clippy"
}
go_fault() {
  local oldest found
  oldest=$(sed -n 's/.*\\ngo \([0-9]*\.[0-9]*\).*/\1/p' "$NEEDS_DIR/testbed/build/go.sh")
  # Elsewhere than in a module, which may ask for another version.
  found=$(cd / && go env GOVERSION 2>/dev/null) || true
  if [[ -z $found ]]; then
    echo "there is no Go on PATH; the testbed builds Kubernetes with Go $oldest or newer: https://go.dev/dl"
  elif too_old "${found#go}" "$oldest"; then
    echo "Go ${found#go} is too old; the testbed builds Kubernetes with $oldest or newer: https://go.dev/dl"
  fi
}
fuzz_fault() {
  if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "there is no nightly Rust, which fuzzing needs: rustup toolchain install nightly"
  elif ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"
  elif ! command -v c++ >/dev/null; then
    echo "there is no C++ compiler, which libFuzzer is built with: apt-get install g++"
  fi
}
