//! What a dry run found, for a person: per host and step each change on its line, files as diffs, objects field by field.
//!
//! Pure: events in, text out. Holds no opinion of its own about what changes; that is [`Change`]'s.

mod diff;
mod object;

use std::collections::HashMap;

use super::page::{Line, Page, Style};
use super::{Verbosity, redact, words};
use crate::engine::{Change, Content, Event, Failure, Kind, PackageChange};

/// How many lines of one file or object are shown, unless in verbose mode.
const MOST_LINES: usize = 60;

/// The plan in these events, as plain text. Its last line is `Plan: 41 changes on 3 hosts` or `No changes.`
pub fn render(events: &[Event]) -> String {
    let mut plan = Plan::default();
    for event in events {
        plan.event(event);
    }
    plan.page(Verbosity::Normal).render(false)
}

/// Collects what events say about a plan.
#[derive(Default)]
pub(super) struct Plan {
    hosts: Vec<Host>,
    /// The titles of the steps that run now, by host and step.
    titles: HashMap<(String, String), String>,
}

struct Host {
    name: String,
    entries: Vec<Entry>,
}

/// What one step of a host said.
struct Entry {
    phase: String,
    step: String,
    title: String,
    found: Found,
}

enum Found {
    Changes { changes: Vec<Change>, after: Option<String> },
    Failure(Failure),
}

impl Plan {
    pub fn event(&mut self, event: &Event) {
        let step = (event.host.clone(), event.step.clone());
        let found = match &event.kind {
            Kind::StepStarted { title } => {
                self.titles.insert(step, title.clone());
                return;
            }
            Kind::StepFinished { .. } => {
                self.titles.remove(&step);
                self.host(&event.host);
                return;
            }
            Kind::Planned { changes, after } => Found::Changes {
                changes: changes.iter().map(|proposed| redact::change(&proposed.change)).collect(),
                after: after.clone(),
            },
            Kind::Failed { failure } => Found::Failure(failure.clone()),
            _ => return,
        };
        let title = self.titles.get(&step).cloned().unwrap_or_else(|| event.step.clone());
        let entry = Entry { phase: event.phase.clone(), step: event.step.clone(), title, found };
        self.host(&event.host).entries.push(entry);
    }

    /// The host's part; hosts stay in the order in which they were first heard of.
    fn host(&mut self, name: &str) -> &mut Host {
        let at = self.hosts.iter().position(|host| host.name == name).unwrap_or_else(|| {
            self.hosts.push(Host { name: name.into(), entries: Vec::new() });
            self.hosts.len() - 1
        });
        &mut self.hosts[at]
    }

    pub fn page(&self, verbosity: Verbosity) -> Page {
        let mut page = Page::new();
        for host in self.hosts.iter().filter(|host| !host.entries.is_empty()) {
            page.push(Line::of(Style::Strong, &host.name));
            for entry in &host.entries {
                page.append_indented(2, entry.page(verbosity));
            }
            page.push(Line::new());
        }
        page.push(self.last_line());
        page
    }

    fn last_line(&self) -> Line {
        let (mut changes, mut later, mut changed_hosts, mut failed_hosts) = (0, 0, 0, 0);
        for host in &self.hosts {
            let here: usize = host.entries.iter().map(Entry::changes).sum();
            changes += here;
            changed_hosts += usize::from(here > 0);
            later += host.entries.iter().filter(|entry| entry.waits()).count();
            failed_hosts += usize::from(host.entries.iter().any(|entry| matches!(entry.found, Found::Failure(_))));
        }
        if changes + later + failed_hosts == 0 {
            return Line::of(Style::Good, "No changes.");
        }
        let mut text = format!("Plan: {} on {}", words::count(changes, "change"), words::count(changed_hosts, "host"));
        if later > 0 {
            text += &format!(", and {} that can only be known later", words::count(later, "step"));
        }
        if failed_hosts > 0 {
            text += &format!("; failed on {}", words::count(failed_hosts, "host"));
        }
        Line::of(Style::Strong, text)
    }
}

impl Entry {
    fn changes(&self) -> usize {
        match &self.found {
            Found::Changes { changes, .. } => changes.len(),
            Found::Failure(_) => 0,
        }
    }

    fn waits(&self) -> bool {
        matches!(&self.found, Found::Changes { after: Some(_), .. })
    }

    fn page(&self, verbosity: Verbosity) -> Page {
        let mut page = Page::new();
        let mut heading = Line::new();
        if !self.phase.is_empty() {
            heading = heading.add(Style::Faint, &self.phase).text("  ");
        }
        heading = heading.text(&self.title);
        if !self.step.is_empty() && self.step != self.title {
            heading = heading.add(Style::Faint, format!("  ({})", self.step));
        }
        page.push(heading);
        match &self.found {
            Found::Changes { changes, after } => {
                for change in changes {
                    page.append_indented(2, change_page(change, verbosity));
                }
                if let Some(what) = after {
                    let then = if changes.is_empty() { "" } else { "then " };
                    let line = Line::of(Style::Faint, format!("… {then}waits for {what}, and goes on from there"));
                    page.append_indented(2, [line].into_iter().collect());
                }
            }
            // In full it is told at the end of the run.
            Found::Failure(failure) => {
                let line = Line::of(Style::Bad, "! ").text(format!("can't tell: {failure}"));
                page.append_indented(2, [line].into_iter().collect());
            }
        }
        page
    }
}

