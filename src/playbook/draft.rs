//! Tasks as they are written, with their places, and what becomes of them on a host.
//!
//! One walk serves twice: when a playbook is read it checks all that is certain by then, and once a host is known it makes the task
//! that travels there.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::fill::{self, Values};
use super::source::{Findings, Place, Source, beside};
use super::written::{self, Presence, Scalar, UnitState};
use super::yaml_objects;
use crate::engine::{Content, FileMode, Guard};
use crate::inventory::Mistake;
use crate::inventory::Path;
use crate::inventory::reading::{Flaw, format};
use crate::steps::task::{Condition, ObjectWait, Task, Wait, Wanted};

/// A file beside the playbook that a task names.
type Beside = (Arc<Source>, Vec<u8>);

/// A task of a playbook.
#[derive(Debug, Clone)]
pub struct Draft {
    pub task: written::Task,
    place: Place,
    beside: Option<Beside>,
    /// Whether nothing was found to be wrong with it when it was read.
    is_sound: bool,
}

impl Draft {
    /// Reads the file that the task names and tells all mistakes in it that can be known without a host. None where one was told
    /// already.
    pub(super) fn new(
        task: &written::Task,
        place: &Place,
        folder: Option<&Utf8Path>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let sources = [
            ("file", "source", task.file.as_ref().and_then(|file| file.source.as_ref())),
            ("template", "source", task.template.as_ref().and_then(|template| template.source.as_ref())),
            ("object", "manifest", task.object.as_ref().and_then(|object| object.manifest.as_ref())),
            ("object", "template", task.object.as_ref().and_then(|object| object.template.as_ref())),
        ];
        let named = sources.into_iter().find_map(|(kind, field, name)| Some((place.key(kind).key(field), name?)));
        let known = findings.len();
        let read = match named {
            Some((place, name)) => Some(beside(name, &place, folder, findings)?),
            None => None,
        };
        let mut draft = Self { task: task.clone(), place: place.clone(), beside: read, is_sound: true };
        draft.make(None, findings);
        draft.is_sound = findings.len() == known;
        Some(draft)
    }

    /// What the file beside the playbook holds, if it names one.
    pub(super) fn file(&self) -> Option<&[u8]> {
        self.beside.as_ref().map(|(_, bytes)| bytes.as_slice())
    }

    /// The task for a host; None where it can't be told yet, or something is wrong, which is told then.
    pub(super) fn fill(&self, values: &Values, findings: &mut Findings) -> Option<Task> {
        if self.is_sound { self.make(Some(values), findings) } else { None }
    }

    fn make(&self, values: Option<&Values>, findings: &mut Findings) -> Option<Task> {
        let mut making = Making { beside: self.beside.as_ref(), values, findings };
        let wanted = making.wanted(&self.task, &self.place);
        let name = match &self.task.name {
            Some(name) => Some(making.text(&self.place.key("name"), name)?),
            None => None,
        };
        Some(Task { name, wanted: wanted? })
    }
}

struct Making<'a> {
    beside: Option<&'a Beside>,
    /// None while no host is known.
    values: Option<&'a Values>,
    findings: &'a mut Findings,
}

