//! Playbooks as they are written. The field docs are the descriptions in the JSON Schema that `kboot playbook schema` prints.
//!
//! Plain data: text may still hold `{{ … }}`, and files beside the playbook are only named.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Phases of steps and tasks, which hosts walk from top to bottom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The playbook's name.
    #[schemars(example = &"site")]
    pub name: String,
    /// For a person: what the playbook is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The playbook whose phases come first: a built-in one by its name, or a file relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Values that stand as `vars.NAME` in templates. The inventory's `vars`, a host's `vars` and `--var` replace them, in this
    /// order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Value>,
    /// What comes before and after phases of the playbook that is extended, or of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Phases, after those of the playbook that is extended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
}

/// A phase of its own right before or after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// The phase that waits for this hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The phase that this hook follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The hook's name among the phases. Default: `before-PHASE` or `after-PHASE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For a person: what the hook is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Default: the phase's own hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Hosts>,
    #[schemars(length(min = 1), example = &"[{file: {path: /etc/motd, content: hello}}]")]
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phase {
    #[schemars(example = &"tune")]
    pub name: String,
    /// For a person: what the phase is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The hosts that it is for.
    #[schemars(example = &"all")]
    pub hosts: Hosts,
    /// Phases that must have ended on the other hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// How many hosts that belong to the cluster already take it at a time, each well again before the next: a number, or a share
    /// as `10%`. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1")]
    pub max_unavailable: Option<Scalar>,
    #[schemars(length(min = 1), example = &"[set-sysctls]")]
    pub steps: Vec<Step>,
}

/// All hosts, those of a role, or some by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hosts {
    Group(Group),
    Names(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    All,
    ControlPlane,
    /// The control plane that speaks for the cluster: the first that belongs to it and stays, or the one that begins it.
    Leader,
    /// Control planes that belong to the cluster, and the one that begins it.
    EstablishedControlPlane,
    /// Control planes that are yet to join the others.
    JoiningControlPlane,
    /// Nodes that are no control plane.
    Worker,
    /// Hosts with the role `etcd`.
    Etcd,
    /// The etcd host that speaks for the others: the first that has a member, or the one that begins.
    EtcdLeader,
    /// Etcd hosts that have a member, and the one that begins.
    EstablishedEtcd,
    /// Etcd hosts that are yet to join the others.
    JoiningEtcd,
    /// Those that a reset, an undo or a recovery takes out of the cluster; of no use in other playbooks.
    Leaving,
}

/// A built-in step by its name, branches that run at the same time, or a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Step {
    Name(String),
    Task(Box<Task>),
}

/// One of the fields beside `name`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Task {
    /// What reports call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Lists of steps; the lists run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Vec<Vec<Step>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctl: Option<Sysctl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// A file with exactly this content, taken as it stands; or no file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    #[schemars(example = &"/etc/motd")]
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A file beside the playbook with the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Octal permissions. Default: `"0644"`, and `"0600"` for what is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"\"0644\"")]
    pub mode: Option<String>,
    /// Whether plans, logs and journals show a digest only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
}

/// A file whose content is filled in for each host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    #[schemars(example = &"/etc/chrony/chrony.conf")]
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A file beside the playbook with the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Octal permissions. Default: `"0644"`, and `"0600"` for what is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"\"0644\"")]
    pub mode: Option<String>,
    /// Whether plans, logs and journals show a digest only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Directory {
    #[schemars(example = &"/srv/site")]
    pub path: String,
    /// Octal permissions. Default: `"0755"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"\"0755\"")]
    pub mode: Option<String>,
}

/// A package of the host's repositories, installed or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    #[schemars(example = &"chrony")]
    pub name: String,
    /// An exact version, or the beginning of one and `*`. Default: any, the newest if it is not installed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"\"4.3-*\"")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    #[default]
    Present,
    Absent,
}

impl Presence {
    pub fn is_present(&self) -> bool {
        *self == Self::Present
    }
}

/// A systemd unit. What is left out is no matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unit {
    #[schemars(example = &"chrony.service")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<UnitState>,
    /// Whether it starts at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Files that it reads when it starts: it is restarted where one has changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    Running,
    Stopped,
}

/// A kernel setting, now and at boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sysctl {
    #[schemars(example = &"net.core.somaxconn")]
    pub key: String,
    #[schemars(example = &"1024")]
    pub value: Scalar,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Text(String),
    Number(i64),
}

/// A kernel module, loaded now and at boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Module {
    #[schemars(example = &"ip_vs")]
    pub name: String,
}

/// A command, run where its guard (`creates`, `removes` or `unless`) says that it is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments. No shell reads them.
    #[schemars(length(min = 1), example = &"[make-db, --fresh]")]
    pub run: Vec<String>,
    /// It is needed while nothing is at this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
    /// It is needed while something is at this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,
    /// It is needed while this command fails. It is run in dry runs, too, so it must only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub unless: Option<Vec<String>>,
    /// What it is good for, as "make the database".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command that takes it back, for `kboot undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub undo: Option<Vec<String>>,
}

/// Objects of the cluster, from one of the three sources. For phases of control planes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object {
    /// A file beside the playbook with YAML documents, taken as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// A file beside the playbook with YAML documents, filled in for each host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<BTreeMap<String, Value>>,
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
}

/// Waits until one thing is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wait {
    /// Something is at this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The unit is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Something listens on this TCP port of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The object exists. For phases of control planes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectWait>,
    /// How long, as `90s` or `5m`. Default: the inventory's `timeouts.ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"90s")]
    pub timeout: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectWait {
    #[schemars(example = &"apps/v1")]
    pub api_version: String,
    #[schemars(example = &"Deployment")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    /// A condition that must be True, as `Available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Template {
    /// The file that it makes, its content not filled in yet.
    pub fn as_file(&self) -> File {
        let Self { path, content, source, mode, secret } = self.clone();
        File { path, content, source, mode, secret, state: Presence::Present }
    }
}

impl Task {
    /// The fields that say what the task is, those that are set.
    pub fn kinds(&self) -> Vec<&'static str> {
        let set = [
            ("parallel", self.parallel.is_some()),
            ("file", self.file.is_some()),
            ("template", self.template.is_some()),
            ("directory", self.directory.is_some()),
            ("package", self.package.is_some()),
            ("unit", self.unit.is_some()),
            ("sysctl", self.sysctl.is_some()),
            ("module", self.module.is_some()),
            ("command", self.command.is_some()),
            ("object", self.object.is_some()),
            ("wait", self.wait.is_some()),
        ];
        set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }
}
