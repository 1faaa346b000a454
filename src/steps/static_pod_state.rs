//! What a static pod's manifest wants of its container, against what the runtime has. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::readiness::http_port;

/// A container that ends sooner than this after its start has not come up at all.
const STILLBORN: time::Duration = time::Duration::seconds(10);
/// From this start on, of those that were waited for, such an end is no accident any more.
const STARTS: u32 = 3;

/// How often each component's container had been started and had ended when it was first looked at. What it died of may have been
/// mended since, so these starts do not count.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<String, u32>);

impl Earlier {
    /// How often it has been started since then.
    fn starts_since(&mut self, name: &str, container: &Container) -> u32 {
        let starts = container.info.config.metadata.attempt + 1;
        let ended = if container.status.has_ended() { starts } else { starts - 1 };
        let earlier = self.0.entry(name.into()).or_insert(ended);
        if *earlier > starts {
            // Its pod was made anew.
            *earlier = 0;
        }
        starts - *earlier
    }
}

/// What shows in a container of the settings that its manifest has.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    name: String,
    command: Vec<String>,
    image: String,
    mounts: Vec<Mount>,
    /// What its readiness probe asks.
    pub health: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Mount {
    container_path: String,
    host_path: String,
    #[serde(default)]
    readonly: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Runs,
    /// Not yet; what is waited for.
    Waits(String),
    /// It ends as soon as it starts, again and again.
    Fails(String),
}

/// What `crictl inspect` tells of a container.
#[derive(Debug, Deserialize)]
pub(super) struct Container {
    info: Info,
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Info {
    config: Config,
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    command: Vec<String>,
    image: Image,
    metadata: Metadata,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Debug, Deserialize)]
struct Image {
    #[serde(default)]
    user_specified_image: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    attempt: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: String,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
}

impl Wanted {
    /// Reads a manifest of one container.
    pub fn parse(name: &str, manifest: &str) -> Result<Self, String> {
        let manifest: Value = serde_yaml::from_str(manifest).map_err(|error| error.to_string())?;
        let spec = &manifest["spec"];
        let container = &spec["containers"][0];
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let volumes = items(&spec["volumes"]);
        let mount = |mount: &Value| {
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"])?;
            Some(Mount {
                container_path: text(&mount["mountPath"]),
                host_path: volume["hostPath"]["path"].as_str()?.to_string(),
                readonly: mount["readOnly"].as_bool().unwrap_or_default(),
            })
        };
        let wanted = Self {
            name: name.into(),
            command: items(&container["command"]).iter().map(text).collect(),
            image: text(&container["image"]),
            mounts: items(&container["volumeMounts"]).iter().filter_map(mount).collect(),
            health: health(container),
        };
        if wanted.command.is_empty() { Err("it has no container with a command".into()) } else { Ok(wanted) }
    }

    /// Whether the container that was made last is of this manifest, and runs.
    pub fn judge(&self, container: Option<&Container>, earlier: &mut Earlier) -> Verdict {
        let Some(container) = container.filter(|container| self.is_of(&container.info.config)) else {
            return Verdict::Waits(format!("{} to be started as its manifest says", self.name));
        };
        let starts = earlier.starts_since(&self.name, container);
        match container.status.state.as_str() {
            "CONTAINER_RUNNING" => Verdict::Runs,
            EXITED => self.ended(container, starts),
            _ => Verdict::Waits(format!("{} to start", self.name)),
        }
    }

    /// When it ended, if it is of this manifest, and had ended when it was first looked at.
    pub fn ended_before(&self, container: &Container, earlier: &mut Earlier) -> Option<OffsetDateTime> {
        let is_earlier = self.is_of(&container.info.config) && earlier.starts_since(&self.name, container) == 0;
        is_earlier.then(|| moment(&container.status.finished_at)).flatten()
    }

    fn is_of(&self, config: &Config) -> bool {
        let has = |wanted: &Mount| config.mounts.iter().any(|mount| mount == wanted);
        // Beside the manifest's the kubelet mounts two of its own.
        let others = config.mounts.iter().filter(|mount| !mount.host_path.starts_with("/var/lib/kubelet/pods/"));
        self.command == config.command
            && self.image == config.image.user_specified_image
            && self.mounts.iter().all(has)
            && others.count() == self.mounts.len()
    }

    fn ended(&self, container: &Container, starts: u32) -> Verdict {
        if starts >= STARTS && container.status.is_stillborn() {
            let code = container.status.exit_code;
            return Verdict::Fails(format!("it ended with exit code {code} as soon as it was started, {starts} times"));
        }
        Verdict::Waits(format!("{} to be started again", self.name))
    }
}

const EXITED: &str = "CONTAINER_EXITED";

impl Status {
    fn has_ended(&self) -> bool {
        self.state == EXITED
    }

    fn is_stillborn(&self) -> bool {
        let lived = moment(&self.finished_at).zip(moment(&self.started_at)).map(|(end, start)| end - start);
        lived.is_some_and(|lived| lived < STILLBORN)
    }
}

fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// `https://127.0.0.1:10259/readyz`
fn health(container: &Value) -> Option<String> {
    let get = &container["readinessProbe"]["httpGet"];
    let port = http_port(container)?;
    let host = get["host"].as_str().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let scheme = get["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
    Some(format!("{scheme}://{host}:{port}{}", get["path"].as_str().unwrap_or("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MANIFEST: &str = "
apiVersion: v1
kind: Pod
spec:
  containers:
  - name: kube-scheduler
    image: registry.k8s.io/kube-scheduler:v1.37.2
    command: [kube-scheduler, --bind-address=127.0.0.1, --v=2]
    ports: [{name: probe-port, containerPort: 10259}]
    readinessProbe: {httpGet: {host: 127.0.0.1, path: /readyz, port: probe-port, scheme: HTTPS}}
    volumeMounts: [{name: conf, mountPath: /etc/conf, readOnly: true}]
  volumes: [{name: conf, hostPath: {path: /etc/kubernetes/scheduler.conf, type: File}}]
";

    fn wanted() -> Wanted {
        Wanted::parse("kube-scheduler", MANIFEST).unwrap()
    }

    /// As crictl tells of the container that is of the manifest.
    fn inspected() -> Value {
        json!({
            "info": {"config": {
                "command": ["kube-scheduler", "--bind-address=127.0.0.1", "--v=2"],
                "image": {"image": "sha256:ad98", "user_specified_image": "registry.k8s.io/kube-scheduler:v1.37.2"},
                "metadata": {"name": "kube-scheduler"},
                "mounts": [
                    {"container_path": "/etc/conf", "host_path": "/etc/kubernetes/scheduler.conf", "readonly": true},
                    {"container_path": "/etc/hosts", "host_path": "/var/lib/kubelet/pods/bd83/etc-hosts"},
                ],
            }},
            "status": {
                "state": "CONTAINER_RUNNING", "exitCode": 0,
                "startedAt": "2026-11-22T20:41:30.110412419Z", "finishedAt": "0001-01-01T00:00:00Z",
            },
        })
    }

    fn judge(container: Value) -> Verdict {
        judge_since(container, &mut Earlier::default())
    }

    fn judge_since(container: Value, earlier: &mut Earlier) -> Verdict {
        wanted().judge(Some(&serde_json::from_value(container).unwrap()), earlier)
    }

    #[test]
    fn a_container_of_the_manifest_runs() {
        assert_eq!(wanted().health.as_deref(), Some("https://127.0.0.1:10259/readyz"));
        assert_eq!(judge(inspected()), Verdict::Runs);
    }

    #[test]
    fn one_with_other_flags_image_or_mounts_is_the_old_one() {
        let old = Verdict::Waits("kube-scheduler to be started as its manifest says".into());
        assert_eq!(wanted().judge(None, &mut Earlier::default()), old);
        let mounts = json!([{"container_path": "/etc/conf", "host_path": "/etc/kubernetes/scheduler.conf"}]);
        let more = json!([
            {"container_path": "/etc/conf", "host_path": "/etc/kubernetes/scheduler.conf", "readonly": true},
            {"container_path": "/var/log", "host_path": "/var/log"},
        ]);
        for (field, value) in [
            ("command", json!(["kube-scheduler", "--bind-address=127.0.0.1"])),
            ("image", json!({"user_specified_image": "registry.k8s.io/kube-scheduler:v1.37.1"})),
            ("mounts", mounts),
            ("mounts", more),
            ("mounts", json!([])),
        ] {
            let mut container = inspected();
            container["info"]["config"][field] = value;
            assert_eq!(judge(container), old, "{field}");
        }
    }

    /// One that ended a moment after it was started, for this time.
    fn stillborn(attempt: u32) -> Value {
        let mut container = inspected();
        container["status"] = json!({
            "state": "CONTAINER_EXITED", "exitCode": 1,
            "startedAt": "2026-11-22T20:41:30.1Z", "finishedAt": "2026-11-22T20:41:30.4Z",
        });
        container["info"]["config"]["metadata"]["attempt"] = json!(attempt);
        container
    }

    fn again() -> Verdict {
        Verdict::Waits("kube-scheduler to be started again".into())
    }

    #[test]
    fn one_that_ends_at_its_start_for_the_third_time_has_failed() {
        let mut earlier = Earlier::default();
        assert_eq!(judge_since(inspected(), &mut earlier), Verdict::Runs);
        assert_eq!(judge_since(stillborn(1), &mut earlier), again());
        let cause = "it ended with exit code 1 as soon as it was started, 3 times";
        assert_eq!(judge_since(stillborn(2), &mut earlier), Verdict::Fails(cause.into()));
        // One that has worked for a while lost something that it needs, and may find it again.
        let mut container = stillborn(2);
        container["status"]["finishedAt"] = json!("2026-11-22T20:42:30.4Z");
        assert_eq!(judge_since(container, &mut earlier), again());
    }

    #[test]
    fn what_ended_before_the_wait_does_not_count() {
        let mut earlier = Earlier::default();
        for attempt in [7, 7, 8, 9] {
            assert_eq!(judge_since(stillborn(attempt), &mut earlier), again(), "{attempt}");
        }
        let cause = "it ended with exit code 1 as soon as it was started, 3 times";
        assert_eq!(judge_since(stillborn(10), &mut earlier), Verdict::Fails(cause.into()));
        // A pod that is made anew begins again.
        for attempt in [0, 1] {
            assert_eq!(judge_since(stillborn(attempt), &mut earlier), again(), "{attempt}");
        }
        assert_eq!(judge_since(stillborn(2), &mut earlier), Verdict::Fails(cause.into()));
    }

    #[test]
    fn what_is_no_pod_is_told() {
        Wanted::parse("etcd", "{").unwrap_err();
        Wanted::parse("etcd", "kind: Pod").unwrap_err();
    }
}