/// Each part is made before any is used, so that all mistakes in them are told.
impl Making<'_> {
    fn wanted(&mut self, task: &written::Task, place: &Place) -> Option<Wanted> {
        None.or_else(|| task.file.as_ref().map(|file| self.file(file, &place.key("file"), false)))
            .or_else(|| task.template.as_ref().map(|file| self.file(&file.as_file(), &place.key("template"), true)))
            .or_else(|| task.directory.as_ref().map(|directory| self.directory(directory, &place.key("directory"))))
            .or_else(|| task.package.as_ref().map(|package| self.package(package, &place.key("package"))))
            .or_else(|| task.unit.as_ref().map(|unit| self.unit(unit, &place.key("unit"))))
            .or_else(|| task.sysctl.as_ref().map(|sysctl| self.sysctl(sysctl, &place.key("sysctl"))))
            .or_else(|| task.module.as_ref().map(|module| self.module(module, &place.key("module"))))
            .or_else(|| task.command.as_ref().map(|command| self.command(command, &place.key("command"))))
            .or_else(|| task.object.as_ref().map(|object| self.object(object, &place.key("object"))))
            .or_else(|| task.wait.as_ref().map(|wait| self.wait(wait, &place.key("wait"))))
            .flatten()
    }

    fn file(&mut self, file: &written::File, place: &Place, is_template: bool) -> Option<Wanted> {
        let path = self.path(&place.key("path"), &file.path);
        if file.state == Presence::Absent {
            if file.content.is_some() || file.source.is_some() {
                self.findings.add(place, "has content, but shall not be there", None);
            }
            return Some(Wanted::NoFile { path: path? });
        }
        let content = self.content(file, place, is_template);
        let mode = self.mode(place, &file.mode, if file.secret { FileMode::PRIVATE } else { FileMode::PUBLIC });
        Some(Wanted::File { path: path?, content: content?, mode: mode? })
    }

    fn content(&mut self, file: &written::File, place: &Place, is_template: bool) -> Option<Content> {
        let is_secret = file.secret;
        let text = |text: String| if is_secret { Content::Secret(text) } else { Content::Text(text) };
        match (&file.content, &file.source, self.beside) {
            (Some(content), None, _) if is_template => self.text(&place.key("content"), content).map(text),
            (Some(content), None, _) => Some(text(content.clone())),
            (None, Some(_), Some((source, bytes))) => match (is_template, std::str::from_utf8(bytes)) {
                (true, Ok(template)) => self.beside_text(source, template).map(text),
                (false, Ok(content)) => Some(text(content.to_string())),
                (false, Err(_)) if !is_secret => Some(Content::from_bytes(bytes.clone())),
                _ => {
                    self.findings.add(&place.key("source"), "is not UTF-8 text, which it must be here", None);
                    None
                }
            },
            (None, Some(_), None) => None,
            (Some(_), Some(_), _) => {
                self.findings.add(place, "has both `content` and `source`", Some("keep one of them".into()));
                None
            }
            (None, None, _) if place.lost(&["content", "source"]) => None,
            (None, None, _) => {
                let hint = "`content` holds it, `source` names a file beside the playbook";
                self.findings.add(place, "lacks its content", Some(hint.into()));
                None
            }
        }
    }

    fn directory(&mut self, directory: &written::Directory, place: &Place) -> Option<Wanted> {
        let path = self.path(&place.key("path"), &directory.path);
        let mode = self.mode(place, &directory.mode, FileMode::DIRECTORY);
        Some(Wanted::Directory { path: path?, mode: mode? })
    }

    fn package(&mut self, package: &written::Package, place: &Place) -> Option<Wanted> {
        let name = self.checked(&place.key("name"), &package.name, package_name);
        let version = match &package.version {
            Some(version) => self.checked(&place.key("version"), version, plain_word).map(Some),
            None => Some(None),
        };
        if package.state == Presence::Absent {
            if package.version.is_some() {
                self.findings.add(&place.key("version"), "has no meaning for a package that shall not be there", None);
            }
            return Some(Wanted::NoPackage { name: name? });
        }
        Some(Wanted::Package { name: name?, version: version? })
    }

    fn unit(&mut self, unit: &written::Unit, place: &Place) -> Option<Wanted> {
        let name = self.checked(&place.key("name"), &unit.name, unit_name);
        let reads: Vec<_> =
            unit.reads.iter().enumerate().map(|(i, file)| self.path(&place.key("reads").index(i), file)).collect();
        if unit.state.is_none() && unit.enabled.is_none() && !place.lost(&["state", "enabled"]) {
            let hint = "for example `state: running` and `enabled: true`";
            self.findings.add(place, "says neither what state it is in nor whether it is enabled", Some(hint.into()));
        }
        if !unit.reads.is_empty() && unit.state != Some(UnitState::Running) && !place.lost(&["state"]) {
            let hint = Some("add `state: running`".into());
            self.findings.add(&place.key("reads"), "restarts only a unit that shall run", hint);
        }
        let is_running = unit.state.map(|state| state == UnitState::Running);
        let reads = reads.into_iter().collect::<Option<_>>()?;
        Some(Wanted::Unit { name: name?, is_running, is_enabled: unit.enabled, reads })
    }

    fn sysctl(&mut self, sysctl: &written::Sysctl, place: &Place) -> Option<Wanted> {
        let key = self.checked(&place.key("key"), &sysctl.key, sysctl_key);
        let value = match &sysctl.value {
            Scalar::Text(text) => self.checked(&place.key("value"), text, one_line),
            Scalar::Number(number) => Some(number.to_string()),
        };
        Some(Wanted::Sysctl { key: key?, value: value? })
    }

    fn module(&mut self, module: &written::Module, place: &Place) -> Option<Wanted> {
        Some(Wanted::Module { name: self.checked(&place.key("name"), &module.name, module_name)? })
    }

    fn command(&mut self, command: &written::Command, place: &Place) -> Option<Wanted> {
        let run = self.words(&place.key("run"), &command.run);
        let undo = command.undo.as_ref().map(|undo| self.words(&place.key("undo"), undo));
        let why = command.why.as_ref().map(|why| self.checked(&place.key("why"), why, one_line));
        let condition = match (&command.creates, &command.removes, &command.unless) {
            (Some(path), None, None) => self.path(&place.key("creates"), path).map(Condition::Exists),
            (None, Some(path), None) => self.path(&place.key("removes"), path).map(Condition::IsGone),
            (None, None, Some(argv)) => self
                .words(&place.key("unless"), argv)
                .map(|argv| Condition::Succeeds(Guard::declared_to_only_read(argv))),
            (None, None, None) if place.lost(&["creates", "removes", "unless"]) => None,
            (None, None, None) => {
                let hint = "add `creates: PATH`, `removes: PATH` or `unless: [COMMAND, …]`, by which kboot sees that it is done";
                self.findings.add(place, "has no guard, so that each run would run it again", Some(hint.into()));
                None
            }
            _ => {
                self.findings.add(place, "has several guards", Some("keep one; `unless` can ask for all of it".into()));
                None
            }
        };
        Some(Wanted::Command { run: run?, why: transpose(why)?, condition: condition?, undo: transpose(undo)? })
    }

    fn object(&mut self, object: &written::Object, place: &Place) -> Option<Wanted> {
        let objects = match (&object.manifest, &object.template, &object.definition) {
            (Some(_), None, None) => {
                let (source, _) = self.beside?;
                self.parsed(source, &source.text, &place.key("manifest"))
            }
            (None, Some(_), None) => {
                let (source, _) = self.beside?;
                let text = self.beside_text(source, &source.text)?;
                self.parsed(source, &text, &place.key("template"))
            }
            (None, None, Some(definition)) => {
                let place = place.key("definition");
                let object = self.values_within(&place, &Value::Object(definition.clone().into_iter().collect()))?;
                match yaml_objects::check(&object) {
                    Ok(()) => Some(vec![object]),
                    Err(why) => {
                        self.findings.add(&place, why, None);
                        None
                    }
                }
            }
            _ if place.lost(&["manifest", "template", "definition"]) => None,
            _ => {
                let hint =
                    "one of `manifest`, `template` (files beside the playbook) and `definition` (the object itself)";
                self.findings.add(place, "takes its objects from one source", Some(hint.into()));
                None
            }
        };
        Some(match object.state {
            Presence::Present => Wanted::Objects { objects: objects? },
            Presence::Absent => Wanted::NoObjects { objects: objects? },
        })
    }

    fn parsed(&mut self, source: &Arc<Source>, text: &str, place: &Place) -> Option<Vec<Value>> {
        match yaml_objects::parse(text) {
            Ok(objects) => Some(objects),
            Err(yaml_objects::Problem { message, offset }) => {
                // What a template became has other lines than the template.
                if text == source.text {
                    let mistake = Mistake::new(Path::root(), message).at(offset..offset);
                    self.findings.push(source, mistake);
                } else {
                    self.findings.add(place, format!("becomes what is no list of objects: {message}"), None);
                }
                None
            }
        }
    }

    fn wait(&mut self, wait: &written::Wait, place: &Place) -> Option<Wanted> {
        let timeout = match &wait.timeout {
            Some(text) => {
                let text = self.checked(&place.key("timeout"), text, |text| format::seconds(text).map(drop));
                text.and_then(|text| format::seconds(&text).ok()).map(Some)
            }
            None => Some(None),
        };
        let what = match (&wait.file, &wait.unit, wait.port, &wait.object) {
            (Some(path), None, None, None) => self.path(&place.key("file"), path).map(Wait::File),
            (None, Some(unit), None, None) => self.checked(&place.key("unit"), unit, unit_name).map(Wait::Unit),
            (None, None, Some(port), None) => Some(Wait::Port(port)),
            (None, None, None, Some(object)) => self.object_wait(object, &place.key("object")).map(Wait::Object),
            _ if place.lost(&["file", "unit", "port", "object"]) => None,
            _ => {
                self.findings.add(place, "waits for one of `file`, `unit`, `port` and `object`", None);
                None
            }
        };
        Some(Wanted::Wait { wait: what?, timeout_seconds: timeout? })
    }

    fn object_wait(&mut self, object: &written::ObjectWait, place: &Place) -> Option<ObjectWait> {
        let mut word = |field: &str, text: &String| self.checked(&place.key(field), text, plain_word);
        let (api_version, kind) = (word("apiVersion", &object.api_version), word("kind", &object.kind));
        let name = word("name", &object.name);
        let namespace = object.namespace.as_ref().map(|namespace| word("namespace", namespace));
        let condition = object.condition.as_ref().map(|condition| word("condition", condition));
        Some(ObjectWait {
            api_version: api_version?,
            kind: kind?,
            namespace: transpose(namespace)?,
            name: name?,
            condition: transpose(condition)?,
        })
    }

    /// Text of the playbook, filled in.
    fn text(&mut self, place: &Place, text: &str) -> Option<String> {
        if !fill::is_template(text) {
            return Some(text.to_string());
        }
        match self.filled(text) {
            Ok(filled) => filled,
            Err(flaws) => {
                for flaw in flaws {
                    self.findings.add_at(place, place.part(text, &flaw.range), flaw.message, flaw.hint);
                }
                None
            }
        }
    }

    /// A template beside the playbook, filled in.
    fn beside_text(&mut self, source: &Arc<Source>, text: &str) -> Option<String> {
        match self.filled(text) {
            Ok(filled) => filled,
            Err(flaws) => {
                let mistake =
                    |flaw: fill::Flaw| Mistake::new(Path::root(), flaw.message).maybe_hint(flaw.hint).at(flaw.range);
                self.findings.extend(source, flaws.into_iter().map(mistake));
                None
            }
        }
    }

    fn filled(&self, text: &str) -> Result<Option<String>, Vec<fill::Flaw>> {
        match self.values {
            Some(values) => fill::fill(text, values),
            None => fill::check(text).map(|()| None),
        }
    }

    /// Text that must also be of a form.
    fn checked(&mut self, place: &Place, text: &str, check: impl Fn(&str) -> Result<(), Flaw>) -> Option<String> {
        let filled = self.text(place, text)?;
        match check(&filled) {
            Ok(()) => Some(filled),
            Err(flaw) => {
                self.findings.add(place, flaw.message, flaw.hint);
                None
            }
        }
    }

    fn path(&mut self, place: &Place, text: &str) -> Option<Utf8PathBuf> {
        self.checked(place, text, format::absolute).map(Into::into)
    }

    fn mode(&mut self, place: &Place, mode: &Option<String>, default: FileMode) -> Option<FileMode> {
        let Some(text) = mode else { return Some(default) };
        let text = self.checked(&place.key("mode"), text, |text| format::mode(text).map(drop))?;
        format::mode(&text).ok().map(FileMode)
    }

    fn words(&mut self, place: &Place, argv: &[String]) -> Option<Vec<String>> {
        let words: Vec<_> = argv.iter().enumerate().map(|(i, word)| self.text(&place.index(i), word)).collect();
        if argv.first().is_some_and(|program| program.contains(char::is_whitespace)) {
            let hint = "a list of words, as `[make-db, --fresh]`; for a shell's syntax `[sh, -c, \"…\"]`";
            self.findings.add(&place.index(0), "is more than a program's name", Some(hint.into()));
        }
        words.into_iter().collect()
    }

    /// All text in a value, filled in.
    fn values_within(&mut self, place: &Place, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => self.text(place, text).map(Value::String),
            Value::Array(items) => {
                let items: Vec<_> =
                    items.iter().enumerate().map(|(i, item)| self.values_within(&place.index(i), item)).collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            Value::Object(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(key, value)| Some((key.clone(), self.values_within(&place.key(key), value)?)))
                    .collect();
                fields.into_iter().collect::<Option<_>>().map(Value::Object)
            }
            other => Some(other.clone()),
        }
    }
}

