//! The page that tells what is known: the results that are there, and for all other cases what the page had before.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::case::{Case, Part, Point, Step, Then, Victim, short, word};
use crate::results::{Outcome, Results};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kill-matrix.md");

const HEAD: &str = "\
# The kill matrix

<!-- Written by `make test-matrix` from its results. -->

The kill matrix shows what a killed run leaves behind. A bring-up makes a control plane of a bare
host, or joins a bare host as a worker. For each change of a bring-up, the test ends one process
with SIGKILL: the **agent** on the host, or the **controller**. It does so **after the intent** (the
change is in the journal and not made) or **after the act** (the change is made, and the journal
does not say so; for the controller: it has the event of the change's start or end). Then it does
one of these:

- **chain**: it runs the same command again, which it kills at the next point, until the command
  ends. One chain has all points. Changes that run in parallel can end while another one is killed,
  and an agent without a controller finishes its change. Such a point never comes, and the table has
  a dash.
- **repeat**: on a bare host, one kill, and the same command again.
- **reset**: on a bare host, one kill, and `kboot reset`. The host must be as it was before, file by
  file.

A chain and a repeat must end in the same cluster as an undisturbed run: the same files with the
same modes and contents (keys and certificates may differ), packages, units, links, routes and
mounts, and the same objects with the same fields. The next run must change nothing. The test checks
its own comparison first: it damages files, a unit and a label of a good host, and the comparison
must find exactly these.

`make test-matrix` runs the cases that have no result yet in its folder, and keeps the other cells
of this page. `ARGS=--fresh` forgets the folder's results.

Only debug builds have the hook that kills. The table is of a debug build; the code is otherwise the
same.

";

const NONE: &str = "–";

/// How a case ended, and in which build.
#[derive(Debug, Clone, Default, PartialEq)]
struct Cell {
    /// None where it was not run.
    is_good: Option<bool>,
    build: String,
}

/// The cells of one change at one point: by [`Then`], the agent's and the controller's.
type Cells = [[Cell; 2]; 3];

/// A part of the page.
#[derive(Default)]
struct Table {
    /// What is said of the chains, a line each.
    chains: Vec<String>,
    /// By the change's short id and the point, in the order of the run.
    rows: Vec<Row>,
}

struct Row {
    id: String,
    text: String,
    point: Point,
    cells: Cells,
}

const THENS: [Then; 3] = [Then::Chain, Then::Repeat, Then::Reset];

pub fn write(results: &Results) {
    let before = std::fs::read_to_string(PAGE).unwrap_or_default();
    let outcomes: BTreeMap<String, Outcome> =
        results.all().into_iter().map(|outcome| (outcome.case.name(), outcome)).collect();
    let tables = Part::ALL.map(|part| {
        let known = parse(&before, part);
        match results.steps(part) {
            steps if steps.is_empty() => known,
            steps => merged(part, &steps, &outcomes, &known),
        }
    });
    let page = page(&tables, &failures(&outcomes));
    std::fs::write(PAGE, page).expect("docs/ is writable");
}

fn page(tables: &[Table; 2], failures: &str) -> String {
    let mut page = HEAD.to_string();
    let usual = usual_build(tables);
    page += "| part | then | run | good | failed | not run |\n|---|---|--:|--:|--:|--:|\n";
    for (part, table) in Part::ALL.into_iter().zip(tables) {
        for (index, then) in THENS.into_iter().enumerate().skip(1) {
            let cells: Vec<&Cell> = table.rows.iter().flat_map(|row| &row.cells[index]).collect();
            let count = |wanted: Option<bool>| cells.iter().filter(|cell| cell.is_good == wanted).count();
            let (good, bad, left) = (count(Some(true)), count(Some(false)), count(None));
            let _ = writeln!(page, "| {} | {} | {} | {good} | {bad} | {left} |", title(part), word(&then), good + bad);
        }
    }
    let _ = write!(
        page,
        "\nIn the tables, `+` is good, `FAILED` is not, and a dash was not run. Each cell is the agent's kill, then\nthe \
         controller's. The first column is a digest of the change's id.\n\n{USUAL}{usual}{UNLESS}\n"
    );
    for (part, table) in Part::ALL.into_iter().zip(tables) {
        let _ = write!(page, "\n## {}\n\n{}\n\n", title(part), table.chains.join("\n"));
        page += "| id | change | | chain | repeat | reset |\n|---|---|---|---|---|---|\n";
        for Row { id, text, point, cells } in &table.rows {
            let cells = cells.each_ref().map(|pair| shown_pair(pair, &usual));
            let _ = writeln!(page, "| {id} | {text} | {} | {} |", word(point), cells.join(" | "));
        }
    }
    page + failures
}

const USUAL: &str = "The results are of build ";
const UNLESS: &str = ", unless a cell names another one.";

/// The build that most cells are of.
fn usual_build(tables: &[Table; 2]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let cells = tables.iter().flat_map(|table| &table.rows).flat_map(|row| row.cells.iter().flatten());
    for cell in cells.filter(|cell| cell.is_good.is_some()) {
        *counts.entry(&cell.build).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or_else(|| "none".into(), |(build, _)| build.to_owned())
}

/// As `+ +`, or `+ 0123abc FAILED` where the first is of another build than most.
fn shown_pair(pair: &[Cell; 2], usual: &str) -> String {
    let shown = |cell: &Cell| match cell.is_good {
        None => NONE.to_string(),
        Some(is_good) => {
            let mark = if is_good { "+" } else { "FAILED" };
            if cell.build == usual { mark.into() } else { format!("{mark} {}", cell.build) }
        }
    };
    pair.each_ref().map(shown).join(" ")
}

fn read_pair(text: &str, usual: &str) -> Option<[Cell; 2]> {
    let mut cells: Vec<Cell> = Vec::new();
    for word in text.split_whitespace() {
        match word {
            NONE => cells.push(Cell::default()),
            "+" | "FAILED" => cells.push(Cell { is_good: Some(word == "+"), build: usual.into() }),
            build => cells.last_mut()?.build = build.into(),
        }
    }
    cells.try_into().ok()
}

/// What a page says of a part.
fn parse(page: &str, part: Part) -> Table {
    let usual = page.lines().find_map(|line| line.strip_prefix(USUAL)?.strip_suffix(UNLESS)).unwrap_or_default();
    let heading = format!("## {}", title(part));
    let lines = page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let mut table = Table::default();
    for line in lines {
        if line.starts_with("The chain of ") {
            table.chains.push(line.into());
        }
        let columns: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, text, point, chain, repeat, reset] = columns[..] else { continue };
        let Some(point) = Point::ALL.into_iter().find(|known| word(known) == point) else { continue };
        let [Some(chain), Some(repeat), Some(reset)] = [chain, repeat, reset].map(|text| read_pair(text, usual)) else {
            continue;
        };
        table.rows.push(Row { id: id.into(), text: text.into(), point, cells: [chain, repeat, reset] });
    }
    table
}

fn merged(part: Part, steps: &[Step], outcomes: &BTreeMap<String, Outcome>, known: &Table) -> Table {
    let mut table = Table::default();
    for (index, victim) in Victim::ALL.into_iter().enumerate() {
        let line = outcomes
            .get(&Case { part, victim, then: Then::Chain, at: None }.name())
            .map(|outcome| chain(victim, outcome));
        let not_run = || format!("The chain of the {} was not run.", word(&victim));
        table.chains.push(line.or_else(|| known.chains.get(index).cloned()).unwrap_or_else(not_run));
    }
    for step in steps {
        for point in Point::ALL {
            let id = short(&step.id);
            let mut cells = known
                .rows
                .iter()
                .find(|row| row.id == id && row.point == point)
                .map(|row| row.cells.clone())
                .unwrap_or_default();
            for (then, pair) in THENS.into_iter().zip(&mut cells) {
                for (victim, cell) in Victim::ALL.into_iter().zip(pair) {
                    if let Some(found) = cell_of(part, victim, then, (point, &step.id), outcomes) {
                        *cell = found;
                    }
                }
            }
            table.rows.push(Row { id, text: shown(&step.text), point, cells });
        }
    }
    table
}

/// What the results say of a case; None if they do not have it.
fn cell_of(
    part: Part,
    victim: Victim,
    then: Then,
    (point, id): (Point, &str),
    outcomes: &BTreeMap<String, Outcome>,
) -> Option<Cell> {
    let at = (point, id.to_owned());
    if then == Then::Chain {
        let outcome = outcomes.get(&Case { part, victim, then, at: None }.name())?;
        let mut passed = &outcome.passed[..];
        if outcome.failure.is_some() {
            // What came after the last kill is what failed.
            passed = passed.split_last().map(|(_, rest)| rest).unwrap_or_default();
        }
        let is_good = passed.contains(&at).then_some(true);
        return Some(Cell { is_good, build: outcome.build.clone() });
    }
    let outcome = outcomes.get(&Case { part, victim, then, at: Some(at) }.name())?;
    Some(Cell { is_good: Some(outcome.failure.is_none()), build: outcome.build.clone() })
}

fn chain(victim: Victim, Outcome { passed, seconds, failure, build, .. }: &Outcome) -> String {
    let (of, kills) = (format!("The chain of the {}", word(&victim)), passed.len());
    match failure {
        None => format!("{of}: {kills} kills, good at the end, {seconds:.0} s, build {build}."),
        Some(why) => {
            format!("{of} FAILED after {kills} kills, build {build}: {}", why.lines().next().unwrap_or_default())
        }
    }
}

fn failures(outcomes: &BTreeMap<String, Outcome>) -> String {
    let mut text = String::new();
    for (name, outcome) in outcomes {
        if let Some(why) = &outcome.failure {
            let at = outcome.case.at.as_ref().map(|(_, id)| shown(id)).unwrap_or_default();
            // Not what was run and said, which has this machine's paths.
            let why: Vec<&str> = why.lines().filter(|line| !line.starts_with(['$', '{', '('])).take(12).collect();
            let _ = write!(text, "\n**{name}** {at}\n\n```\n{}\n```\n", why.join("\n"));
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

/// A page is read back as it was written: the kept cells are the page's own.
pub fn check() {
    let cell = |is_good, build: &str| Cell { is_good, build: build.into() };
    let good = || cell(Some(true), "aaaaaaa");
    let pairs =
        [[good(), good()], [good(), cell(Some(false), "bbbbbbb+")], [Cell::default(), cell(Some(true), "bbbbbbb")]];
    let row = |point| Row { id: "0123abcd".into(), text: "create /a (0644)".into(), point, cells: pairs.clone() };
    let table =
        || Table { chains: vec!["The chain of the agent was not run.".into()], rows: Point::ALL.map(row).into() };
    let text = page(&[table(), table()], "");
    for part in Part::ALL {
        let read = parse(&text, part);
        assert_eq!(read.chains, table().chains);
        let cells = |table: &Table| {
            table
                .rows
                .iter()
                .map(|row| (row.id.clone(), row.text.clone(), row.point, row.cells.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(cells(&read), cells(&table()), "{text}");
    }
}
