//! The page that tells what is known.

use std::collections::BTreeMap;

use crate::case::{Case, Part, Point, Step, Then, Victim, word};
use crate::results::{Outcome, Results};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kill-matrix.md");

const HEAD: &str = "\
# The kill matrix

<!-- Written by `make test-matrix` from its results. -->

What becomes of a run that is killed. For every change that makes a control plane of a bare host, and for every change by which a
bare host joins it as a worker, a process is ended with SIGKILL: the **agent** that works on the host, or the **controller** that
tells it what to do; **after the intent** (the change is in the journal and not made) or **after the act** (it is made, and
the journal does not know; for the controller: it is told of the change's begin or end). Then:

- **chain**: the same command again, which is killed at the next point where none was yet, and so on: all of a bring-up in one
  row of kills. Changes that are made side by side may end while another one is killed, and an agent without
  a controller finishes the change in hand; then their own points never come, and the table has a dash.
- **repeat**: the host is bare, one kill, and the same command again.
- **reset**: the host is bare, one kill, and `kboot reset`: the host must be as it was, file by file.

A chain and a repeat must end in the cluster that an undisturbed run makes: the same files with the same modes and contents (keys
and certificates may differ in theirs), packages, units, links, routes and mounts, the same objects with the same fields, no pod or
object too many. And the run after that must change nothing. That the comparison sees is shown first: files, a unit and a label of a
good host are spoilt, and it must tell exactly these.

`make test-matrix` runs what has no result yet, so rows may be of different builds; with `ARGS=--fresh` it forgets them and begins anew.

The hook that kills is in debug builds only. The table is of a debug build; the code is otherwise the same.

";

pub fn write(results: &Results) {
    let mut page = HEAD.to_string();
    let outcomes: BTreeMap<String, Outcome> =
        results.all().into_iter().map(|outcome| (outcome.case.name(), outcome)).collect();
    let chains = passed_in_chains(&outcomes);
    page += "| part | then | run | good | failed | not run |\n|---|---|--:|--:|--:|--:|\n";
    for part in Part::ALL {
        for then in [Then::Repeat, Then::Reset] {
            page += &count(part, then, &results.steps(part), &outcomes);
        }
    }
    page += "\nIn the tables, `+` is good, `FAILED` is not, and a dash was not run. Each cell is the agent's kill, then the controller's.\n";
    for part in Part::ALL {
        page += &format!("\n## {}\n\n", title(part));
        for victim in Victim::ALL {
            let chain = Case { part, victim, then: Then::Chain, at: None };
            page += &match outcomes.get(&chain.name()) {
                None => format!("The chain of the {} was not run.\n", word(&victim)),
                Some(Outcome { failure: None, passed, seconds, .. }) => {
                    format!(
                        "The chain of the {}: {} kills, good at the end, {seconds:.0} s.\n",
                        word(&victim),
                        passed.len()
                    )
                }
                Some(Outcome { failure: Some(why), passed, .. }) => format!(
                    "The chain of the {} FAILED after {} kills: {}\n",
                    word(&victim),
                    passed.len(),
                    why.lines().next().unwrap_or_default()
                ),
            };
        }
        page += "\n| change | | chain | repeat | reset |\n|---|---|---|---|---|\n";
        for step in results.steps(part) {
            for point in Point::ALL {
                let cells = [Then::Chain, Then::Repeat, Then::Reset].map(|then| {
                    let marks = Victim::ALL.map(|victim| mark(part, victim, then, point, &step, &outcomes, &chains));
                    marks.join(" ")
                });
                let name = if point == Point::AfterIntent { shown(&step.change) } else { String::new() };
                page += &format!("| {name} | {} | {} |\n", word(&point), cells.join(" | "));
            }
        }
    }
    page += &failures(&outcomes);
    std::fs::write(PAGE, page).expect("docs/ is writable");
}

type Chains = BTreeMap<String, Vec<(Point, String)>>;

fn passed_in_chains(outcomes: &BTreeMap<String, Outcome>) -> Chains {
    let chains = outcomes.iter().filter(|(_, outcome)| outcome.case.then == Then::Chain);
    chains
        .map(|(name, outcome)| {
            let mut passed = outcome.passed.clone();
            if outcome.failure.is_some() {
                // What came after the last kill is what failed.
                passed.pop();
            }
            (name.clone(), passed)
        })
        .collect()
}

fn mark(
    part: Part,
    victim: Victim,
    then: Then,
    point: Point,
    step: &Step,
    outcomes: &BTreeMap<String, Outcome>,
    chains: &Chains,
) -> &'static str {
    let at = (point, step.change.clone());
    if then == Then::Chain {
        let chain = Case { part, victim, then, at: None };
        let is_passed = chains.get(&chain.name()).is_some_and(|passed| passed.contains(&at));
        return if is_passed { "+" } else { "–" };
    }
    let case = Case { part, victim, then, at: Some(at) };
    match outcomes.get(&case.name()) {
        None => "–",
        Some(Outcome { failure: None, .. }) => "+",
        Some(_) => "FAILED",
    }
}

fn count(part: Part, then: Then, steps: &[Step], outcomes: &BTreeMap<String, Outcome>) -> String {
    let cases: Vec<Case> = Case::all(part, steps).into_iter().filter(|case| case.then == then).collect();
    let found: Vec<&Outcome> = cases.iter().filter_map(|case| outcomes.get(&case.name())).collect();
    let bad = found.iter().filter(|outcome| outcome.failure.is_some()).count();
    let (run, good, left) = (found.len(), found.len() - bad, cases.len() - found.len());
    format!("| {} | {} | {run} | {good} | {bad} | {left} |\n", title(part), word(&then))
}

fn failures(outcomes: &BTreeMap<String, Outcome>) -> String {
    let mut text = String::new();
    for (name, outcome) in outcomes {
        if let Some(why) = &outcome.failure {
            let at = outcome.case.at.as_ref().map(|(_, change)| shown(change)).unwrap_or_default();
            // Not what was run and said, which has this machine's paths.
            let why: Vec<&str> = why.lines().filter(|line| !line.starts_with(['$', '{', '('])).take(12).collect();
            text += &format!("\n**{name}** {at}\n\n```\n{}\n```\n", why.join("\n"));
        }
    }
    if text.is_empty() { text } else { format!("\n## What failed\n{text}") }
}

fn title(part: Part) -> &'static str {
    match part {
        Part::ControlPlane => "A bare host becomes the control plane",
        Part::Worker => "A bare host joins as a worker",
    }
}

/// For a cell: without what would end it, and not endless.
fn shown(change: &str) -> String {
    let short: String = change.chars().take(110).collect();
    let end = if short.len() < change.len() { "…" } else { "" };
    format!("{}{end}", short.replace('|', "/").replace('`', "'").replace('<', "&lt;"))
}
