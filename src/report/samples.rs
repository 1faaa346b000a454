//! Events as a run sends them, for the tests of everything that reads them.

use crate::engine::hint::PackageWords;
use crate::engine::{
    Cause, Change, Content, Event, Failure, FileMode, Hint, Kind, MarkNode, MemberAction, MemberChange, Outcome,
    PackageChange, PackageLock, PackagePin, Proposed, UnitChange,
};

pub(super) fn at(host: &str, phase: &str, step: &str, kind: Kind) -> Event {
    Event { host: host.into(), phase: phase.into(), step: step.into(), kind }
}

pub(super) fn file(path: &str, before: Option<&str>, after: &str) -> Change {
    let text = |text: &str| Content::Text(text.into());
    Change::WriteFile { path: path.into(), mode: FileMode::PUBLIC, before: before.map(text), after: text(after) }
}

pub(super) fn module(name: &str) -> Change {
    Change::LoadModule { module: name.into() }
}

/// Without causes but for the first, so that both are seen.
pub(super) fn proposed(changes: Vec<Change>) -> Vec<Proposed> {
    let mut proposed: Vec<Proposed> = changes.into_iter().map(Proposed::from).collect();
    if let Some(first) = proposed.first_mut() {
        first.cause = Some(Cause::Drift);
    }
    proposed
}

fn started(title: &str) -> Kind {
    Kind::StepStarted { title: title.into() }
}

fn finished(outcome: Outcome, millis: u64) -> Kind {
    Kind::StepFinished { outcome, millis }
}

fn phase_finished(outcome: Outcome, millis: u64) -> Kind {
    Kind::PhaseFinished { outcome, millis }
}

/// One host changed, one failed, one as it should be, one skipped.
pub(super) fn apply() -> Vec<Event> {
    let install = Change::InstallPackages {
        packages: vec![PackageChange {
            name: "kubelet".into(),
            from: None,
            to: Some("1.37.2-*".into()),
            candidate: None,
            brings: Vec::new(),
        }],
        lock: None,
    };
    let failure = Failure::new("failed to install kubelet 1.37.2-*: apt-get exited with 100")
        .evidence(["E: Unable to locate package kubelet", "E: \x1b[31mgiving up\x1b[0m\rdone"])
        .hint(Hint::ShowPolicy { packages: PackageWords::of(["kubelet"]) });
    let warning = Kind::Warning {
        text: "the clock is 3 s behind the others".into(),
        hint: Some(Hint::text("let chrony or systemd-timesyncd set it")),
    };
    let join = "join";
    let prepare = "prepare";
    vec![
        at("n1", "", "", Kind::Connected { millis: 400 }),
        at("n2", "", "", Kind::Connected { millis: 510 }),
        at("n3", "", "", Kind::Connected { millis: 90 }),
        at("n1", prepare, "", Kind::PhaseStarted { steps: 2 }),
        at("n2", prepare, "", Kind::PhaseStarted { steps: 2 }),
        at("n3", prepare, "", Kind::PhaseStarted { steps: 2 }),
        at("n2", prepare, "preflight", warning),
        at("n1", prepare, "load-modules", started("Load kernel modules")),
        at("n1", prepare, "load-modules", Kind::ChangeStarted { change: module("overlay") }),
        at("n1", prepare, "load-modules", Kind::ChangeFinished { change: module("overlay"), millis: 60 }),
        at("n1", prepare, "load-modules", Kind::ChangeStarted { change: module("br_netfilter") }),
        at("n1", prepare, "load-modules", Kind::ChangeFinished { change: module("br_netfilter"), millis: 40 }),
        at("n1", prepare, "load-modules", finished(Outcome::Changed, 130)),
        at("n3", prepare, "load-modules", started("Load kernel modules")),
        at("n3", prepare, "load-modules", finished(Outcome::Unchanged, 4)),
        at("n3", prepare, "", phase_finished(Outcome::Unchanged, 9)),
        at("n2", prepare, "load-modules", started("Load kernel modules")),
        at("n2", prepare, "load-modules", Kind::ChangeStarted { change: module("overlay") }),
        at("n2", prepare, "load-modules", Kind::ChangeFinished { change: module("overlay"), millis: 50 }),
        at("n2", prepare, "load-modules", finished(Outcome::Changed, 70)),
        at("n2", prepare, "install-packages", started("Install packages")),
        at("n2", prepare, "install-packages", Kind::ChangeStarted { change: install.clone() }),
        at("n2", prepare, "install-packages", Kind::Failed { failure }),
        at("n2", prepare, "install-packages", finished(Outcome::Failed, 8_100)),
        at("n2", prepare, "", phase_finished(Outcome::Failed, 8_200)),
        at("n2", join, "", phase_finished(Outcome::Skipped, 0)),
        at("n4", join, "", phase_finished(Outcome::Skipped, 0)),
        at("n1", prepare, "install-packages", started("Install packages")),
        at(
            "n1",
            prepare,
            "install-packages",
            Kind::Waiting { what: "the dpkg lock, held by apt.systemd.daily (pid 812)".into() },
        ),
        at("n1", prepare, "install-packages", Kind::ChangeStarted { change: install.clone() }),
        at(
            "n1",
            prepare,
            "install-packages",
            Kind::Retrying {
                what: "install packages".into(),
                why: "pkgs.k8s.io answers 503 Service Unavailable".into(),
                millis: 400,
            },
        ),
        at("n1", prepare, "install-packages", Kind::ChangeFinished { change: install, millis: 11_000 }),
        at("n1", prepare, "install-packages", finished(Outcome::Changed, 11_900)),
        at("n1", "", "", Kind::Journalled { millis: 12 }),
        at(
            "n1",
            prepare,
            "",
            Kind::Leftover {
                thing: "file".into(),
                name: "/etc/fstab".into(),
                why: "somebody has changed it since".into(),
            },
        ),
        at("n1", prepare, "", Kind::Note { text: "kubelet is held at 1.37.2-1.1".into() }),
        at("n1", prepare, "", phase_finished(Outcome::Changed, 12_300)),
    ]
}

