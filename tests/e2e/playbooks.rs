//! A playbook of a user's own on a cluster: every task, hooks in their places, repair, and the way back.

use serde_json::Value;

use crate::chains::Test;
use crate::cluster;
use crate::events::Run;
use crate::lab::Lab;
use crate::up::CLUSTER;

pub const TESTS: &[Test] = &[Test { name: "playbooks::all_that_one_keeps", start: CLUSTER, run: all_that_one_keeps }];

const SITE: &str = r#"
name: site
extends: up
vars: {greeting: hello}
hooks:
  - before: control-plane
    steps:
      - file: {path: /srv/site/before, content: "before\n"}
  - after: ready
    steps:
      - command: {run: [cp, /srv/site/before, /srv/site/after], creates: /srv/site/after, undo: [rm, /srv/site/after]}
phases:
  - name: site
    hosts: control-plane
    after: [ready]
    steps:
      - directory: {path: /srv/site/dir, mode: "0750"}
      - template: {path: /srv/site/motd, source: motd.tera, mode: "0640"}
      - file: {path: /srv/site/token, content: "hunter2-of-the-site\n", secret: true}
      - file:
          path: /etc/systemd/system/site.service
          content: |
            [Service]
            ExecStart=/bin/sleep infinity
            [Install]
            WantedBy=multi-user.target
      - unit: {name: site.service, state: running, enabled: true, reads: [/srv/site/motd]}
      - parallel:
          - - sysctl: {key: net.ipv4.ping_group_range, value: "0 2147483646"}
            - module: {name: overlay}
          - - package: {name: socat}
      - command: {run: [touch, /srv/site/guarded], unless: [test, -e, /srv/site/guarded], undo: [rm, -f, /srv/site/guarded]}
      - wait: {unit: site.service, timeout: 20s}
      - wait: {file: /srv/site/guarded}
      - wait: {port: 6443}
      - object: {manifest: namespace.yaml}
      - object:
          definition:
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: site, namespace: team-blue}
            data: {greeting: "{{ vars.greeting }} from {{ host.name }}"}
      - wait: {object: {apiVersion: v1, kind: ConfigMap, namespace: team-blue, name: site}}
"#;

const TRACES: &str = "ls -d /srv/site /etc/systemd/system/site.service* /etc/sysctl.d/99-playbook-* /etc/modules-load.d/kboot-overlay.conf \
    /etc/systemd/system/multi-user.target.wants/site.service; cat /proc/sys/net/ipv4/ping_group_range; \
    kubectl --kubeconfig /etc/kubernetes/admin.conf get namespace team-blue -o name; true";

fn all_that_one_keeps(lab: &Lab) {
    let file = lab.scratch("site.yaml");
    std::fs::write(&file, SITE).expect("it is ours");
    std::fs::write(lab.scratch("motd.tera"), "{{ vars.greeting }} {{ host.name }} {{ facts.os.id }}\n")
        .expect("it is ours");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-blue}\n";
    std::fs::write(lab.scratch("namespace.yaml"), namespace).expect("it is ours");
    let (file, inventory) = (file.display().to_string(), lab.inventory());
    let run = ["run", &file, "-i", &inventory];
    let before = lab.on("n1", TRACES).ok();

    // The plan has it all and touches nothing.
    let plan = lab.kboot(&[&run[..], &["--dry-run", "--verbose"]].concat()).ok().says(&[
        "create /srv/site/before",
        "make directory /srv/site/dir",
        "hello n1 debian",
        "site.service: enable and start",
        "net.ipv4.ping_group_range = 0 2147483646",
        "create Namespace team-blue",
        "hello from n1",
        "after the file /srv/site/guarded",
    ]);
    assert!(!plan.text().contains("hunter2"), "{plan}");
    assert_eq!(lab.on("n1", TRACES).ok().text(), before.text());

    // A run does it, hooks in their places, and a second one has nothing to do.
    let done = Run::of(lab, &run).ends(0);
    let phases: Vec<String> =
        done.of_kind("phase-finished").map(|event| crate::events::text(&event["phase"])).collect();
    let at =
        |name: &str| phases.iter().position(|phase| phase == name).unwrap_or_else(|| panic!("no {name}: {phases:?}"));
    assert!(at("before-control-plane") < at("control-plane"), "{phases:?}");
    assert!(at("ready") < at("after-ready") && at("after-ready") < at("site"), "{phases:?}");
    let look = "stat -c '%a %n' /srv/site/dir /srv/site/motd /srv/site/token; cat /srv/site/motd /srv/site/after; \
        systemctl is-active site.service; systemctl is-enabled site.service; cat /proc/sys/net/ipv4/ping_group_range";
    let kept = "750 /srv/site/dir\n640 /srv/site/motd\n600 /srv/site/token\nhello n1 debian\nbefore\nactive\nenabled\n0\t2147483646\n";
    assert_eq!(lab.on("n1", look).ok().stdout, kept);
    let id = last_run(lab);
    Run::of(lab, &run).ends(0).is_unchanged();

    // Another value reaches what it is for, the file, the unit that reads it and the object; and goes back.
    let other = Run::of(lab, &[&run[..], &["--var", "greeting=salut"]].concat()).ends(0);
    assert_eq!(other.changes().len(), 3, "{:#?}", other.changes());
    lab.kboot(&["undo", "-i", &inventory, "--yes"]).ok();
    Run::of(lab, &run).ends(0);
    assert_eq!(lab.on("n1", look).ok().stdout, kept);

    // What somebody changes is put right, and nothing else is done.
    lab.on("n1", "echo mine >/srv/site/motd && rm /srv/site/guarded && systemctl stop site.service").ok();
    cluster::kubectl(lab, "-n team-blue patch configmap site --type merge -p '{\"data\":{\"greeting\":\"mine\"}}'")
        .ok();
    let mended = Run::of(lab, &run).ends(0);
    assert_eq!(mended.changes().len(), 4, "{:#?}", mended.changes());
    assert_eq!(lab.on("n1", look).ok().stdout, kept);

    // The run that made it all is taken back as a whole.
    lab.kboot(&["undo", "-i", &inventory, "--run", &id, "--yes"]).ok();
    cluster::kubectl(lab, "wait --for=delete namespace/team-blue --timeout=120s").ok();
    assert_eq!(lab.on("n1", TRACES).text(), before.text());
}

/// The youngest run in the journals.
fn last_run(lab: &Lab) -> String {
    let told = lab.kboot(&["history", "-i", &lab.inventory(), "--output", "json"]).ok();
    let runs = told.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    runs.map(|line| crate::events::text(&line["run"]["info"]["id"])).max().expect("there was a run")
}
