//! The end of a run for a person: hosts × what was done × time, then what failed and why.

use super::page::{Line, Page, Style};
use super::words::{count, duration, names};
use super::{HostFailure, HostSummary, Summary, Verbosity, failure};
use crate::engine::{Mode, Outcome};

/// With more hosts than this, those that fared alike share a row.
const MOST_ROWS: usize = 30;

/// All that is said at the end. In quiet mode only what failed; the table of a dry run is its plan, which is shown elsewhere.
pub(super) fn page(summary: &Summary, verbosity: Verbosity) -> Page {
    let mut page = Page::new();
    let failures = failures(summary, verbosity);
    if verbosity == Verbosity::Quiet {
        return failures;
    }
    let all_unchanged = summary.hosts.iter().all(|host| host.outcome == Outcome::Unchanged);
    if summary.mode == Mode::Apply && (!all_unchanged || verbosity == Verbosity::Verbose) {
        page.append(table(&summary.hosts));
        page.push(Line::new());
    }
    if !failures.is_empty() {
        page.append(failures);
        page.push(Line::new());
    }
    if summary.mode == Mode::Apply || !summary.is_success() {
        page.push(last_line(summary, all_unchanged));
    }
    page
}

struct Row {
    name: String,
    outcome: Outcome,
    done: String,
    millis: u64,
}

fn table(hosts: &[HostSummary]) -> Page {
    let rows = rows(hosts);
    let width = |cells: Vec<usize>| cells.into_iter().max().unwrap_or(0) + 2;
    let names = width(rows.iter().map(|row| Line::plain(&row.name).width()).chain([4]).collect());
    let dones = width(rows.iter().map(|row| Line::plain(&row.done).width()).chain([4]).collect());
    let head =
        Line::new().padded(Style::Faint, "HOST", names).padded(Style::Faint, "DONE", dones).add(Style::Faint, "TIME");
    let lines = rows.iter().map(|row| {
        Line::new()
            .padded(Style::Strong, &row.name, names)
            .padded(style(row.outcome), &row.done, dones)
            .text(if row.millis == 0 { "-".into() } else { duration(row.millis) })
    });
    [head].into_iter().chain(lines).collect()
}

fn rows(hosts: &[HostSummary]) -> Vec<Row> {
    let mut rows: Vec<(Row, usize)> = Vec::new();
    for host in hosts {
        let row = Row { name: host.name.clone(), outcome: host.outcome, done: done(host), millis: host.millis };
        let alike = rows.iter_mut().find(|(other, _)| other.done == row.done && row.outcome != Outcome::Failed);
        match alike.filter(|_| hosts.len() > MOST_ROWS) {
            Some((first, others)) => {
                first.millis = first.millis.max(row.millis);
                *others += 1;
            }
            None => rows.push((row, 0)),
        }
    }
    let shared = |(row, others): (Row, usize)| match others {
        0 => row,
        _ => Row { name: format!("{} and {others} more", row.name), ..row },
    };
    rows.into_iter().map(shared).collect()
}

fn done(host: &HostSummary) -> String {
    match host.outcome {
        Outcome::Unchanged => "nothing to do".into(),
        Outcome::Changed | Outcome::WouldChange => count(host.changes, "change"),
        Outcome::Skipped if host.changes > 0 => format!("{}, then skipped", count(host.changes, "change")),
        Outcome::Skipped => "skipped".into(),
        Outcome::Failed => {
            let verb =
                if host.failures.iter().all(is_stopped) && !host.failures.is_empty() { "stopped" } else { "failed" };
            let place = host.failures.first().map(|failed| place(failed).to_string()).unwrap_or_default();
            let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
            match host.changes {
                0 => format!("{verb}{place}"),
                changes => format!("{}, then {verb}{place}", count(changes, "change")),
            }
        }
    }
}

fn is_stopped(failed: &HostFailure) -> bool {
    failed.failure.interrupted
}

/// The step that failed, or the phase where it was the whole phase.
fn place(failed: &HostFailure) -> &str {
    if failed.step.is_empty() { &failed.phase } else { &failed.step }
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Unchanged => Style::Good,
        Outcome::Changed | Outcome::WouldChange => Style::Notable,
        Outcome::Failed => Style::Bad,
        Outcome::Skipped => Style::Faint,
    }
}

/// Each failure in full, once for all hosts that have the very same. A run that was stopped on request says so in its last line instead.
fn failures(summary: &Summary, verbosity: Verbosity) -> Page {
    let mut alike: Vec<(&HostFailure, Vec<String>)> = Vec::new();
    for host in &summary.hosts {
        for failed in host.failures.iter().filter(|failed| !is_stopped(failed)) {
            match alike.iter_mut().find(|(other, _)| *other == failed) {
                Some((_, hosts)) => hosts.push(host.name.clone()),
                None => alike.push((failed, vec![host.name.clone()])),
            }
        }
    }
    let mut page = Page::new();
    for (failed, hosts) in alike {
        page.append(failure::error(&[&names(&hosts), place(failed)], &failed.failure, verbosity));
    }
    page
}