/// A dry run: one host with changes of many kinds, one that waits first, one as it should be.
pub(super) fn plan() -> Vec<Event> {
    let package = |name: &str, from: Option<&str>, to: Option<&str>| PackageChange {
        name: name.into(),
        from: from.map(Into::into),
        to: to.map(Into::into),
        candidate: None,
        brings: Vec::new(),
    };
    let planned = |changes: Vec<Change>| Kind::Planned { changes: proposed(changes), after: None };
    let mut events = vec![
        at("n1", "prepare", "", Kind::PhaseStarted { steps: 4 }),
        at("n1", "prepare", "load-modules", started("Load kernel modules")),
        at(
            "n1",
            "prepare",
            "load-modules",
            planned(vec![
                module("overlay"),
                file("/etc/modules-load.d/kubernetes.conf", None, "overlay\nbr_netfilter\n"),
            ]),
        ),
        at("n1", "prepare", "load-modules", finished(Outcome::WouldChange, 3)),
        at("n1", "prepare", "install-packages", started("Install packages")),
        at(
            "n1",
            "prepare",
            "install-packages",
            planned(vec![
                Change::InstallPackages {
                    packages: vec![
                        package("kubelet", None, Some("1.37.2-*")),
                        package("containerd.io", Some("1.6.33-1"), Some("2.2.0-1")),
                        package("socat", None, None),
                    ],
                    lock: None,
                },
                Change::HoldPackages { packages: vec!["kubelet".into()], hold: true },
                Change::SwapOff { device: "/dev/sda2".into() },
                Change::SetSysctl { key: "net.ipv4.ip_forward".into(), before: "0".into(), after: "1".into() },
            ]),
        ),
        at("n1", "prepare", "install-packages", finished(Outcome::WouldChange, 3)),
        at("n1", "prepare", "configure-containerd", started("Configure containerd")),
    ];
    let before =
        "version = 3\nroot = \"/var/lib/containerd\"\n[debug]\nlevel = \"info\"\n[grpc]\naddress = \"/run/c.sock\"\n";
    let configure = Kind::Planned {
        changes: proposed(vec![
            file("/etc/containerd/config.toml", Some(before), &before.replace("info", "warn")),
            Change::WriteFile {
                path: "/etc/kubernetes/pki/sa.key".into(),
                mode: FileMode::PRIVATE,
                before: Some(Content::Text("hunter1".into())),
                after: Content::Secret("hunter2".into()),
            },
            Change::WriteFile {
                path: "/etc/apt/keyrings/kubernetes.gpg".into(),
                mode: FileMode::PUBLIC,
                before: None,
                after: Content::from_bytes(vec![0x99, 0x00, 0xff]),
            },
            Change::SetUnit(UnitChange {
                unit: "containerd.service".into(),
                enable: Some(true),
                start: None,
                restart: Some("its configuration changes".into()),
                reloads: false,
            }),
            Change::Remove { path: "/etc/cni/net.d/87-podman.conflist".into() },
        ]),
        after: Some("the socket /run/containerd/containerd.sock".into()),
    };
    events.extend([
        at("n1", "prepare", "configure-containerd", configure),
        at("n1", "prepare", "configure-containerd", finished(Outcome::WouldChange, 3)),
        at("n1", "addons", "apply-coredns", started("Apply CoreDNS")),
        at(
            "n1",
            "addons",
            "apply-coredns",
            planned(vec![Change::ApplyObject {
                object: serde_json::json!({
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": {"name": "coredns", "namespace": "kube-system"}, "spec": {"replicas": 2}
                }),
                before: Some(serde_json::json!({
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": {"name": "coredns", "namespace": "kube-system", "uid": "7"}, "spec": {"replicas": 1, "paused": false}
                })),
            }]),
        ),
        at("n1", "addons", "apply-coredns", finished(Outcome::WouldChange, 3)),
        at("n2", "join", "start-kubelet", started("Start the kubelet")),
        at(
            "n2",
            "join",
            "start-kubelet",
            Kind::Planned { changes: vec![], after: Some("the API server at https://10.0.0.1:6443".into()) },
        ),
        at("n2", "join", "start-kubelet", finished(Outcome::WouldChange, 3)),
        at("n3", "prepare", "load-modules", started("Load kernel modules")),
        at("n3", "prepare", "load-modules", finished(Outcome::Unchanged, 3)),
    ]);
    events
}

