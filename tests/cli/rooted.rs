//! The binary as root, in a root folder and namespaces of its own: what it does to packages and files of others is seen there.

use std::process::{Command, Stdio};

use super::sandbox::Sandbox;

/// Builds the root folder from this machine's programs, and runs the script in it. Its first argument is a folder, its second the
/// script.
const ENTER: &str = r#"set -e
r=$1/root; mkdir "$r"; mount -t tmpfs none "$r"
mkdir -p "$r"/{usr,proc,dev,run/systemd/system,tmp,etc/apt/{sources.list.d,preferences.d},root,var/{log,tmp,cache/apt/archives/partial,lib/{apt/lists/partial,dpkg/{info,updates},kboot}}}
for l in bin sbin lib lib64; do ln -s usr/$l "$r/$l"; done
mount --bind /usr "$r/usr"; mount -o remount,bind,ro "$r/usr"; mount --bind /dev "$r/dev"; mount -t proc proc "$r/proc"
ip link set lo up; hostname n2; : > "$r/var/lib/dpkg/status"; : > "$r/var/lib/dpkg/available"
cp "$2" "$r/script"; cp "$3" "$r/kboot"
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' > "$r/etc/passwd"
printf 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n' > "$r/etc/os-release"
exec chroot "$r" /bin/bash /script
"#;

/// What the script printed; None, with a word about it, where this machine can't do that.
pub fn run(script: &str) -> Option<String> {
    let sandbox = Sandbox::new();
    sandbox.file("enter", ENTER).file("script", script);
    let namespaces = ["--mount", "--pid", "--net", "--uts", "--fork"];
    let can = Command::new("unshare").args(namespaces).args(["dpkg", "--version"]).stdout(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("skipped: it takes root, namespaces and dpkg");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespaces).arg("bash").arg(sandbox.path("enter")).arg(sandbox.path(""));
    let output = command.arg(sandbox.path("script")).arg(env!("CARGO_BIN_EXE_kboot")).output().unwrap();
    Some(String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn undo_keeps_a_package_that_somebody_needs_or_has_asked_for() {
    let script = r#"
cd /tmp
for p in auto dep free lib user; do
  mkdir -p $p/DEBIAN
  printf "Package: kb-$p\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n" > $p/DEBIAN/control
done
echo "Depends: kb-dep" >> user/DEBIAN/control
for p in auto dep free lib user; do dpkg-deb -b $p kb-$p.deb; dpkg -i kb-$p.deb; done >/dev/null 2>&1
r() { echo "{\"version\":2,\"run\":\"1\",\"at\":1,$1}"; }
{ r '"record":"begin","id":"1","command":"kboot up","owner":"","wanted":""'
r '"record":"intent","change":0,"step":"s","text":"t","before":[{"thing":"packages","state":"packages","versions":{}}],"wants":{"package kb-dep":"any","package kb-free":"any"}'
r '"record":"done","change":0,"after":[{"thing":"packages","state":"packages","versions":{"kb-auto":"1","kb-dep":"1","kb-free":"1","kb-lib":"1"}}]'
} > /var/lib/kboot/journal.jsonl
# As apt leaves it once `apt-mark manual kb-lib` was said.
printf 'Package: kb-auto\nArchitecture: all\nAuto-Installed: 1\n\n' > /var/lib/apt/extended_states
/kboot undo --dry-run; /kboot undo --yes; echo "exit $?"; dpkg-query -W
"#;
    let Some(told) = run(script) else { return };
    assert_eq!(told.matches("- remove the packages kb-auto, kb-free ").count(), 1, "the plan names what goes: {told}");
    assert!(told.contains("the package kb-lib: kept, for it was marked as installed by hand since"), "{told}");
    assert!(told.contains("the package kb-dep: kept, for kb-user needs it"), "{told}");
    assert!(
        told.contains("exit 0") && told.contains("kb-dep\t1\nkb-lib\t1\nkb-user\t1\n") && !told.contains("kb-free\t1"),
        "{told}"
    );
}

#[test]
fn a_replaced_file_s_password_is_neither_shown_nor_kept_and_a_loose_key_is_mended() {
    let script = r#"
echo '{apiVersion: kboot/v1alpha1, kind: Cluster, hosts: [{name: n2, address: 10.0.0.5, roles: [control-plane]}]}' > /c
mkdir -p /etc/containerd; printf 'password = "hunter2"\n' > /etc/containerd/config.toml
k() { /kboot phase init "$1" --config /c --ignore-preflight all $2 $3 2>&1; }
k configure-containerd --dry-run; k configure-containerd --dry-run -ojson; k configure-containerd
cat /var/lib/kboot/journal.jsonl
k issue-certificates > /dev/null; chmod 644 /etc/kubernetes/pki/ca.key; chown nobody /etc/kubernetes/pki/sa.key
k issue-certificates; stat -c '%n %a %U' /etc/kubernetes/pki/{ca,sa}.key
"#;
    let Some(told) = run(script) else { return };
    assert!(told.contains("-password = ***") && told.contains("/etc/containerd/config.toml"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("ca.key 600 root\n") && told.contains("sa.key 600 root\n"), "{told}");
}

#[test]
fn each_signal_that_asks_for_an_end_stops_a_run_that_waits() {
    let script = r#"
echo '{apiVersion: kboot/v1alpha1, kind: Cluster, hosts: [{name: n2, address: 10.0.0.5, roles: [control-plane]}]}' > /c
for signal in INT TERM HUP; do
  rm -f /said; /kboot phase init wait-for-api-server --config /c --ignore-preflight all -ojson > /said 2>&1 & p=$!
  for i in {1..300}; do grep -qs '"event":"waiting"' /said && break; sleep 0.1; done
  asked=$(date +%s%N); kill -$signal $p; code=0; wait $p || code=$?
  echo "$signal: exit code $code, in time: $(( ($(date +%s%N) - asked) / 1000000 < 2000 ))"
  grep -c '"interrupted":true' /said; tail -1 /said
done
"#;
    let Some(told) = run(script) else { return };
    for signal in ["INT", "TERM", "HUP"] {
        assert!(told.contains(&format!("{signal}: exit code 130, in time: 1\n")), "{told}");
    }
    assert_eq!(told.matches("\"event\":\"summary\"").count(), 3, "the report is whole: {told}");
}
