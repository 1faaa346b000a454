//! The hosts of a lane: bare where a case begins, killed where it says so.

use std::fs;

use kboot::engine::Change;

use crate::case::{Part, Point, Step, Victim, word};
use crate::events::{Run, text};
use crate::lab::Lab;

/// The file that an agent heeds.
const ON_HOST: &str = "/run/kboot.fault";

pub struct Scene<'a> {
    pub lab: &'a Lab,
    pub part: Part,
    inventory: String,
}

impl<'a> Scene<'a> {
    /// A bare host; for a worker, beside a control plane that is there.
    #[track_caller]
    pub fn new(lab: &'a Lab, part: Part) -> Self {
        let hosts: &[&str] = match part {
            Part::ControlPlane => &["n1"],
            Part::Worker => &["n1", "n2"],
        };
        lab.fresh(hosts.len(), &[]).unwrap_or_else(|why| panic!("the lab did not come up: {why}"));
        let scene = Self { lab, part, inventory: lab.inventory_of(hosts) };
        if part == Part::Worker {
            lab.kboot(&["up", "-i", &lab.inventory_of(&["n1"])]).ok();
        }
        scene
    }

    /// The host as it was before anything was done.
    #[track_caller]
    pub fn bare(&self) {
        let host = self.part.host();
        if self.part == Part::Worker {
            let script = "export KUBECONFIG=/etc/kubernetes/admin.conf
                set -e
                kubectl delete node n2 --ignore-not-found
                kubectl delete pods -A --field-selector spec.nodeName=n2 --force --grace-period=0
                kubectl -n kube-system delete secrets --field-selector type=bootstrap.kubernetes.io/token";
            self.lab.on("n1", script).ok();
        }
        self.lab.testbed(&["host", "reset", host]).ok();
        self.disarm();
    }

    /// The changes of a run that nobody disturbs.
    #[track_caller]
    pub fn steps(&self) -> Vec<Step> {
        let run = self.up(None).ends(0);
        let made = run.of_kind("change-finished").filter(|event| event["host"] == self.part.host());
        let steps: Vec<Step> = made
            .map(|event| {
                let change: Change = serde_json::from_value(event["change"].clone()).expect("it is a change");
                let id = without_chance(&text(&event["change"]["id"]));
                Step { step: text(&event["step"]), id, text: without_chance(&change.to_string()) }
            })
            .collect();
        assert!(steps.len() > 20, "a bare host needs more changes than {}\n{run}", steps.len());
        steps
    }

    /// `kboot up`, with the victim's attention drawn to its file.
    #[track_caller]
    pub fn up(&self, victim: Option<Victim>) -> Run {
        self.kboot(&["up", "-i", &self.inventory], victim)
    }

    #[track_caller]
    pub fn reset(&self) -> Run {
        let host = self.part.host();
        self.kboot(&["reset", "-i", &self.inventory, "--host", host, "--yes"], None)
    }

    #[track_caller]
    fn kboot(&self, arguments: &[&str], victim: Option<Victim>) -> Run {
        let (path, fault) = (self.lab.kboot_path(), format!("KBOOT_FAULT={}", self.fault_file()));
        let mut argv = vec!["env", &fault, path.to_str().expect("a plain name")];
        if victim != Some(Victim::Controller) {
            argv.drain(..2);
        }
        argv.extend(arguments);
        argv.extend(["--output", "json"]);
        Run::read_cut(self.lab.finish(self.lab.start(&argv)))
    }

    /// Asks for a kill: at one point, or at every one.
    #[track_caller]
    pub fn arm(&self, victim: Victim, at: Option<&(Point, String)>) {
        let host = self.part.host();
        let line = match (at, victim) {
            (None, _) => "every".to_string(),
            (Some((point, change)), Victim::Agent) => format!("{} {change}", word(point)),
            (Some((point, change)), Victim::Controller) => format!("{} {host}: {change}", word(point)),
        };
        match victim {
            Victim::Agent => drop(self.lab.on(host, &format!("cat >{ON_HOST} <<'END'\n{line}\nEND\n")).ok()),
            Victim::Controller => fs::write(self.fault_file(), line + "\n").expect("it is the lab's folder"),
        }
    }

    #[track_caller]
    pub fn disarm(&self) {
        let _ = fs::remove_file(self.fault_file());
        self.lab.on(self.part.host(), &format!("rm -f {ON_HOST}")).ok();
    }

    /// The points that were met, in their order.
    #[track_caller]
    pub fn met(&self, victim: Victim) -> Vec<(Point, String)> {
        let host = self.part.host();
        let text = match victim {
            Victim::Agent => self.lab.on(host, &format!("cat {ON_HOST}")).ok().stdout,
            Victim::Controller => fs::read_to_string(self.fault_file()).expect("it was armed"),
        };
        let reached = text.lines().filter_map(|line| line.strip_prefix("reached ")?.split_once(' '));
        let of_host = format!("{host}: ");
        reached
            .filter_map(|(point, change)| {
                let point = Point::ALL.into_iter().find(|known| word(known) == point)?;
                match victim {
                    Victim::Agent => Some((point, change.to_string())),
                    // A controller's may be of another host, which keep that host's name.
                    Victim::Controller => Some((point, change.strip_prefix(&of_host).unwrap_or(change).to_string())),
                }
            })
            .collect()
    }

    fn fault_file(&self) -> String {
        self.lab.scratch("fault").display().to_string()
    }
}

/// As the hook has it: tokens' names differ in each run.
fn without_chance(change: &str) -> String {
    match change.replace('\n', " ").split_once("bootstrap-token-") {
        Some((before, after)) => {
            format!("{before}bootstrap-token-*{}", after.trim_start_matches(|c: char| c.is_ascii_alphanumeric()))
        }
        None => change.replace('\n', " "),
    }
}
