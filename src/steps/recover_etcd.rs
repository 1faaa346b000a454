//! This host's etcd is a cluster of one, made of its own data. A copy of them is kept first.
//!
//! The kubelet is stopped meanwhile, and etcd is started once by hand with `--force-new-cluster`, in a pod of its own that listens on
//! loopback only. The manifest is never touched: however often this is cut off, the kubelet starts etcd as it always does, and a
//! repetition goes on. [`Recovery`] says on the host which members were given up, so that none of them is taken for the cluster later.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use crate::engine::hint::PathWord;
use crate::engine::{AnyStep, Change, Evidence, Failure, FileMode, Hint, Planned, Probe, Result, UnitChange};
use crate::etcd::{Client, Condition, Credentials, Member, Survey};
use crate::facts::{GivenUp, RECOVERY, Recovery, member_id};
use crate::manifest::{CgroupDriver, StaticPod, etcd_peer_url, paths};
use crate::resource::{self, AnyResource, File, etcd_credentials};

use super::etcd_member::DATA;
use super::start_kubelet::UNIT;
use super::{Make, evidence};

/// Where etcd keeps its data.
/// Where kboot keeps the copy.
pub(super) const FOLDER: &str = "/var/lib/kboot";
/// How a copy's name there begins; the time follows.
pub(super) const COPY: &str = "etcd-before-recovery-";

/// The pod in which etcd runs once, and its container.
const ONCE: &str = "etcd-recovery";
const POD: &str = "/run/kboot/recovery/pod.json";
const CONTAINER: &str = "/run/kboot/recovery/container.json";

pub struct RecoverEtcd {
    peer_url: String,
    loopback: String,
    at: String,
    driver: CgroupDriver,
    is_dry_run: bool,
    deadline: Duration,
    course: Mutex<Course>,
}

/// How far this run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Course {
    was_started: bool,
    /// Whether etcd was seen as a cluster of one while it ran by hand.
    is_alone: bool,
}

/// How the host is.
#[derive(Debug, Default)]
struct Seen {
    kubelet_runs: bool,
    /// Whether the pod is there in which etcd runs once, and whether it runs.
    has_once: bool,
    once_runs: bool,
    has_copy: bool,
    /// Who belongs to the cluster by the word of etcd on this host; None while it can't decide anything.
    members: Option<Vec<Member>>,
}

pub fn step(make: &Make<'_>) -> Result<RecoverEtcd> {
    let context = make.context;
    let address = context.host()?.address;
    let loopback = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    Ok(RecoverEtcd {
        peer_url: etcd_peer_url(address),
        loopback: loopback.into(),
        at: context.inputs.recovery_start.as_ref().map(|recovery_start| recovery_start.at.clone()).unwrap_or_default(),
        driver: context.cgroup_driver(),
        is_dry_run: context.inputs.is_dry_run,
        deadline: context.ready_deadline(),
        course: Mutex::default(),
    })
}

#[async_trait]
impl AnyStep for RecoverEtcd {
    fn id(&self) -> &str {
        "recover-etcd"
    }

    fn title(&self) -> String {
        "Make etcd a cluster of this host alone".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let Some(credentials) = etcd_credentials(probe).await? else {
            return Err(Failure::new("this host lacks the certificates by which its API server asks etcd"));
        };
        let known = Recovery::read(probe).await?;
        let seen = self.look(probe, &credentials).await?;
        if let Some(done) = self.done(known.as_ref(), &seen) {
            return AnyResource::plan(&record(&done), probe).await;
        }
        let recovery = match known.clone().filter(|recovery| !recovery.is_done) {
            Some(begun) => begun,
            None => match Survey::by(&self.peer_url, &credentials).await {
                Ok(survey) => self.begin(known.unwrap_or_default(), &survey)?,
                Err(failure) if failure.retryable => return Ok(Planned::after("etcd on this host to answer")),
                Err(failure) => return Err(failure),
            },
        };
        let has_copy = probe.stat(&recovery.copy).await?.is_some();
        self.next(probe, &recovery, &Seen { has_copy, ..seen }).await
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let mut lines = evidence::containers(probe, &[ONCE, "etcd"]).await;
        lines.extend(evidence::kubelet(probe).await);
        let hint = Hint::RecoveryStopped { copies: PathWord::of(FOLDER) };
        Evidence { lines, hint: Some(hint) }
    }
}