/// A change of every kind.
pub(super) fn changes() -> Vec<Change> {
    let object = serde_json::json!({"kind": "Namespace", "metadata": {"name": "x"}});
    let digest = |of: &str| Content::Digest(format!("sha256:{of}"));
    let unit = UnitChange {
        unit: "kubelet.service".into(),
        enable: Some(true),
        start: Some(true),
        restart: Some("new configuration".into()),
        reloads: false,
    };
    let algorithm = crate::inventory::EncryptionAlgorithm::EcdsaP256;
    let request = crate::pki::CertificateRequest::authority("kubernetes", 24, algorithm);
    vec![
        file("/a", Some("1\n"), "2\n"),
        Change::WriteFile { path: "/b".into(), mode: FileMode::PRIVATE, before: Some(digest("1")), after: digest("2") },
        Change::WriteFile {
            path: "/c".into(),
            mode: FileMode::PUBLIC,
            before: None,
            after: Content::from_bytes(vec![0xff]),
        },
        Change::Remove { path: "/a".into() },
        Change::MakeDirectory { path: "/a".into(), mode: FileMode::DIRECTORY },
        Change::SetMode { path: "/a".into(), mode: FileMode::PRIVATE },
        Change::SetOwner { path: "/a".into(), uid: 0, gid: 0 },
        Change::MakeLink { path: "/a".into(), target: "b".into() },
        Change::RemoveEmptyDirectory { path: "/a".into() },
        Change::UnloadModule { module: "overlay".into() },
        Change::SwapOn { device: "/swap".into() },
        Change::RemoveImages { images: vec!["registry.k8s.io/pause:3.10".into()] },
        Change::RefreshPackages { source: Some("/etc/apt/sources.list.d/kubernetes.sources".into()) },
        Change::InstallPackages {
            packages: vec![PackageChange {
                name: "a".into(),
                from: Some("1".into()),
                to: Some("2".into()),
                candidate: None,
                brings: Vec::new(),
            }],
            lock: Some(PackageLock {
                pins: vec![PackagePin { name: "a".into(), version: "2".into(), sha256: "0".repeat(64) }],
                is_complete: true,
            }),
        },
        Change::RemovePackages { packages: vec!["a".into()] },
        Change::HoldPackages { packages: vec!["a".into()], hold: false },
        Change::MendPackages { why: "it was interrupted".into() },
        Change::SetUnit(unit),
        module("overlay"),
        Change::SetSysctl { key: "vm.x".into(), before: "0".into(), after: "1".into() },
        Change::SwapOff { device: "/swap".into() },
        Change::MakeKeyPair {
            private: "/sa.key".into(),
            public: "/sa.pub".into(),
            algorithm: crate::inventory::EncryptionAlgorithm::EcdsaP256,
        },
        Change::PullImages { images: vec!["registry.k8s.io/pause:3.10".into()] },
        Change::ApplyObject { object: object.clone(), before: Some(object) },
        Change::IssueCertificate {
            certificate: "/ca.crt".into(),
            key: "/ca.key".into(),
            issuer: None,
            request: request.clone(),
        },
        Change::WriteKubeconfig {
            path: "/admin.conf".into(),
            cluster: "lab".into(),
            server: "https://10.0.0.1:6443".into(),
            authority: ("/ca.crt".into(), "/ca.key".into()),
            request,
        },
        Change::FetchKey { url: "https://x/key".into(), path: "/k.gpg".into(), fingerprints: vec!["DE15".into()] },
        Change::RemoveFilterRules {
            program: "iptables-nft".into(),
            count: 2,
            deletions: vec!["nat -F KUBE-SERVICES".into(), "nat -X KUBE-SERVICES".into()],
        },
        Change::RemoveFilterTable { family: "ip".into(), table: "kube-proxy".into() },
        Change::RemoveControlGroup { path: "/sys/fs/cgroup/kubepods".into() },
        Change::SetMember(MemberChange {
            action: MemberAction::Add,
            member: "n2".into(),
            peer_url: "https://10.0.0.2:2380".into(),
            endpoints: vec!["https://10.0.0.1:2379".into()],
        }),
        Change::DrainNode { node: "n1".into(), pods: vec!["default/web".into()], seconds: 60 },
        Change::MarkNode(MarkNode {
            node: "n1".into(),
            labels: vec![("a".into(), "b".into())],
            taints: vec![crate::inventory::Taint { key: "k".into(), value: "v".into(), effect: "NoSchedule".into() }],
            unlabel: vec!["c".into()],
            untaint: vec![crate::inventory::Taint { key: "l".into(), value: "".into(), effect: "NoExecute".into() }],
        }),
        Change::DeleteObject {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: Some("x".into()),
            name: "y".into(),
        },
        Change::Run { argv: vec!["true".into()], why: "to see".into(), undo: Some(vec!["false".into()]) },
    ]
}

/// A dry run with a change of every kind, and a finish that would change.
pub(super) fn every_change() -> Vec<Event> {
    let retryable = Failure { interrupted: true, ..Failure::new("x").retryable() };
    vec![
        at("n1", "p", "s", started("A step")),
        at("n1", "p", "s", Kind::Planned { changes: proposed(changes()), after: None }),
        at("n1", "p", "s", finished(Outcome::WouldChange, 1)),
        at("n1", "p", "t", Kind::Failed { failure: retryable }),
    ]
}
