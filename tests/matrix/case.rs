//! What the matrix is made of: changes, points at which a process is killed, who is killed, and what is done then.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A bare host becomes the control plane of a new cluster.
    ControlPlane,
    /// A bare host joins a cluster that is there.
    Worker,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::ControlPlane, Self::Worker];

    /// The host at which things happen.
    pub fn host(self) -> &'static str {
        match self {
            Self::ControlPlane => "n1",
            Self::Worker => "n2",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    Agent,
    Controller,
}

impl Victim {
    pub const ALL: [Self; 2] = [Self::Agent, Self::Controller];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    AfterIntent,
    AfterAct,
}

impl Point {
    pub const ALL: [Self; 2] = [Self::AfterIntent, Self::AfterAct];
}

/// What is done after a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The command again, which is killed at the next point, and so on to the end: every point in one bring-up.
    Chain,
    /// The command again, to its end.
    Repeat,
    /// A reset.
    Reset,
}

/// One change that kboot makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub step: String,
    /// Its id, by which cases know it.
    pub id: String,
    /// What the page calls it.
    pub text: String,
}

/// One kill, or with [`Then::Chain`] a whole row of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub part: Part,
    pub victim: Victim,
    pub then: Then,
    /// The point and the change's id; none for a chain.
    pub at: Option<(Point, String)>,
}

impl Case {
    /// All cases of one part of the matrix, those first that tell most for their time.
    pub fn all(part: Part, steps: &[Step]) -> Vec<Self> {
        let mut cases = Vec::new();
        for victim in Victim::ALL {
            cases.push(Self { part, victim, then: Then::Chain, at: None });
        }
        for (then, victim, point) in [
            (Then::Repeat, Victim::Agent, Point::AfterAct),
            (Then::Reset, Victim::Agent, Point::AfterAct),
            (Then::Repeat, Victim::Agent, Point::AfterIntent),
            (Then::Repeat, Victim::Controller, Point::AfterAct),
            (Then::Reset, Victim::Agent, Point::AfterIntent),
            (Then::Repeat, Victim::Controller, Point::AfterIntent),
            (Then::Reset, Victim::Controller, Point::AfterAct),
            (Then::Reset, Victim::Controller, Point::AfterIntent),
        ] {
            cases.extend(steps.iter().map(|step| Self { part, victim, then, at: Some((point, step.id.clone())) }));
        }
        cases
    }

    /// Its name, as in `worker/agent/repeat/after-act/0123abcd`.
    pub fn name(&self) -> String {
        let words = [word(&self.part), word(&self.victim), word(&self.then)];
        match &self.at {
            None => words.join("/"),
            Some((point, id)) => format!("{}/{}/{}", words.join("/"), word(point), short(id)),
        }
    }

    pub fn matches(&self, parts: &[String]) -> bool {
        let name = self.name();
        parts.iter().all(|part| name.contains(part))
    }
}

/// A change's id in cases' names and on the page.
pub fn short(id: &str) -> String {
    Sha256::digest(id.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The word that stands for it in files.
pub fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).expect("a plain enum")
}