/// What may be left out, but not half made.
fn transpose<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        Some(None) => None,
        Some(made) => Some(made),
        None => Some(None),
    }
}

fn is_word(text: &str, more: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_part)
}

fn form(is_right: bool, message: &str, hint: &str) -> Result<(), Flaw> {
    if is_right { Ok(()) } else { Err(Flaw::new(message).hint(hint)) }
}

fn package_name(text: &str) -> Result<(), Flaw> {
    form(is_word(text, "+-.:"), "is not a package's name", "for example `chrony`; each package is a step of its own")
}

fn unit_name(text: &str) -> Result<(), Flaw> {
    const KINDS: [&str; 7] = [".service", ".socket", ".timer", ".target", ".mount", ".path", ".slice"];
    let is_right = is_word(text, "@_-.:\\") && KINDS.iter().any(|kind| text.ends_with(kind));
    form(is_right, "is not a unit's name", "with its kind, as `chrony.service`")
}

fn sysctl_key(text: &str) -> Result<(), Flaw> {
    let is_right = is_word(text, "._-/*") && text.contains('.') && !text.contains("..") && !text.contains('*');
    form(is_right, "is not a kernel setting's name", "for example `net.core.somaxconn`")
}

fn module_name(text: &str) -> Result<(), Flaw> {
    form(is_word(text, "_-"), "is not a kernel module's name", "for example `ip_vs`")
}

fn plain_word(text: &str) -> Result<(), Flaw> {
    let is_right = !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace);
    form(is_right, "must be one word", "without spaces")
}

fn one_line(text: &str) -> Result<(), Flaw> {
    let is_right = !text.trim().is_empty() && !text.contains('\n');
    form(is_right, "must be one line of text", "in quotes, where YAML would read it otherwise")
}
