//! From files to a [`Playbook`]: what is extended, the phases, the hooks in their places, with all mistakes together.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::MaxUnavailable;
use super::draft::Draft;
use super::model::{BUILTIN, Phase, Playbook};
use super::order;
use super::read::read;
use super::source::{self, Findings, Place, PlaybookError};
use super::written::{Document, Group, Hosts, Step};
use crate::engine::Item;
use crate::inventory::reading::{did_you_mean, format, quote, quote_path, reason};
use crate::inventory::{Cluster, Path};

/// Reads a playbook file, what it extends, and the files beside it.
pub fn load(path: &Utf8Path) -> Result<Playbook, PlaybookError> {
    open(path)?.end()
}

/// Reads a playbook file for the hosts of an inventory: also names of hosts and all templates that need no facts are checked.
/// `overrides` are values for templates that have the last word.
pub fn load_for(
    path: &Utf8Path,
    cluster: &Cluster,
    overrides: impl IntoIterator<Item = (String, Value)>,
) -> Result<Playbook, PlaybookError> {
    let mut read = open(path)?;
    if let Some(playbook) = &mut read.playbook {
        playbook.overrides.extend(overrides);
        playbook.check(cluster, &mut read.findings);
    }
    read.end()
}

/// What was read, and what is wrong with it.
struct Read {
    /// None where a mistake keeps it from being one.
    playbook: Option<Playbook>,
    findings: Findings,
}

impl Read {
    fn end(self) -> Result<Playbook, PlaybookError> {
        self.findings.result()?;
        Ok(self.playbook.expect("where there is none, a mistake says why"))
    }
}

fn open(path: &Utf8Path) -> Result<Read, PlaybookError> {
    let unreadable = |why| PlaybookError::Unreadable { path: path.to_owned(), why };
    let text = text(path).map_err(unreadable)?;
    let mut loader = Loader { open: path.canonicalize_utf8().into_iter().collect(), findings: Findings::default() };
    let playbook = loader.playbook(text, path, path.parent());
    Ok(Read { playbook, findings: loader.findings })
}

/// A playbook of the binary's own.
pub fn builtin(name: &str) -> Playbook {
    let is_known = BUILTIN.iter().any(|(known, _)| *known == name);
    assert!(is_known, "only built-in names are asked for");
    named(name).unwrap_or_else(|error| panic!("built-in playbooks are tested: {error}"))
}

impl Playbook {
    /// Whether it takes something back that a cluster needs: it has a step that no playbook has which makes one.
    pub fn destroys(&self) -> bool {
        let of = |name: &str| -> Vec<String> { builtin(name).steps().into_iter().map(String::from).collect() };
        let harmless: Vec<String> = ["up", "init", "join"].into_iter().flat_map(of).collect();
        self.steps().into_iter().any(|step| !harmless.iter().any(|name| name == step))
    }
}

fn named(name: &str) -> Result<Playbook, PlaybookError> {
    let mut loader = Loader { open: Vec::new(), findings: Findings::default() };
    let playbook = loader.builtin(name);
    Read { playbook, findings: loader.findings }.end()
}

/// A playbook that has no files beside it, from its text.
pub fn parse(text: &str, origin: &Utf8Path) -> Result<Playbook, PlaybookError> {
    let mut loader = Loader { open: Vec::new(), findings: Findings::default() };
    let playbook = loader.playbook(text.into(), origin, None);
    Read { playbook, findings: loader.findings }.end()
}

fn text(path: &Utf8Path) -> Result<String, String> {
    String::from_utf8(source::read(path)?).map_err(|_| "it is not UTF-8 text".into())
}

struct Loader {
    /// The files that extend one another, the outermost first.
    open: Vec<Utf8PathBuf>,
    findings: Findings,
}

impl Loader {
    fn builtin(&mut self, name: &str) -> Option<Playbook> {
        let (_, text) = BUILTIN.iter().find(|(known, _)| *known == name)?;
        self.playbook((*text).into(), &Utf8PathBuf::from(format!("playbooks/{name}.yaml")), None)
    }

