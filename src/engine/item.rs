//! What a phase is made of.

use serde::{Deserialize, Serialize};

/// A built-in step's name, branches that run at the same time, or a task: what a playbook wants beyond the built-in steps.
/// The engine doesn't know what a task is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item<T> {
    Step(String),
    Parallel(Vec<Vec<Item<T>>>),
    Task(T),
}

impl<T> Item<T> {
    /// The same with other tasks.
    pub fn map<U>(&self, change: &mut impl FnMut(&T) -> U) -> Item<U> {
        match self {
            Item::Step(name) => Item::Step(name.clone()),
            Item::Parallel(branches) => Item::Parallel(
                branches.iter().map(|branch| branch.iter().map(|item| item.map(change)).collect()).collect(),
            ),
            Item::Task(task) => Item::Task(change(task)),
        }
    }

    /// All that is no branch, in its order.
    pub fn leaves(&self) -> Vec<&Item<T>> {
        match self {
            Item::Parallel(branches) => branches.iter().flatten().flat_map(Item::leaves).collect(),
            leaf => vec![leaf],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_keep_their_shape_and_their_order() {
        let step = |name: &str| Item::Step(name.into());
        let items =
            Item::Parallel(vec![vec![step("a"), Item::Task(1)], vec![Item::Parallel(vec![vec![Item::Task(2)]])]]);
        let doubled = items.map(&mut |number| number * 2);
        assert_eq!(doubled.leaves(), [&step("a"), &Item::Task(2), &Item::Task(4)]);
        assert_eq!(items.leaves().len(), 3);
    }
}