impl RecoverEtcd {
    async fn look(&self, probe: &dyn Probe, credentials: &Credentials) -> Result<Seen> {
        let name = format!("^{ONCE}$");
        let pods = probe.query(&["crictl", "pods", "-q", "--name", &name]).await?;
        let runs = probe.query(&["crictl", "ps", "-q", "--name", &name]).await?;
        Ok(Seen {
            kubelet_runs: resource::unit_runs(probe, UNIT).await? == Some(true),
            has_once: !pods.text().is_empty(),
            once_runs: !runs.text().is_empty(),
            has_copy: false,
            members: self.members(credentials).await,
        })
    }

    async fn members(&self, credentials: &Credentials) -> Option<Vec<Member>> {
        let endpoint = format!("https://{}:2379", self.loopback);
        let condition = Condition::of(&endpoint, credentials).await.ok()?;
        if !condition.has_leader {
            return None;
        }
        Client::find(&[endpoint], credentials).await.ok().map(|(_, members)| members)
    }

    /// The record to be kept, if etcd runs as it always does and decides without those that were given up.
    fn done(&self, known: Option<&Recovery>, seen: &Seen) -> Option<Recovery> {
        let (known, members) = (known?, seen.members.as_ref()?);
        let is_without = !members.iter().any(|member| known.has_given_up(&member_id(member.id)));
        let is_done = is_without && seen.kubelet_runs && !seen.has_once;
        is_done.then(|| Recovery { is_done: true, ..known.clone() })
    }

    /// A recovery that is yet to begin. Those who were given up earlier stay so.
    fn begin(&self, earlier: Recovery, survey: &Survey) -> Result<Recovery> {
        if survey.quorum().holds() {
            return Err(Failure::new(format!("{survey}: etcd has its majority again")).hint(Hint::NothingToRecover));
        }
        let others = survey.members.iter().map(|seen| &seen.member).filter(|member| !member.is_at(&self.peer_url));
        let mut given_up = earlier.given_up;
        given_up.extend(others.map(|member| GivenUp { name: member.label().into(), member: member_id(member.id) }));
        Ok(Recovery {
            version: Recovery::VERSION,
            at: self.at.clone(),
            copy: Utf8PathBuf::from(format!("{FOLDER}/{COPY}{}", self.at)),
            given_up,
            is_done: false,
        })
    }

    async fn next(&self, probe: &dyn Probe, recovery: &Recovery, seen: &Seen) -> Result<Planned> {
        let mut course = *self.course.lock().expect("no panic while held");
        if seen.once_runs && seen.members.as_ref().is_some_and(|members| members.len() == 1) {
            course.is_alone = true;
        }
        let planned = match (seen.has_once, course) {
            (true, Course { is_alone: true, .. }) => Planned::Changes(vec![end_once(), set_kubelet(true)]),
            (false, Course { is_alone: true, .. }) if seen.kubelet_runs => {
                Planned::after("etcd to start as a cluster of one")
            }
            (false, Course { is_alone: true, .. }) => Planned::Changes(vec![set_kubelet(true)]),
            (true, _) if seen.once_runs => Planned::after("etcd to be a cluster of one"),
            (true, Course { was_started: true, .. }) => Planned::after("etcd to stay up by itself"),
            // Left by a run that was cut off.
            (true, _) => Planned::Changes(vec![end_once()]),
            (false, _) => {
                course.was_started = true;
                let mut changes = self.start_once(probe, recovery, seen).await?;
                if self.is_dry_run {
                    changes.extend([end_once(), set_kubelet(true)]);
                }
                Planned::Changes(changes)
            }
        };
        *self.course.lock().expect("no panic while held") = course;
        Ok(planned)
    }