    /// `folder` is what other files are relative to.
    fn playbook(&mut self, text: String, origin: &Utf8Path, folder: Option<&Utf8Path>) -> Option<Playbook> {
        let (source, document) = read(text, origin, &mut self.findings)?;
        let root = Place { source, path: Path::root() };
        let base = document.extends.as_ref().map(|target| self.base(target, &root.key("extends"), folder));
        if document.phases.is_empty() && document.hooks.is_empty() && document.extends.is_none() {
            let hint = "for example `phases: [{name: tune, hosts: all, steps: [set-sysctls]}]`";
            self.findings.add(&root, "lacks the field `phases`", Some(hint.into()));
        }
        let mut playbook = Playbook {
            name: document.name.clone(),
            description: document.description.clone(),
            vars: Default::default(),
            overrides: Default::default(),
            phases: Vec::new(),
        };
        // What hooks and phases refer to may be in a playbook that can't be read.
        let is_whole = !matches!(base, Some(None));
        if let Some(base) = base.flatten() {
            playbook.vars = base.vars;
            playbook.phases = base.phases;
        }
        playbook.vars.extend(document.vars.clone());
        self.phases(&document, &root, folder, &mut playbook);
        if is_whole {
            self.hooks(&document, &root, folder, &mut playbook);
            order::check(&playbook.phases, &root.source, &mut self.findings);
        }
        Some(playbook)
    }

    /// What is extended; None where it can't be read, which is told.
    fn base(&mut self, target: &str, place: &Place, folder: Option<&Utf8Path>) -> Option<Playbook> {
        let names = BUILTIN.map(|(name, _)| name);
        if names.contains(&target) {
            return self.builtin(target);
        }
        let is_file = target.contains('/') || target.ends_with(".yaml") || target.ends_with(".yml");
        let Some(folder) = folder.filter(|_| is_file) else {
            let hint = did_you_mean(target, &names).unwrap_or_else(|| {
                format!("built in are {}; a file is named by its path, as `./base.yaml`", names.join(", "))
            });
            self.findings.add(place, format!("there is no playbook {}", quote(target)), Some(hint));
            return None;
        };
        let path = folder.join(target);
        let read = path.canonicalize_utf8().map_err(|error| reason(&error));
        let read = read.and_then(|real| Ok((text(&real)?, real)));
        let (text, real) = match read {
            Ok(read) => read,
            Err(why) => {
                self.findings.add(place, format!("failed to read {}: {why}", quote_path(path.as_str())), None);
                return None;
            }
        };
        if let Some(start) = self.open.iter().position(|open| *open == real) {
            let circle = self.open[start..].iter().chain([&real]);
            let names: Vec<&str> = circle.map(|path| path.file_name().unwrap_or(path.as_str())).collect();
            let message = format!("goes in a circle: {}", names.join(" extends "));
            self.findings.add(place, message, Some("one of them must extend nothing, or a built-in playbook".into()));
            return None;
        }
        self.open.push(real);
        let playbook = self.playbook(text, &path, path.parent());
        self.open.pop();
        playbook
    }

    fn phases(&mut self, document: &Document, root: &Place, folder: Option<&Utf8Path>, playbook: &mut Playbook) {
        for (index, phase) in document.phases.iter().enumerate() {
            let place = root.key("phases").index(index);
            self.name(&phase.name, &place.key("name"), &playbook.phases);
            self.hosts(&phase.hosts, &place.key("hosts"));
            let max_unavailable = phase.max_unavailable.as_ref().map(MaxUnavailable::read).transpose();
            let max_unavailable = max_unavailable.unwrap_or_else(|why| {
                let hint = "for example `1` or `10%`".to_string();
                self.findings.add(&place.key("maxUnavailable"), why, Some(hint));
                None
            });
            let steps = self.steps(&phase.steps, &place.key("steps"), folder, &phase.hosts);
            playbook.phases.push(Phase {
                name: phase.name.clone(),
                description: phase.description.clone(),
                hosts: phase.hosts.clone(),
                after: phase.after.clone(),
                max_unavailable,
                steps,
                place,
            });
        }
    }

