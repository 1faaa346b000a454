//! What playbooks of users want beyond the built-in steps: a file, a package, a command … each a step of its own.
//!
//! A [`Task`] is plain data in its last form, for one host: every variable is filled in and every file beside the playbook has
//! been read. It travels to the agent. Nothing here knows how playbooks are written; resources do all the work.

mod wait;

use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{AnyStep, Content, FileMode, Item};
use crate::resource::{
    Absent, Converge, Directory, File, Guarded, Installed, Module, ObjectAbsent, Objects, Package, Removed, Sysctl,
    Unit,
};

use super::Make;

pub use crate::resource::Condition;
pub use wait::{ObjectWait, Wait};

/// A phase's part, as an agent gets it.
pub type PhaseItem = Item<Task>;

/// One thing that a host, or the cluster, shall have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// What the playbook's author calls it.
    pub name: Option<String>,
    pub wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    File { path: Utf8PathBuf, content: Content, mode: FileMode },
    NoFile { path: Utf8PathBuf },
    Directory { path: Utf8PathBuf, mode: FileMode },
    Package { name: String, version: Option<String> },
    NoPackage { name: String },
    Unit { name: String, is_running: Option<bool>, is_enabled: Option<bool>, reads: Vec<Utf8PathBuf> },
    Sysctl { key: String, value: String },
    Module { name: String },
    Command { run: Vec<String>, why: Option<String>, condition: Condition, undo: Option<Vec<String>> },
    Objects { objects: Vec<Value> },
    NoObjects { objects: Vec<Value> },
    Wait { wait: Wait, timeout_seconds: Option<u64> },
}

impl Task {
    /// The step's name in events and journals, as `file:/etc/motd`.
    pub fn id(&self) -> String {
        match &self.wanted {
            Wanted::File { path, .. } | Wanted::NoFile { path } => format!("file:{path}"),
            Wanted::Directory { path, .. } => format!("directory:{path}"),
            Wanted::Package { name, .. } | Wanted::NoPackage { name } => format!("package:{name}"),
            Wanted::Unit { name, .. } => format!("unit:{name}"),
            Wanted::Sysctl { key, .. } => format!("sysctl:{key}"),
            Wanted::Module { name } => format!("module:{name}"),
            Wanted::Command { run, .. } => format!("command:{}", run.first().map(String::as_str).unwrap_or_default()),
            Wanted::Objects { objects } | Wanted::NoObjects { objects } => {
                format!("object:{}", objects.first().map(named).unwrap_or_default())
            }
            Wanted::Wait { wait, .. } => format!("wait:{}", wait.word()),
        }
    }

    pub fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match &self.wanted {
            Wanted::File { path, .. } => format!("Write {path}"),
            Wanted::NoFile { path } => format!("Remove {path}"),
            Wanted::Directory { path, .. } => format!("Make the directory {path}"),
            Wanted::Package { name, .. } => format!("Install {name}"),
            Wanted::NoPackage { name } => format!("Remove the package {name}"),
            Wanted::Unit { name, .. } => format!("Set up {name}"),
            Wanted::Sysctl { key, .. } => format!("Set {key}"),
            Wanted::Module { name } => format!("Load the kernel module {name}"),
            Wanted::Command { why: Some(why), .. } => capitalised(why),
            Wanted::Command { run, .. } => format!("Run {}", run.join(" ")),
            Wanted::Objects { objects } => format!("Apply {}", listed(objects)),
            Wanted::NoObjects { objects } => format!("Delete {}", listed(objects)),
            Wanted::Wait { wait, .. } => format!("Wait for {wait}"),
        }
    }
}

