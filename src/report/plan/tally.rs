//! The end of a plan: how much it is, and why.

use super::{Found, Host, Line, Mark, Page, Style, View, mark, words};
use crate::engine::{Cause, Change, Content};

/// What a plan adds up to.
#[derive(Default)]
pub(super) struct Tally {
    added: usize,
    changed: usize,
    removed: usize,
    /// Steps of which more is known only later.
    later: usize,
    changed_hosts: usize,
    failed_hosts: usize,
    new: usize,
    inventory: usize,
    drift: usize,
    both: usize,
    /// New files and objects, which are shown in full only if asked for.
    hidden: usize,
}

impl Tally {
    pub fn of(hosts: &[Host]) -> Self {
        let mut tally = Self::default();
        for host in hosts {
            let before = tally.changes();
            let mut is_failed = false;
            for entry in &host.entries {
                match &entry.found {
                    Found::Failure(_) => is_failed = true,
                    Found::Changes { changes, after } => {
                        tally.later += usize::from(after.is_some());
                        changes.iter().for_each(|proposed| tally.change(&proposed.change, proposed.cause));
                    }
                }
            }
            tally.changed_hosts += usize::from(tally.changes() > before);
            tally.failed_hosts += usize::from(is_failed);
        }
        tally
    }

    fn change(&mut self, change: &Change, cause: Option<Cause>) {
        match mark(change) {
            Mark::Add => self.added += 1,
            Mark::Change => self.changed += 1,
            Mark::Remove => self.removed += 1,
        }
        match cause {
            Some(Cause::New) => self.new += 1,
            Some(Cause::Inventory) => self.inventory += 1,
            Some(Cause::Drift) => self.drift += 1,
            Some(Cause::Both) => self.both += 1,
            None => {}
        }
        let is_new_text = matches!(change, Change::WriteFile { before: None, after: Content::Text(_), .. });
        self.hidden += usize::from(is_new_text || matches!(change, Change::ApplyObject { before: None, .. }));
    }

    fn changes(&self) -> usize {
        self.added + self.changed + self.removed
    }

    pub fn page(&self, view: View) -> Page {
        if self.changes() + self.later + self.failed_hosts == 0 {
            return [Line::of(Style::Good, "No changes.")].into_iter().collect();
        }
        let hosts = words::count(self.changed_hosts, "host");
        let mut text = format!("Plan: {} on {hosts}", words::count(self.changes(), "change"));
        let kinds = [(self.added, "to add"), (self.changed, "to change"), (self.removed, "to remove")];
        text += &listed(": ", &kinds);
        match self.later {
            0 => {}
            1 => text += "; 1 step goes on from what is not there yet",
            later => text += &format!("; {later} steps go on from what is not there yet"),
        }
        if self.failed_hosts > 0 {
            text += &format!("; failed on {}", words::count(self.failed_hosts, "host"));
        }
        let mut page: Page = [Line::of(Style::Strong, text)].into_iter().collect();
        if self.inventory + self.drift + self.both > 0 {
            let causes = [
                (self.inventory, "because you changed the inventory"),
                (self.drift, "because somebody changed the host or the cluster"),
                (self.both, "for both reasons"),
                (self.new, "new"),
            ];
            page.push(Line::plain(listed("Why: ", &causes)));
        }
        if self.hidden > 0 && !view.is_full() {
            page.push(Line::of(Style::Faint, "New files and objects in full: --verbose"));
        }
        page
    }
}

/// `3 to add, 1 to remove`: what there is any of.
fn listed(before: &str, counts: &[(usize, &str)]) -> String {
    let there: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if there.is_empty() { String::new() } else { format!("{before}{}", there.join(", ")) }
}
