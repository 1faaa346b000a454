//! What a dry run found, for a person: per host and step each change on its line, files as diffs, objects field by field.
//!
//! Pure: events in, text out. Holds no opinion of its own about what changes; that is [`Change`]'s.

mod certificate;
mod diff;
mod object;
mod tally;

use std::collections::HashMap;

use time::OffsetDateTime;

use super::page::{Line, Page, Style};
use super::{Verbosity, redact, words};
use crate::engine::{Cause, Change, Content, Event, Failure, Kind, PackageChange, Proposed, Text};
use tally::Tally;

/// How many lines of one file or object are shown, unless in verbose mode.
const MOST_LINES: usize = 40;

/// The plan in these events, as plain text. A line near its end begins `Plan: 41 changes on 3 hosts`, or says `No changes.`
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
    Changes { changes: Vec<Proposed>, after: Option<Text> },
    Failure(Failure),
}

/// How a plan is shown.
#[derive(Clone, Copy)]
struct View {
    verbosity: Verbosity,
    /// From when on certificates are valid.
    now: OffsetDateTime,
}

impl View {
    /// Whether what is new is shown in full, as well as what changes.
    fn is_full(self) -> bool {
        self.verbosity == Verbosity::Verbose
    }
}

impl Plan {
    pub fn event(&mut self, event: &Event) {
        let step = (event.host.clone(), event.step.clone());
        let found = match &event.kind {
            Kind::StepStarted { title } => {
                self.titles.insert(step, title.to_string());
                return;
            }
            Kind::StepFinished { .. } => {
                self.titles.remove(&step);
                self.host(&event.host);
                return;
            }
            Kind::Planned { changes, after } => {
                let redacted =
                    |proposed: &Proposed| Proposed { change: redact::change(&proposed.change), cause: proposed.cause };
                Found::Changes { changes: changes.iter().map(redacted).collect(), after: after.clone() }
            }
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
        self.page_at(verbosity, OffsetDateTime::now_utc())
    }

    fn page_at(&self, verbosity: Verbosity, now: OffsetDateTime) -> Page {
        let view = View { verbosity, now };
        let mut page = Page::new();
        for (names, body) in self.alike(view) {
            page.push(Line::of(Style::Strong, words::names(&names)));
            page.append_indented(2, body);
            page.push(Line::new());
        }
        page.append(Tally::of(&self.hosts).page(view));
        page
    }

    /// The hosts' parts; hosts for which the very same is planned share one.
    fn alike(&self, view: View) -> Vec<(Vec<String>, Page)> {
        let mut parts: Vec<(Vec<String>, Page)> = Vec::new();
        for host in self.hosts.iter().filter(|host| !host.entries.is_empty()) {
            let body = host.page(view);
            match parts.iter_mut().find(|(_, other)| *other == body) {
                Some((names, _)) => names.push(host.name.clone()),
                None => parts.push((vec![host.name.clone()], body)),
            }
        }
        parts
    }
}

impl Host {
    fn page(&self, view: View) -> Page {
        let mut page = Page::new();
        for phase in self.entries.chunk_by(|a, b| a.phase == b.phase) {
            let name = &phase[0].phase;
            if !name.is_empty() {
                page.push(Line::of(Style::Faint, name));
            }
            for entry in phase {
                page.append_indented(if name.is_empty() { 0 } else { 2 }, entry.page(view));
            }
        }
        page
    }
}

impl Entry {
    fn page(&self, view: View) -> Page {
        let mut page = Page::new();
        let mut heading = Line::plain(&self.title);
        if !self.step.is_empty() && self.step != self.title {
            heading = heading.add(Style::Faint, format!("  ({})", self.step));
        }
        match &self.found {
            Found::Changes { changes, after: Some(what) } if changes.is_empty() => {
                page.push(Line::of(Style::Faint, "… ").text(&self.title).add(Style::Faint, format!(", after {what}")));
            }
            Found::Changes { changes, after } => {
                page.push(heading);
                for proposed in changes {
                    page.append_indented(2, proposed_page(proposed, view));
                }
                if let Some(what) = after {
                    let line = Line::of(Style::Faint, format!("… and goes on from there, after {what}"));
                    page.append_indented(2, [line].into_iter().collect());
                }
            }
            // In full it is told at the end of the run.
            Found::Failure(failure) => {
                page.push(heading);
                let line = Line::of(Style::Bad, "! ").text(format!("can't tell: {failure}"));
                page.append_indented(2, [line].into_iter().collect());
            }
        }
        page
    }
}

/// Whether something is made, changed or taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
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
        | Change::SetMember(_)
        | Change::Run { .. } => Mark::Change,
    }
}