    async fn start_once(&self, probe: &dyn Probe, recovery: &Recovery, seen: &Seen) -> Result<Vec<Change>> {
        let path = paths::static_pod(StaticPod::Etcd);
        let manifest = probe.read_text(Utf8Path::new(&path)).await?;
        let manifest = manifest.ok_or_else(|| Failure::new(format!("{path} is not there any more")))?;
        let container = container(&manifest, &self.loopback)
            .map_err(|problem| Failure::new(format!("failed to read {path}: {problem}")))?;
        let mut changes = AnyResource::plan(&record(recovery), probe).await?.into_changes();
        if seen.kubelet_runs {
            changes.push(set_kubelet(false));
        }
        // An API server that has waited for etcd would go on to: the kubelet, which asks it, would wait with it.
        changes.push(stop_etcd());
        if !seen.has_copy {
            let copy = &recovery.copy;
            let script = format!(
                "rm -rf {copy}.part && cp -a {DATA} {copy}.part && sync -f {copy}.part && mv -T {copy}.part {copy}"
            );
            changes.push(Change::shell(format!("copy {DATA} to {copy}"), script));
        }
        for (path, value) in [(POD, pod(self.driver)), (CONTAINER, container)] {
            let file = File::text(path, format!("{value:#}\n")).mode(FileMode::PRIVATE);
            changes.extend(AnyResource::plan(&file, probe).await?.into_changes());
        }
        let argv = ["crictl", "--timeout", "60s", "run", CONTAINER, POD].map(String::from).into();
        let why = "start etcd once by hand, on loopback only, with --force-new-cluster".into();
        changes.push(Change::Run { argv, why, undo: None });
        Ok(changes)
    }
}

/// And the API server first: without etcd it has nothing to end in peace. The kubelet may be about to end them as well.
pub(super) fn stop_etcd() -> Change {
    let line = "crictl ps -q --name '^kube-apiserver$' | xargs -r crictl stop --timeout 5; crictl ps -q --name '^etcd$' | xargs -r \
                crictl stop --timeout 30; true";
    Change::shell("stop the API server and etcd", line)
}

fn record(recovery: &Recovery) -> File {
    let text = serde_json::to_string_pretty(recovery).expect("it is plain data");
    File::text(RECOVERY, text + "\n").mode(FileMode::PRIVATE)
}

pub(super) fn set_kubelet(runs: bool) -> Change {
    Change::SetUnit(UnitChange { unit: UNIT.into(), start: Some(runs), ..UnitChange::default() })
}

fn end_once() -> Change {
    let script = format!(
        "crictl ps -q --name '^{ONCE}$' | xargs -r crictl stop --timeout 30; crictl pods -q --name '^{ONCE}$' | xargs -r crictl rmp \
         --force"
    );
    Change::shell("end the etcd that was started by hand", script)
}

fn pod(driver: CgroupDriver) -> Value {
    const OF_NODE: u32 = 2;
    let parent = match driver {
        CgroupDriver::Systemd => "system.slice",
        CgroupDriver::Cgroupfs => "/kboot",
    };
    json!({
        "metadata": {"name": ONCE, "namespace": "kube-system", "uid": "kboot-etcd-recovery", "attempt": 0},
        "log_directory": "/run/kboot/recovery",
        "linux": {
            "cgroup_parent": parent,
            "security_context": {"namespace_options": {"network": OF_NODE}},
        },
    })
}

