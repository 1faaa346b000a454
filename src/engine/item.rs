//! What a phase is made of.

use serde::{Deserialize, Serialize};

/// A step's name, or branches that run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Item {
    Step(String),
    Parallel { parallel: Vec<Vec<Item>> },
}