/// A change with the reason for it, where that is news.
fn proposed_page(Proposed { change, cause }: &Proposed, view: View) -> Page {
    let (text, body) = match change {
        Change::InstallPackages { packages, .. } if packages.len() > 1 => {
            (format!("install {}", words::count(packages.len(), "package")), packages_page(packages))
        }
        Change::PullImages { images } if images.len() > 1 => {
            let list = images.iter().map(|image| Line::of(Style::Good, format!("+{image}"))).collect();
            (format!("pull {}", words::count(images.len(), "image")), list)
        }
        Change::IssueCertificate { certificate, issuer, request, .. } => {
            let issuer = issuer.as_ref().map(|(path, _)| path.as_str());
            (format!("issue {certificate}"), certificate::requested(request, issuer, view.now))
        }
        Change::WriteKubeconfig { path, server, request, authority, .. } => (
            format!("write {path} for {server}"),
            certificate::requested(request, Some(authority.0.as_str()), view.now),
        ),
        Change::WriteFile { before, after, .. } => (change.to_string(), file_page(before.as_ref(), after, view)),
        Change::ApplyObject { before: None, .. } if !view.is_full() => (change.to_string(), Page::new()),
        Change::ApplyObject { object, before } => (change.to_string(), object::page(before.as_ref(), object)),
        _ => (change.to_string(), Page::new()),
    };
    let mut line = mark(change).line(text);
    if let Change::WriteFile { before: None, after: Content::Text(text), .. } = change {
        line = line.add(Style::Faint, format!("  {}", words::count(text.lines().count(), "line")));
    }
    if let Some(why) = cause.and_then(|cause| why(cause, change)) {
        line = line.add(Style::Notable, format!("  ({why})"));
    }
    let mut page: Page = [line].into_iter().collect();
    if view.verbosity == Verbosity::Quiet {
        return page;
    }
    let mut body = body;
    if !view.is_full() {
        body.cut(MOST_LINES);
    }
    page.append_indented(4, body);
    page
}

/// What a person should know of a change's reason; nothing of what is simply new.
fn why(cause: Cause, change: &Change) -> Option<&'static str> {
    let is_cluster =
        matches!(change, Change::ApplyObject { .. } | Change::DeleteObject { .. } | Change::MarkNode { .. });
    match (cause, is_cluster) {
        (Cause::New, _) => None,
        (Cause::Inventory, _) => Some("you changed the inventory"),
        (Cause::Drift, false) => Some("somebody changed the host"),
        (Cause::Drift, true) => Some("somebody changed the cluster"),
        (Cause::Both, false) => Some("you changed the inventory, and somebody the host"),
        (Cause::Both, true) => Some("you changed the inventory, and somebody the cluster"),
    }
}

/// Each package on its line, with its versions.
fn packages_page(packages: &[PackageChange]) -> Page {
    packages
        .iter()
        .map(|package| match (&package.from, package.version()) {
            (None, None) => Line::of(Style::Good, format!("+{}", package.name)),
            (None, Some(to)) => Line::of(Style::Good, format!("+{} {to}", package.name)),
            (Some(from), to) => {
                let to = to.unwrap_or("newest");
                Line::of(Style::Notable, format!("~{} {from} -> {to}", package.name))
            }
        })
        .collect()
}

/// What becomes of a file: a diff of texts, certificates in words, digests of what is secret, sizes of what is not text.
fn file_page(before: Option<&Content>, after: &Content, view: View) -> Page {
    let in_words = |content: &Content| match content {
        Content::Text(text) => certificate::of(text),
        _ => None,
    };
    if let Some(new) = in_words(after) {
        let old = before.map(|before| in_words(before).unwrap_or_else(|| in_short(before)));
        let old = old.map(|old| Line::of(Style::Bad, format!("-{old}")));
        return old.into_iter().chain([Line::of(Style::Good, format!("+{new}"))]).collect();
    }
    match (before, after) {
        (None, Content::Text(_)) if !view.is_full() => Page::new(),
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