/// What the runtime is to start: the manifest's container, which listens to nobody but this host and drops all other members.
fn container(manifest: &str, loopback: &str) -> std::result::Result<Value, String> {
    let manifest: Value = serde_yaml::from_str(manifest).map_err(|error| error.to_string())?;
    let spec = &manifest["spec"];
    let etcd = &spec["containers"][0];
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let words = items(&etcd["command"]).into_iter().chain(items(&etcd["args"]));
    let own = [
        ("listen-client-urls", format!("https://{loopback}:2379")),
        ("listen-peer-urls", format!("https://{loopback}:2380")),
        ("force-new-cluster", "true".into()),
    ];
    let is_replaced = |word: &Value| {
        let flag = word.as_str().and_then(|word| word.strip_prefix("--")?.split('=').next());
        flag.is_some_and(|flag| own.iter().any(|(name, _)| *name == flag))
    };
    let mut command: Vec<Value> = words.filter(|word| !is_replaced(word)).collect();
    if command.is_empty() {
        return Err("it has no container with a command".into());
    }
    command.extend(own.iter().map(|(name, value)| json!(format!("--{name}={value}"))));
    let volumes = items(&spec["volumes"]);
    let mount = |mount: &Value| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"])?;
        Some(json!({
            "container_path": mount["mountPath"],
            "host_path": volume["hostPath"]["path"].as_str()?,
            "readonly": mount["readOnly"].as_bool().unwrap_or_default(),
        }))
    };
    let environment = items(&etcd["env"]);
    let variables = environment.iter().filter(|variable| variable["value"].is_string());
    Ok(json!({
        "metadata": {"name": ONCE, "attempt": 0},
        "image": {"image": etcd["image"]},
        "command": command,
        "envs": variables.map(|v| json!({"key": v["name"], "value": v["value"]})).collect::<Vec<_>>(),
        "mounts": items(&etcd["volumeMounts"]).iter().filter_map(mount).collect::<Vec<_>>(),
        "log_path": "etcd.log",
        "linux": {},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::etcd::Surveyed;

    const MANIFEST: &str = "
spec:
  containers:
  - name: etcd
    image: registry.k8s.io/etcd:3.6.5-0
    command: [etcd, --name=n3, --data-dir=/var/lib/etcd, '--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.3:2379',
      '--listen-peer-urls=https://10.0.0.3:2380', '--initial-advertise-peer-urls=https://10.0.0.3:2380']
    volumeMounts: [{name: data, mountPath: /var/lib/etcd}, {name: certs, mountPath: /pki, readOnly: true}]
  volumes:
  - {name: data, hostPath: {path: /var/lib/etcd}}
  - {name: certs, hostPath: {path: /etc/kubernetes/pki/etcd}}
";

    fn step(is_dry_run: bool) -> RecoverEtcd {
        RecoverEtcd {
            peer_url: "https://10.0.0.3:2380".into(),
            loopback: "127.0.0.1".into(),
            at: "20261123-041500".into(),
            driver: CgroupDriver::Systemd,
            is_dry_run,
            deadline: Duration::ZERO,
            course: Mutex::default(),
        }
    }

    fn recovery() -> Recovery {
        let seen = |id, name| Surveyed { member: Member::sample(id, name), answers: id == 3, condition: None };
        let survey = Survey { members: vec![seen(1, "n1"), seen(2, "n2"), seen(3, "n3")] };
        step(false).begin(Recovery::default(), &survey).unwrap()
    }

    async fn shown(step: &RecoverEtcd, seen: &Seen) -> Vec<String> {
        let host = FakeHost::default().file("/etc/kubernetes/manifests/etcd.yaml", MANIFEST);
        match step.next(&host, &recovery(), seen).await.unwrap() {
            Planned::After { what } => vec![format!("after {what}")],
            planned => {
                planned.into_changes().iter().map(|c| c.to_string().split(" (").next().unwrap().into()).collect()
            }
        }
    }

    const BEGIN: [&str; 7] = [
        "create /var/lib/kboot/recovery.json",
        "kubelet.service: stop",
        "stop the API server and etcd",
        "copy /var/lib/etcd/member to /var/lib/kboot/etcd-before-recovery-20261123-041500",
        "create /run/kboot/recovery/pod.json",
        "create /run/kboot/recovery/container.json",
        "start etcd once by hand, on loopback only, with --force-new-cluster",
    ];
    const END: [&str; 2] = ["end the etcd that was started by hand", "kubelet.service: start"];

    #[tokio::test]
    async fn the_data_are_copied_before_etcd_is_forced_and_the_kubelet_starts_last() {
        let step = step(false);
        assert_eq!(shown(&step, &Seen { kubelet_runs: true, ..Seen::default() }).await, BEGIN);
        let by_hand = || Seen { has_once: true, once_runs: true, has_copy: true, ..Seen::default() };
        assert_eq!(shown(&step, &by_hand()).await, ["after etcd to be a cluster of one"]);
        let alone = Seen { members: Some(vec![Member::sample(3, "n3")]), ..by_hand() };
        assert_eq!(shown(&step, &alone).await, END);
        let started = Seen { kubelet_runs: true, has_copy: true, ..Seen::default() };
        assert_eq!(shown(&step, &started).await, ["after etcd to start as a cluster of one"]);
    }

    #[tokio::test]
    async fn what_was_cut_off_goes_on_and_the_first_copy_stays() {
        let stopped = Seen { has_copy: true, ..Seen::default() };
        let again = shown(&step(false), &stopped).await;
        assert!(!again.iter().any(|change| change.starts_with("copy") || change.starts_with("kubelet")), "{again:?}");
        let ended = Seen { has_once: true, has_copy: true, ..Seen::default() };
        assert_eq!(shown(&step(false), &ended).await, [END[0]]);
        let alone = Seen { once_runs: true, members: Some(vec![Member::sample(3, "n3")]), ..ended };
        assert_eq!(shown(&step(false), &alone).await, END);
    }

    #[tokio::test]
    async fn a_plan_has_all_of_it() {
        let all = shown(&step(true), &Seen { kubelet_runs: true, ..Seen::default() }).await;
        assert_eq!(all, [&BEGIN[..], &END[..]].concat());
    }

    #[test]
    fn it_is_done_once_etcd_decides_without_those_given_up() {
        let given_up: Vec<_> =
            recovery().given_up.into_iter().map(|given_up| (given_up.name, given_up.member)).collect();
        assert_eq!(given_up, [("n1".into(), "1".into()), ("n2".into(), "2".into())]);
        let seen = |ids: &[u64]| Seen {
            kubelet_runs: true,
            members: Some(ids.iter().map(|id| Member::sample(*id, "n")).collect()),
            ..Seen::default()
        };
        let done = |seen: &Seen| step(false).done(Some(&recovery()), seen).map(|recovery| recovery.is_done);
        assert_eq!(done(&seen(&[3])), Some(true));
        assert_eq!(done(&seen(&[3, 7])), Some(true), "another one has joined since");
        assert_eq!(done(&seen(&[1, 2, 3])), None);
        assert_eq!(done(&Seen { members: None, ..seen(&[]) }), None);
        assert_eq!(done(&Seen { has_once: true, ..seen(&[3]) }), None);
    }

    #[test]
    fn etcd_by_hand_hears_nobody_else() {
        let container = container(MANIFEST, "127.0.0.1").unwrap();
        assert_eq!(
            container["command"],
            json!([
                "etcd",
                "--name=n3",
                "--data-dir=/var/lib/etcd",
                "--initial-advertise-peer-urls=https://10.0.0.3:2380",
                "--listen-client-urls=https://127.0.0.1:2379",
                "--listen-peer-urls=https://127.0.0.1:2380",
                "--force-new-cluster=true",
            ])
        );
        assert_eq!(
            container["mounts"][1],
            json!({"container_path": "/pki", "host_path": "/etc/kubernetes/pki/etcd", "readonly": true})
        );
        super::container("{}", "127.0.0.1").unwrap_err();
    }
}
