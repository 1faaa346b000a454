//! Runs cases in a lab of its own, as long as there are any that nobody has.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use crate::case::{Case, Part, Point, Then};
use crate::good::Good;
use crate::lab::{self, Lab};
use crate::results::{self, Outcome, Results};
use crate::say;
use crate::scene::Scene;
use crate::whole::Whole;

/// More kills than a bring-up has points mean that it goes round in circles.
const MOST_KILLS: usize = 500;

pub fn run(results: &Results, parts: &[String]) -> ExitCode {
    keep_panics();
    lab::down_when_interrupted(|| {});
    let lab = match Lab::new(&lab::base_name()) {
        Ok(lab) => lab,
        Err(why) => {
            say(&format!("there is no lab to run on: {why}\n"));
            return ExitCode::FAILURE;
        }
    };
    for part in Part::ALL {
        // Which cases there are is known once a clean run was seen.
        let is_wanted = |case: &Case| case.matches(parts);
        let known = results.steps(part);
        if !known.is_empty() && !results.missing(parts).iter().any(|case| case.part == part) {
            continue;
        }
        if !Case::all(part, &known).iter().any(is_wanted) && !known.is_empty() {
            continue;
        }
        match attempt(|| Setting::new(&lab, part, results)) {
            Ok(setting) => setting.run(parts),
            Err(why) => say(&format!("{part:?} could not be set up: {why}\n")),
        }
    }
    ExitCode::SUCCESS
}

/// A part's hosts, and what a clean run makes of them.
struct Setting<'a> {
    scene: Scene<'a>,
    good: Good,
    results: &'a Results,
    build: String,
}

impl<'a> Setting<'a> {
    fn new(lab: &'a Lab, part: Part, results: &'a Results) -> Self {
        let scene = Scene::new(lab, part);
        let steps = scene.steps();
        scene.up(None).ends(0).is_unchanged();
        results.keep_steps(part, &steps);
        Self { good: Good::of(lab, part.host()), scene, results, build: results::build() }
    }

    fn run(&self, parts: &[String]) {
        for case in Case::all(self.scene.part, &self.results.steps(self.scene.part)) {
            if !case.matches(parts) || !self.results.claim(&case) {
                continue;
            }
            let started = Instant::now();
            let mut passed = Vec::new();
            let ended = attempt(|| self.one(&case, &mut passed));
            lab::park_if_interrupted();
            let seconds = started.elapsed().as_secs_f64();
            let word = if ended.is_ok() { "ok" } else { "FAILED" };
            let at = case.at.as_ref().map(|(_, id)| id.as_str()).unwrap_or_default();
            say(&format!("{} {at} ... {word} ({seconds:.0} s)\n", case.name()));
            if let Err(why) = &ended {
                say(&format!("    {}\n", why.lines().take(12).collect::<Vec<_>>().join("\n    ")));
                self.results.log(&case, "failure", why);
            }
            let build = self.build.clone();
            self.results.keep(&Outcome { case, failure: ended.err(), seconds, build, passed });
        }
    }

    fn one(&self, case: &Case, passed: &mut Vec<(Point, String)>) {
        self.scene.bare();
        match case.then {
            Then::Chain => self.chain(case, passed),
            Then::Repeat => self.repeat(case),
            Then::Reset => self.reset(case),
        }
    }

    /// Killed at each point that there is; every run gets past the last one, and the last run is good.
    fn chain(&self, case: &Case, passed: &mut Vec<(Point, String)>) {
        self.scene.arm(case.victim, None);
        for kill in 0.. {
            assert!(kill < MOST_KILLS, "no end after {kill} kills");
            let run = self.scene.up(Some(case.victim));
            let met = self.scene.met(case.victim);
            let is_killed = met.len() > passed.len();
            *passed = met;
            if run.done.code == Some(0) {
                break;
            }
            assert!(is_killed, "after {:?} it failed by itself\n{run}", passed.last());
        }
        self.is_good();
    }

    fn repeat(&self, case: &Case) {
        self.killed(case);
        self.scene.up(None).ends(0);
        self.is_good();
    }

    fn reset(&self, case: &Case) {
        let before = Whole::of(self.scene.lab, case.part.host());
        self.killed(case);
        self.scene.disarm();
        self.scene.reset().ends(0);
        before.is_restored(self.scene.lab);
    }

    fn killed(&self, case: &Case) {
        self.scene.arm(case.victim, case.at.as_ref());
        let run = self.scene.up(Some(case.victim));
        let met = self.scene.met(case.victim);
        assert_eq!(met.len(), 1, "nobody was killed\n{run}");
        assert_ne!(run.done.code, Some(0), "{run}");
    }

    fn is_good(&self) {
        self.scene.disarm();
        self.good.is_reached(self.scene.lab);
        self.scene.up(None).ends(0).is_unchanged();
    }
}

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        *LAST_PANIC.lock().expect("nobody panics with it") = format!("{text}\n({place})");
    }));
}

fn attempt<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| LAST_PANIC.lock().expect("nobody panics with it").clone())
}