/// Whether something is made, changed or taken away.
#[derive(Clone, Copy)]
enum Mark {
    Add,
    Change,
    Remove,
}

impl Mark {
    fn line(self, text: impl AsRef<str>) -> Line {
        let (mark, style) = match self {
            Mark::Add => ("+ ", Style::Good),
            Mark::Change => ("~ ", Style::Notable),
            Mark::Remove => ("- ", Style::Bad),
        };
        Line::of(style, mark).text(text)
    }
}

fn mark(change: &Change) -> Mark {
    match change {
        Change::WriteFile { before: None, .. } | Change::ApplyObject { before: None, .. } => Mark::Add,
        Change::WriteFile { .. } | Change::ApplyObject { .. } => Mark::Change,
        Change::MakeDirectory { .. }
        | Change::MakeLink { .. }
        | Change::SwapOn { .. }
        | Change::LoadModule { .. }
        | Change::IssueCertificate { .. }
        | Change::MakeKeyPair { .. }
        | Change::WriteKubeconfig { .. }
        | Change::FetchKey { .. }
        | Change::PullImages { .. } => Mark::Add,
        Change::InstallPackages { packages, .. } if packages.iter().all(|package| package.from.is_none()) => Mark::Add,
        Change::Remove { .. }
        | Change::RemoveEmptyDirectory { .. }
        | Change::UnloadModule { .. }
        | Change::RemoveImages { .. }
        | Change::RemovePackages { .. }
        | Change::SwapOff { .. }
        | Change::RemoveFilterRules { .. }
        | Change::RemoveFilterTable { .. }
        | Change::RemoveControlGroup { .. }
        | Change::DeleteObject { .. } => Mark::Remove,
        Change::InstallPackages { .. }
        | Change::SetMode { .. }
        | Change::SetOwner { .. }
        | Change::RefreshPackages { .. }
        | Change::HoldPackages { .. }
        | Change::MendPackages { .. }
        | Change::SetUnit(_)
        | Change::SetSysctl { .. }
        | Change::MarkNode { .. }
        | Change::DrainNode { .. }
        | Change::Run { .. } => Mark::Change,
    }
}

fn change_page(change: &Change, verbosity: Verbosity) -> Page {
    let mut page = Page::new();
    if let Change::InstallPackages { packages, .. } = change
        && packages.len() > 1
    {
        page.push(mark(change).line(format!("install {}", words::count(packages.len(), "package"))));
        page.append_indented(4, packages_page(packages));
        return page;
    }
    page.push(mark(change).line(change.to_string()));
    if verbosity == Verbosity::Quiet {
        return page;
    }
    let mut body = match change {
        Change::WriteFile { before, after, .. } => file_page(before.as_ref(), after),
        Change::ApplyObject { object, before } => object::page(before.as_ref(), object),
        _ => Page::new(),
    };
    if verbosity != Verbosity::Verbose {
        body.cut(MOST_LINES);
    }
    page.append_indented(4, body);
    page
}

/// Each package on its line, with its versions.
fn packages_page(packages: &[PackageChange]) -> Page {
    packages
        .iter()
        .map(|package| match (&package.from, &package.to) {
            (None, None) => Line::of(Style::Good, format!("+{}", package.name)),
            (None, Some(to)) => Line::of(Style::Good, format!("+{} {to}", package.name)),
            (Some(from), to) => {
                let to = to.as_deref().unwrap_or("newest");
                Line::of(Style::Notable, format!("~{} {from} -> {to}", package.name))
            }
        })
        .collect()
}

/// What becomes of a file: a diff of texts, digests of what is secret, sizes of what is not text.
fn file_page(before: Option<&Content>, after: &Content) -> Page {
    match (before, after) {
        (None, Content::Text(text)) => diff::added(text),
        (Some(Content::Text(before)), Content::Text(after)) if before == after => {
            [Line::of(Style::Faint, "same content, other mode")].into_iter().collect()
        }
        (Some(Content::Text(before)), Content::Text(after)) => diff::page(before, after),
        (None, after) => [Line::of(Style::Good, format!("+{}", in_short(after)))].into_iter().collect(),
        (Some(before), after) => [
            Line::of(Style::Bad, format!("-{}", in_short(before))),
            Line::of(Style::Good, format!("+{}", in_short(after))),
        ]
        .into_iter()
        .collect(),
    }
}

/// A content that can't be shown as lines.
fn in_short(content: &Content) -> String {
    match content {
        Content::Secret(_) => in_short(&content.redacted()),
        Content::Digest(digest) => format!("secret {digest}"),
        Content::Text(text) => format!("text of {}", words::count(text.lines().count(), "line")),
        Content::Bytes(_) => format!("binary, {}", words::count(content.bytes().map_or(0, |b| b.len()), "byte")),
    }
}

#[cfg(test)]
mod tests;