/// `ConfigMap/site`
fn named(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn listed(objects: &[Value]) -> String {
    match objects {
        [one] => named(one),
        many => format!("{} objects", many.len()),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Where a playbook's sysctl is kept for the next boot. After kboot's own, so that it has the last word.
fn sysctl_file(key: &str) -> String {
    format!("/etc/sysctl.d/99-playbook-{}.conf", key.replace('/', "-"))
}

fn module_file(name: &str) -> String {
    format!("/etc/modules-load.d/kboot-{name}.conf")
}

/// Makes a task's step.
pub fn build(task: &Task, make: &Make<'_>) -> Box<dyn AnyStep> {
    let (context, kube) = (make.context, &make.services.kube);
    let step = Converge::new(task.id(), task.title());
    let step = match &task.wanted {
        Wanted::File { path, content, mode } => step.with(File::new(path, content.clone()).mode(*mode)),
        Wanted::NoFile { path } => step.with(Absent::new(path)),
        Wanted::Directory { path, mode } => step.with(Directory::new(path, *mode)),
        Wanted::Package { name, version } => {
            let package = Package { version: version.clone(), ..Package::any(name) };
            let installed = Installed { packages: vec![package], sources: Vec::new(), refresh_all: true, lock: None };
            step.deadline(context.install_deadline()).with(installed)
        }
        Wanted::NoPackage { name } => {
            step.deadline(context.install_deadline()).with(Removed(vec![name.clone().into()]))
        }
        Wanted::Unit { name, is_running, is_enabled, reads } => {
            step.with(reads.iter().fold(Unit::new(name, *is_running, *is_enabled), |unit, file| unit.reads(file)))
        }
        Wanted::Sysctl { key, value } => {
            step.with(Sysctl::new(key, value)).with(File::text(sysctl_file(key), format!("{key} = {value}\n")))
        }
        Wanted::Module { name } => {
            step.with(Module::named(name)).with(File::text(module_file(name), format!("{name}\n")))
        }
        Wanted::Command { run, why, condition, undo } => {
            let why = why.clone().unwrap_or_else(|| "run a command of the playbook".into());
            step.with(Guarded::new(run.clone(), why, condition.clone(), undo.clone()))
        }
        Wanted::Objects { objects } => {
            step.deadline(context.ready_deadline()).with(Objects { kube: kube.clone(), objects: objects.clone() })
        }
        Wanted::NoObjects { objects } => {
            let text = |value: &Value| value.as_str().map(String::from);
            let absent = objects.iter().rev().map(|object| ObjectAbsent {
                kube: kube.clone(),
                api_version: text(&object["apiVersion"]).unwrap_or_default(),
                kind: text(&object["kind"]).unwrap_or_default(),
                namespace: text(&object["metadata"]["namespace"]),
                name: text(&object["metadata"]["name"]).unwrap_or_default(),
            });
            step.deadline(context.ready_deadline()).with_all(absent)
        }
        Wanted::Wait { wait, timeout_seconds } => {
            let deadline = timeout_seconds.map_or(context.ready_deadline(), Duration::from_secs);
            return Box::new(wait::WaitFor::new(task, wait.clone(), deadline, kube.clone()));
        }
    };
    Box::new(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_travels_to_the_agent_and_shows_nowhere() {
        let wanted = Wanted::File {
            path: "/etc/token".into(),
            content: Content::Secret("hunter2".into()),
            mode: FileMode::PRIVATE,
        };
        let task = Task { name: None, wanted };
        assert!(!format!("{task:?}").contains("hunter2"));
        let sent = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&sent).unwrap(), task);
    }

    #[test]
    fn a_task_is_known_by_what_it_keeps() {
        let task = |name: Option<&str>, wanted| Task { name: name.map(String::from), wanted };
        let module = || Wanted::Module { name: "ip_vs".into() };
        assert_eq!(task(None, module()).id(), "module:ip_vs");
        assert_eq!(task(None, module()).title(), "Load the kernel module ip_vs");
        assert_eq!(task(Some("Balance"), module()).title(), "Balance");
        let object = serde_json::json!({"kind": "ConfigMap", "metadata": {"name": "site"}});
        assert_eq!(task(None, Wanted::Objects { objects: vec![object] }).id(), "object:ConfigMap/site");
    }
}
