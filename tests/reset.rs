//! What a reset leaves alone, with the real binary in a root file system that goes with the test. It takes root and namespaces.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// What a script printed.
struct Told {
    text: String,
}

impl Told {
    fn says(&self, line: &str) -> &Self {
        assert!(self.text.lines().any(|told| told == line), "no line `{line}`\n{self}");
        self
    }

    fn mentions(&self, text: &str) -> &Self {
        assert!(self.text.contains(text), "no `{text}`\n{self}");
        self
    }

    fn is_silent_of(&self, text: &str) -> &Self {
        assert!(!self.text.contains(text), "`{text}`\n{self}");
        self
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs a script in a root of its own, where there is a `/kboot`. None, and a word, where that can't be.
fn in_root(script: &str) -> Option<Told> {
    let can = Command::new("unshare").args(["--mount", "--pid", "--net", "--uts", "--fork", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("this test did not run: it takes root, and namespaces");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    std::fs::write(&file, format!("{PREPARE}\n{script}\n")).unwrap();
    let inroot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reset/inroot");
    let output = Command::new(inroot).arg(kboot()).arg(file).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}", output.status);
    Some(Told { text })
}

/// Another binary may be tried, as by the end-to-end tests.
fn kboot() -> String {
    std::env::var("KBOOT_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kboot").into())
}

/// A node, and words for what is done over and over.
const PREPARE: &str = r#"
mkdir -p /etc/kubernetes /var/lib/kboot
echo x >/etc/kubernetes/kubelet.conf
reset() { rc=0; /kboot reset --yes --output json 2>&1 || rc=$?; echo "exit code $rc"; }
baseline() { echo "{\"version\":1,\"taken\":1,\"things\":{$1}}" >/var/lib/kboot/baseline.json; }
"#;

/// An export that the kubelet mounted; /keep is the same from elsewhere.
const VOLUME: &str = r#"
pv=/var/lib/kubelet/pods/u/volumes/kubernetes.io~nfs/pv
mkdir -p $pv /keep
mount -t tmpfs nfs $pv
mount --bind $pv /keep
echo ten years >/keep/ledger
"#;

#[test]
fn a_volume_is_unmounted_and_keeps_its_files_wherever_links_lead() {
    for layout in [
        "mkdir -p /var/lib/kubelet",
        "mkdir -p /data/kubelet; ln -s /data/kubelet /var/lib/kubelet",
        "mkdir /data; mv /var/lib /data/lib; ln -s ../data/lib /var/lib",
        "mkdir /data; mv /var /data/var; ln -s /data/var /var",
    ] {
        let script = format!(
            "{layout}\n{VOLUME}\nlinks() {{ find / -xdev -maxdepth 4 -type l -path '/var*' | sort; }}\nlinks >/links; reset\n\
             links | diff /links -; echo \"kept: $(cat /keep/ledger)\"; test ! -e /var/lib/kubelet/pods\n\
             echo \"mounts: $(grep -c pods/u /proc/self/mountinfo)\""
        );
        let Some(told) = in_root(&script) else { return };
        told.says("exit code 0").says("kept: ten years").says("mounts: 0");
    }
}

#[test]
fn a_volume_in_use_is_told_and_left_and_the_rest_goes_on() {
    let script = format!(
        "mkdir -p /data/kubelet /var/lib/cni; ln -s /data/kubelet /var/lib/kubelet\n{VOLUME}\n\
         (cd $pv; exec sleep 60) & sleep 0.3; reset; kill $!; wait $! || :\n\
         echo \"kept: $(cat $pv/ledger)\"; test ! -e /var/lib/cni; test ! -e /etc/kubernetes/kubelet.conf\n\
         echo again; reset; echo \"kept: $(cat /keep/ledger)\"; test ! -e $pv"
    );
    let Some(told) = in_root(&script) else { return };
    told.mentions("stays mounted").says("again").says("kept: ten years");
    assert_eq!(told.text.lines().filter(|line| *line == "exit code 0").count(), 2, "{told}");
}

#[test]
fn what_the_host_mounts_itself_stays_mounted() {
    let script =
        format!("{VOLUME}\necho \"nfs $pv tmpfs defaults 0 0\" >/etc/fstab\nreset; echo \"kept: $(cat $pv/ledger)\"");
    let Some(told) = in_root(&script) else { return };
    told.says("exit code 0").says("kept: ten years").mentions("stays mounted");
    // A disk of the runtime's was there before, empty, and is so again; nobody needs to hear of that.
    let script = r#"
baseline '"entry":{"/var/lib/containerd":"directory 0755 0:0 empty"}'
mkdir -p /var/lib/containerd
mount -t tmpfs -o mode=755 disk /var/lib/containerd
echo "disk /var/lib/containerd tmpfs mode=755 0 0" >/etc/fstab
echo layer >/var/lib/containerd/layer
reset
test ! -e /var/lib/containerd/layer
echo "mounts: $(grep -c ' /var/lib/containerd ' /proc/self/mountinfo)""#;
    let Some(told) = in_root(script) else { return };
    told.says("exit code 0").says("mounts: 1");
    assert!(!told.text.contains("stays mounted"), "{told}");
}

#[test]
fn somebody_s_mount_in_a_node_s_folder_is_told_and_left_however_often() {
    let script = "
baseline ''
mkdir -p /var/log/pods /var/lib/cni/deep/disk /etc/kubernetes/pki
for point in /var/log/pods /var/lib/cni/deep/disk; do mount -t tmpfs mine $point; echo mine >$point/file; done
echo x >/var/lib/cni/deep/other; echo x >/etc/kubernetes/pki/ca.crt
reset; reset
cat /var/log/pods/file /var/lib/cni/deep/disk/file
test ! -e /var/lib/cni/deep/other; test ! -e /etc/kubernetes/pki";
    let Some(told) = in_root(script) else { return };
    told.mentions("/var/log/pods (tmpfs mine) stays mounted").says("mine");
    assert_eq!(told.text.lines().filter(|line| *line == "exit code 0").count(), 2, "{told}");
    assert_eq!(told.text.lines().filter(|line| *line == "mine").count(), 2, "{told}");
}

#[test]
fn containers_of_others_keep_their_files() {
    let script = "
baseline ''
d=/run/containerd/io.containerd.runtime.v2.task/default/web/rootfs
mkdir -p $d /var/lib/containerd/io.containerd.content.v1.content
mount -t tmpfs web $d
echo data >$d/db
reset
cat $d/db; test -e /var/lib/containerd/io.containerd.content.v1.content";
    let Some(told) = in_root(script) else { return };
    told.says("exit code 0").says("data").mentions("in the namespaces default");
}

#[test]
fn what_was_there_before_stays_and_nobody_is_blamed() {
    let script = r#"
mkdir -p /var/lib/etcd/default/member /etc/kubernetes/pki /etc/cni/net.d
echo patroni >/var/lib/etcd/default/member/db; echo snapshot >/var/lib/etcd/snapshot.db
echo mine >/etc/kubernetes/pki/ca.key; echo x >/etc/kubernetes/pki/ca.crt
echo '{"name": "mine"}' >/etc/cni/net.d/50-mine.conflist; echo '{"name": "podman"}' >/etc/cni/net.d/87-podman.conflist
echo '{"name": "cbr0"}' >/etc/cni/net.d/10-flannel.conflist
baseline '"file":{"/etc/kubernetes/pki/ca.key":"file 0644 0:0 x","/etc/cni":"directory 0755 0:0","/etc/cni/net.d":"directory 0755 0:0","/etc/cni/net.d/50-mine.conflist":"file 0644 0:0 x","/etc/gone":"file 0644 0:0 x"},"entry":{"/var/lib/etcd":"directory 0755 0:0"}'
reset
find /var/lib/etcd /etc/cni /etc/kubernetes -type f"#;
    let Some(told) = in_root(script) else { return };
    let kept = [
        "/var/lib/etcd/default/member/db",
        "/var/lib/etcd/snapshot.db",
        "/etc/kubernetes/pki/ca.key",
        "/etc/cni/net.d/50-mine.conflist",
        "/etc/cni/net.d/87-podman.conflist",
    ];
    let found: Vec<&str> = told.text.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>(), kept.iter().collect(), "{told}");
    let blamed: Vec<&str> = told.text.lines().filter(|line| line.contains("somebody has removed")).collect();
    assert!(blamed.iter().all(|line| line.contains("/etc/gone")), "{told}");
    told.says("exit code 0");
}

/// A network of podman's that was there before the first run.
const PODMAN: &str = r#"
mkdir -p /etc/cni/net.d
echo '{"name": "podman"}' >/etc/cni/net.d/87-podman-bridge.conflist
"#;

#[test]
fn what_the_cluster_s_plugins_made_goes_beside_a_network_of_podman_s() {
    let script = format!(
        r#"{PODMAN}
baseline '"file":{{"/etc/cni":"directory 0755 0:0","/etc/cni/net.d":"directory 0755 0:0","/etc/cni/net.d/87-podman-bridge.conflist":"file 0644 0:0 x"}}'
mkdir -p /var/lib/cni/networks/cbr0 /var/lib/cni/results; echo x >/var/lib/cni/networks/cbr0/10.244.0.2
reset
test ! -e /var/lib/cni; cat /etc/cni/net.d/87-podman-bridge.conflist"#
    );
    let Some(told) = in_root(&script) else { return };
    told.says("exit code 0").says("{\"name\": \"podman\"}").is_silent_of("/var/lib/cni: somebody");
    assert!(!told.text.lines().any(|line| line.contains("\"leftover\"") && line.contains("/var/lib/cni")), "{told}");
    // Its leases were there before: they stay, and what is beside them goes.
    let script = format!(
        r#"{PODMAN}
mkdir -p /var/lib/cni/networks/{{podman,cbr0}}; echo mine >/var/lib/cni/networks/podman/10.88.0.2
baseline '"entry":{{"/var/lib/cni":"directory 0755 0:0","/var/lib/cni/networks":"directory 0755 0:0","/var/lib/cni/networks/podman":"directory 0755 0:0"}}'
reset
cat /var/lib/cni/networks/podman/10.88.0.2; test ! -e /var/lib/cni/networks/cbr0"#
    );
    let Some(told) = in_root(&script) else { return };
    told.says("exit code 0").says("mine");
}

#[test]
fn a_second_reset_removes_nothing_of_others() {
    let script = format!(
        r#"{PODMAN}
rm -r /etc/kubernetes/kubelet.conf /var/lib/kboot
mkdir -p /etc/kubernetes/pki /var/lib/etcd/{{default/member,member}} /var/log/pods/mine
echo mine >/etc/kubernetes/pki/ca.key; echo patroni >/var/lib/etcd/default/member/db; echo etcd >/var/lib/etcd/member/db
ip link add cni0 type dummy || :
look() {{ find / -xdev ! -path /said ! -path /before ! -path /run/kboot.lock | sort; ip -o link | cut -d: -f2; }}
look >/before
reset | tee /said
look | diff /before - && echo "as before"
echo "changes: $(grep -c change-finished /said)""#
    );
    let Some(told) = in_root(&script) else { return };
    told.says("exit code 0").says("as before").says("changes: 0").mentions("all on it stays as it is");
}

#[test]
fn of_etcd_s_folder_a_member_goes_and_its_copies_are_named() {
    let script = "
mkdir -p /etc/kubernetes/manifests /var/lib/etcd/{member,before-recovery-1} /var/lib/kboot/etcd-before-recovery-2
echo 'spec: {containers: [{command: [etcd]}]}' >/etc/kubernetes/manifests/etcd.yaml
for d in /var/lib/etcd/member /var/lib/etcd/before-recovery-1 /var/lib/kboot/etcd-before-recovery-2; do echo x >$d/db; done
echo mine >/var/lib/etcd/snapshot.db
reset
cat /var/lib/etcd/*; test ! -e /var/lib/kboot/etcd-before-recovery-2";
    let Some(told) = in_root(script) else { return };
    told.says("mine")
        .mentions("\"/var/lib/etcd/before-recovery-1\"")
        .mentions("\"/var/lib/kboot/etcd-before-recovery-2\"");
}

#[test]
fn the_host_s_own_rules_stay() {
    let script = r#"
for t in iptables-nft iptables-legacy; do
  $t -t nat -S >/dev/null 2>&1 || continue
  $t -A INPUT -p tcp --dport 9000 -m comment --comment "interweave: nobody but us" -j DROP
  $t -A INPUT -p tcp --dport 6443 -m comment --comment "office may reach the KUBE-API" -j ACCEPT
  $t -t nat -N CNI-HOSTPORT-DNAT; $t -t nat -A PREROUTING -j CNI-HOSTPORT-DNAT
  $t-save | grep -e ^-A -e '^:CNI' >/rules-$t
  $t -N KUBE-FIREWALL; $t -A KUBE-FIREWALL -j DROP; $t -I INPUT -j KUBE-FIREWALL
  $t -t nat -N KUBE-SERVICES; $t -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
  $t -A FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
done
/kboot phase reset remove-pod-network --yes; echo "exit code $?"
for t in iptables-nft iptables-legacy; do
  [ -e /rules-$t ] || { echo "$t did not run"; continue; }
  $t-save | grep -e ^-A -e '^:CNI' | diff /rules-$t - && echo "$t is as before"
  $t-save | grep KUBE- | grep -v KUBE-API || :
done"#;
    let Some(told) = in_root(script) else { return };
    told.says("exit code 0")
        .says("iptables-nft is as before")
        .is_silent_of("KUBE-SERVICES")
        .is_silent_of("KUBE-FIREWALL");
    assert!(
        told.text.contains("iptables-legacy is as before") || told.text.contains("iptables-legacy did not run"),
        "{told}"
    );
}