fn last_line(summary: &Summary, all_unchanged: bool) -> Line {
    let hosts = count(summary.hosts.len(), "host");
    let are = if summary.hosts.len() == 1 { "is" } else { "are" };
    let time = duration(summary.millis);
    let changes = count(summary.changes(), "change");
    if summary.is_interrupted() {
        let how = "run the same command again: it goes on where this one stopped";
        return Line::of(Style::Notable, "stopped").text(format!(" after {changes} ({time}); {how}"));
    }
    if all_unchanged {
        return Line::of(Style::Good, "nothing changed").text(format!(": {hosts} {are} as wanted ({time})"));
    }
    if summary.is_success() {
        return Line::of(Style::Good, "done").text(format!(": {hosts} {are} as wanted, {changes} ({time})"));
    }
    let failed = summary.with(Outcome::Failed).count();
    let skipped = summary.with(Outcome::Skipped).count();
    let mut text = format!("{failed} of {hosts}");
    if skipped > 0 {
        text += &format!(", {skipped} skipped");
    }
    let made = if summary.mode == Mode::Apply { format!("; {changes}") } else { String::new() };
    Line::of(Style::Bad, "failed").text(format!(" on {text}{made} ({time})"))
}

#[cfg(test)]
mod tests {
    use super::super::{SummaryBuilder, samples};
    use super::*;
    use crate::engine::{Event, Failure, Kind};

    fn shown(mode: Mode, hosts: &[&str], events: &[Event], verbosity: Verbosity) -> String {
        let mut builder = SummaryBuilder::new(mode, hosts.iter().copied());
        events.iter().for_each(|event| builder.event(event));
        page(&builder.finish(72_400), verbosity).render(false)
    }

    fn host(name: &str, outcome: Outcome, changes: usize) -> HostSummary {
        HostSummary { name: name.into(), outcome, changes, millis: 1_200, failures: Vec::new() }
    }

    fn of(hosts: Vec<HostSummary>) -> String {
        page(&Summary { mode: Mode::Apply, hosts, millis: 72_400 }, Verbosity::Normal).render(false)
    }

    #[test]
    fn a_partial_failure() {
        insta::assert_snapshot!(shown(Mode::Apply, &["n1", "n2", "n3", "n4"], &samples::apply(), Verbosity::Normal));
    }

    #[test]
    fn quiet_tells_failures_only() {
        let shown = shown(Mode::Apply, &["n1", "n2"], &samples::apply(), Verbosity::Quiet);
        assert!(shown.starts_with("error: n2: install-packages: "), "{shown}");
        assert!(!shown.contains("HOST"), "{shown}");
        assert_eq!(
            page(
                &Summary { mode: Mode::Apply, hosts: vec![host("n1", Outcome::Changed, 1)], millis: 1 },
                Verbosity::Quiet
            ),
            Page::new()
        );
    }

    #[test]
    fn success() {
        insta::assert_snapshot!(of(vec![
            host("n1", Outcome::Changed, 41),
            host("worker-2", Outcome::Changed, 1),
            host("n3", Outcome::Unchanged, 0)
        ]));
    }

    #[test]
    fn nothing_changed() {
        let three = ["n1", "n2", "n3"].map(|name| host(name, Outcome::Unchanged, 0));
        assert_eq!(of(three.to_vec()), "nothing changed: 3 hosts are as wanted (1 min 12 s)\n");
        assert_eq!(of(three[..1].to_vec()), "nothing changed: 1 host is as wanted (1 min 12 s)\n");
    }

    #[test]
    fn stopped_on_request() {
        let failed =
            HostFailure { phase: "join".into(), step: "start-kubelet".into(), failure: Failure::interrupted() };
        let n2 = HostSummary { failures: vec![failed], ..host("n2", Outcome::Failed, 4) };
        insta::assert_snapshot!(of(vec![host("n1", Outcome::Changed, 41), n2]));
    }

    #[test]
    fn hundreds_of_hosts_share_rows_but_each_failure_has_its_own() {
        let mut hosts: Vec<HostSummary> = (1..=500).map(|n| host(&format!("n{n}"), Outcome::Changed, 41)).collect();
        for at in [3, 77] {
            let failure = Failure::new("no space left on device");
            let failed = HostFailure { phase: "prepare".into(), step: "install-packages".into(), failure };
            hosts[at] = HostSummary { failures: vec![failed], ..host(&format!("n{}", at + 1), Outcome::Failed, 7) };
        }
        hosts[9].millis = 100_000;
        insta::assert_snapshot!(of(hosts));
    }

    #[test]
    fn a_dry_run_has_no_table_but_tells_failures() {
        assert_eq!(shown(Mode::Plan, &[], &samples::plan(), Verbosity::Normal), "");
        let failed = samples::at("n1", "", "", Kind::Failed { failure: Failure::new("connection refused") });
        let shown = shown(Mode::Plan, &[], &[failed], Verbosity::Normal);
        assert_eq!(shown, "error: n1: connection refused\n\nfailed on 1 of 1 host (1 min 12 s)\n");
    }
}
