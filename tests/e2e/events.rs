//! What kboot says to programs: its JSON lines.

use serde_json::Value;

use crate::agreement::differences;
use crate::command::Done;
use crate::lab::Lab;

/// A run of kboot's with `--output json`.
#[derive(Clone)]
pub struct Run {
    pub done: Done,
    pub events: Vec<Value>,
}

impl Run {
    #[track_caller]
    pub fn of(lab: &Lab, arguments: &[&str]) -> Self {
        let with = |more: &[&'static str]| {
            let mut all = arguments.to_vec();
            all.extend(more);
            Self::read(lab.kboot(&all))
        };
        let changes_hosts = ["up", "reset"].contains(&arguments[0]) && !arguments.contains(&"--dry-run");
        if !changes_hosts {
            return with(&["--output", "json"]);
        }
        let plan = with(&["--output", "json", "--dry-run"]);
        with(&["--output", "json"]).keeps_to(&plan)
    }

    /// Runs kboot on a host, by a shell line that ends with its arguments.
    #[track_caller]
    pub fn on(lab: &Lab, host: &str, line: &str) -> Self {
        let read = |more: &str| {
            let done = lab.kboot_line(host, &format!("{line} --output json {more}"));
            Self::read(done)
        };
        let plan = read("--dry-run");
        read("").keeps_to(&plan)
    }

    /// What happened is what the plan right before it said, unless that could not be made.
    #[track_caller]
    fn keeps_to(self, plan: &Self) -> Self {
        if plan.done.code == Some(0) {
            let different = differences(plan, &self);
            assert!(different.is_empty(), "the plan was another\n{}\n{self}", different.join("\n"));
        }
        self
    }

    /// The same, of a run that may have been killed while it wrote a line.
    #[track_caller]
    pub fn read_cut(mut done: Done) -> Self {
        done.stdout.truncate(done.stdout.rfind('\n').map_or(0, |end| end + 1));
        Self::read(done)
    }

    /// Every line must be an object with its time, and a run that came to its end closes with the summary.
    #[track_caller]
    pub fn read(done: Done) -> Self {
        let events: Vec<Value> = done
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the line {line}\n{done}")))
            .collect();
        assert!(events.iter().all(|event| event["time"].is_string()), "an event has no time\n{done}");
        Self { done, events }
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.done.code, Some(code), "unexpected exit code\n{self}");
        self
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// The changes that were made, as `host: change`.
    pub fn changes(&self) -> Vec<String> {
        self.of_kind("change-finished").map(|event| format!("{}: {}", text(&event["host"]), event["change"])).collect()
    }

    #[track_caller]
    pub fn summary(&self) -> &Value {
        let last = self
            .events
            .iter()
            .rfind(|event| event["event"] != "join-command")
            .unwrap_or_else(|| panic!("it said nothing\n{self}"));
        assert_eq!(last["event"], "summary", "it does not end with a summary\n{self}");
        last
    }

    /// Nothing was changed, and it says so.
    #[track_caller]
    pub fn is_unchanged(&self) {
        assert_eq!(self.changes(), Vec::<String>::new(), "it changed something\n{self}");
        for host in self.summary()["hosts"].as_array().expect("it lists the hosts") {
            assert_eq!((&host["outcome"], &host["changes"]), (&"unchanged".into(), &0.into()), "{self}");
        }
    }

    /// The causes of failures, of one host if it is named.
    pub fn causes(&self, host: &str) -> Vec<String> {
        let failed = self.of_kind("failed").filter(|event| host.is_empty() || event["host"] == host);
        failed.map(|event| text(&event["failure"]["cause"])).collect()
    }
}

impl std::fmt::Display for Run {
    /// Without the plans and changes, which are long.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "$ {} (ended with {:?} after {:.1} s)",
            self.done.what,
            self.done.code,
            self.done.took.as_secs_f64()
        )?;
        for event in &self.events {
            if matches!(event["event"].as_str(), Some("failed" | "warning" | "waiting" | "summary" | "note")) {
                writeln!(f, "{event}")?;
            }
        }
        write!(f, "{}", self.done.stderr)
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}
