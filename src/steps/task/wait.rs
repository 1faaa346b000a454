//! Waits that a playbook asks for: until a file, a unit, a port or an object is there.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::hint::UnitWord;
use crate::engine::{Evidence, Hint, Planned, Probe, Result, Step};
use crate::kube::Connector;
use crate::proc;

use super::Task;
use crate::steps::evidence;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// Something at this path.
    File(Utf8PathBuf),
    /// The unit is active.
    Unit(String),
    /// Something listens on this TCP port of the host.
    Port(u16),
    Object(ObjectWait),
}

/// An object that exists and, where one is named, has a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectWait {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    /// As `Available`: it must be True.
    pub condition: Option<String>,
}

impl Wait {
    /// For the step's name.
    pub(super) fn word(&self) -> String {
        match self {
            Wait::File(path) => path.to_string(),
            Wait::Unit(name) => name.clone(),
            Wait::Port(port) => port.to_string(),
            Wait::Object(object) => format!("{}/{}", object.kind, object.name),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::File(path) => write!(f, "the file {path}"),
            Wait::Unit(name) => write!(f, "the unit {name}"),
            Wait::Port(port) => write!(f, "a listener on port {port}"),
            Wait::Object(ObjectWait { kind, namespace, name, condition, .. }) => {
                let namespace = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
                write!(f, "{kind} {namespace}{name}")?;
                condition.as_ref().map_or(Ok(()), |condition| write!(f, " to be {condition}"))
            }
        }
    }
}

pub struct WaitFor {
    id: String,
    title: String,
    wait: Wait,
    deadline: Duration,
    kube: Connector,
}

impl WaitFor {
    pub(super) fn new(task: &Task, wait: Wait, deadline: Duration, kube: Connector) -> Self {
        Self { id: task.id(), title: task.title(), wait, deadline, kube }
    }

    async fn has_object(&self, wanted: &ObjectWait, probe: &dyn Probe) -> Result<bool> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(false) };
        match view.get(&wanted.api_version, &wanted.kind, wanted.namespace.as_deref(), &wanted.name).await {
            Err(failure) if failure.retryable => Ok(false),
            Err(failure) => Err(failure),
            Ok(object) => Ok(object.is_some_and(|object| is_met(&object, wanted.condition.as_deref()))),
        }
    }
}

fn is_met(object: &Value, condition: Option<&str>) -> bool {
    let Some(wanted) = condition else { return true };
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == wanted && condition["status"] == "True")
}

#[async_trait]
impl Step for WaitFor {
    type Observed = bool;

    fn id(&self) -> &str {
        &self.id
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        match &self.wait {
            Wait::File(path) => Ok(probe.stat(path).await?.is_some()),
            Wait::Unit(name) => {
                let shown = probe.query(&["systemctl", "show", name, "--property=ActiveState"]).await?;
                Ok(shown.text() == "ActiveState=active")
            }
            Wait::Port(port) => {
                for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
                    let table = probe.read_text(Utf8Path::new(table)).await?.unwrap_or_default();
                    if proc::ports(&table, proc::LISTEN).any(|listened| listened == *port) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Wait::Object(object) => self.has_object(object, probe).await,
        }
    }

    fn diff(&self, is_there: bool) -> Planned {
        if is_there { Planned::Satisfied } else { Planned::after(self.wait.to_string()) }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        match &self.wait {
            Wait::Unit(name) => {
                let argv = ["journalctl", "-u", name, "-n", "8", "--no-pager", "-o", "cat"];
                let output = probe.query(&argv).await.unwrap_or_default();
                let lines = output.stdout.lines().map(|line| format!("{name}: {line}")).collect();
                Evidence { lines, hint: Some(Hint::UnitStatus { unit: UnitWord::of(name) }) }
            }
            Wait::Object(_) => Evidence { lines: evidence::pods(&self.kube, probe).await, hint: None },
            Wait::File(_) | Wait::Port(_) => Evidence::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use serde_json::json;

    fn waiting(wait: Wait) -> WaitFor {
        let wanted = super::super::Wanted::Wait { wait: wait.clone(), timeout_seconds: None };
        WaitFor::new(&Task { name: None, wanted }, wait, Duration::from_secs(1), Connector::default())
    }

    #[tokio::test]
    async fn each_thing_is_seen_when_it_is_there() {
        let tcp = "  sl  local_address rem_address   st\n   0: 00000000:1F90 00000000:0000 0A 0\n   1: 0100007F:0016 0100007F:9999 01 0\n";
        let host = FakeHost::default()
            .file("/run/ready", "")
            .file("/proc/net/tcp", tcp)
            .answer("systemctl show a.service --property=ActiveState", 0, "ActiveState=active\n")
            .answer("systemctl show b.service --property=ActiveState", 0, "ActiveState=inactive\n");
        for (wait, is_there) in [
            (Wait::File("/run/ready".into()), true),
            (Wait::File("/run/other".into()), false),
            (Wait::Port(8080), true),
            (Wait::Port(22), false),
            (Wait::Unit("a.service".into()), true),
            (Wait::Unit("b.service".into()), false),
        ] {
            assert_eq!(waiting(wait.clone()).observe(&host).await.unwrap(), is_there, "{wait}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(waiting(Wait::Port(80)).diff(false), Planned::after("a listener on port 80"));
        let object = json!({"status": {"conditions": [{"type": "Available", "status": "False"}, {"type": "Progressing", "status": "True"}]}});
        assert!(is_met(&object, Some("Progressing")) && is_met(&object, None));
        assert!(!is_met(&object, Some("Available")) && !is_met(&json!({}), Some("Ready")));
    }
}