    fn hooks(&mut self, document: &Document, root: &Place, folder: Option<&Utf8Path>, playbook: &mut Playbook) {
        let mut hooked = order::Hooked::default();
        for (index, hook) in document.hooks.iter().enumerate() {
            let place = root.key("hooks").index(index);
            let (side, target) = match (&hook.before, &hook.after) {
                (Some(target), None) => (order::Side::Before, target),
                (None, Some(target)) => (order::Side::After, target),
                (before, _) => {
                    let message = match before {
                        Some(_) => "comes either before a phase or after one, not both",
                        None => "lacks the phase that it comes `before` or `after`",
                    };
                    self.findings.add(&place, message, Some("for example `before: control-plane`".into()));
                    continue;
                }
            };
            let Some(phase) = playbook.phases.iter().find(|phase| phase.name == *target) else {
                let names: Vec<&str> = playbook.phases.iter().map(|phase| phase.name.as_str()).collect();
                self.findings.add(
                    &place.key(side.word()),
                    format!("there is no phase {}", quote(target)),
                    Some(order::meant(target, &names)),
                );
                continue;
            };
            let hosts = hook.hosts.clone().unwrap_or_else(|| phase.hosts.clone());
            self.hosts(&hosts, &place.key("hosts"));
            let name = match &hook.name {
                Some(name) => {
                    self.name(name, &place.key("name"), &playbook.phases);
                    name.clone()
                }
                None => order::free_name(&format!("{}-{target}", side.word()), &playbook.phases),
            };
            let steps = self.steps(&hook.steps, &place.key("steps"), folder, &hosts);
            let description = hook.description.clone();
            let phase = Phase { name, description, hosts, after: Vec::new(), max_unavailable: None, steps, place };
            hooked.insert(&mut playbook.phases, phase, side, target);
        }
    }

    fn name(&mut self, name: &str, place: &Place, taken: &[Phase]) {
        if let Err(flaw) = format::label(name) {
            self.findings.add(place, flaw.message, flaw.hint);
        }
        if taken.iter().any(|phase| phase.name == name) {
            let hint = "to add to a phase of the playbook that is extended, use `hooks`";
            self.findings.add(place, format!("there is a phase {} already", quote(name)), Some(hint.into()));
        }
    }

    fn hosts(&mut self, hosts: &Hosts, place: &Place) {
        if matches!(hosts, Hosts::Names(names) if names.is_empty()) {
            self.findings.add(place, "is empty", Some("for example `all` or `[n1, n2]`".into()));
        }
    }

    fn steps(&mut self, steps: &[Step], place: &Place, folder: Option<&Utf8Path>, hosts: &Hosts) -> Vec<Item<Draft>> {
        let mut items = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let place = place.index(index);
            match step {
                Step::Name(name) => {
                    self.step_name(name, &place);
                    items.push(Item::Step(name.clone()));
                }
                Step::Task(task) => match (&task.parallel, &task.kinds()[..]) {
                    (Some(branches), [_]) => {
                        let place = place.key("parallel");
                        let branches = branches.iter().enumerate();
                        let branches = branches.map(|(i, branch)| self.steps(branch, &place.index(i), folder, hosts));
                        items.push(Item::Parallel(branches.collect()));
                    }
                    (None, [_]) => {
                        self.place_of_objects(task, &place, hosts);
                        items.extend(Draft::new(task, &place, folder, &mut self.findings).map(Item::Task));
                    }
                    (_, kinds) => self.kinds(kinds, &place),
                },
            }
        }
        items
    }

    fn step_name(&mut self, name: &str, place: &Place) {
        let names: Vec<&str> = crate::steps::names().collect();
        if names.contains(&name) {
            return;
        }
        let hint = did_you_mean(name, &names)
            .unwrap_or_else(|| "the built-in playbooks show all steps: `kboot playbook show up`".into());
        self.findings.add(place, format!("there is no step {}", quote(name)), Some(hint));
    }

    /// None or several of the fields that say what a task is.
    fn kinds(&mut self, kinds: &[&str], place: &Place) {
        // A misspelt one has been told.
        if kinds.is_empty() && self.findings.has_within(place) {
            return;
        }
        let (message, hint) = match kinds {
            [] => (
                "says nothing to do".to_string(),
                "it takes one of file, template, directory, package, unit, sysctl, module, command, object, wait, parallel",
            ),
            several => (format!("is several things: {}", several.join(", ")), "make a step of each"),
        };
        self.findings.add(place, message, Some(hint.into()));
    }

    /// Objects are reached where admin.conf is.
    fn place_of_objects(&mut self, task: &super::written::Task, place: &Place, hosts: &Hosts) {
        let concerns_objects = task.object.is_some() || task.wait.as_ref().is_some_and(|wait| wait.object.is_some());
        if concerns_objects && matches!(hosts, Hosts::Group(Group::All | Group::Worker)) {
            self.findings.add(
                place,
                "needs the cluster's API, which kboot reaches from control planes only",
                Some("put it into a phase with `hosts: control-plane`".into()),
            );
        }
    }
}
