//! Which tests belong together, and which of them a lab takes next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::lab::Lab;

pub struct Test {
    pub name: &'static str,
    pub start: Start,
    pub run: fn(&Lab),
}

/// What the hosts are when a test begins.
#[derive(Clone, Copy)]
pub enum Start {
    /// So many bare hosts, n1, n2, …, in a lab that is made for it. `lab` is what `testbed up` is told beside their number: a lab of
    /// another kind.
    Bare { hosts: usize, lab: &'static [&'static str] },
    /// What this test leaves. It comes before on the same lab.
    After(&'static str),
    /// What this test makes of bare hosts, mostly a cluster. Whoever starts from it leaves it as it was: in any order, on any lab that
    /// has it.
    Shared(&'static str),
}

impl Start {
    pub const fn bare(hosts: usize) -> Self {
        Self::Bare { hosts, lab: &[] }
    }
}

/// A test, and those that start from what it leaves: in order, on one lab.
#[derive(Clone)]
pub struct Chain<'a> {
    pub tests: Vec<&'a Test>,
    /// All that belong to it were chosen: it leaves what is shared as it was.
    pub is_whole: bool,
}

impl<'a> Chain<'a> {
    pub fn start(&self) -> Start {
        self.tests[0].start
    }

    fn shared(&self) -> Option<&'static str> {
        match self.start() {
            Start::Shared(maker) => Some(maker),
            Start::Bare { .. } | Start::After(_) => None,
        }
    }
}

#[track_caller]
pub fn find<'a>(all: &[&'a Test], name: &str) -> &'a Test {
    all.iter().copied().find(|test| test.name == name).unwrap_or_else(|| panic!("there is no test {name}"))
}

/// The chosen ones and all that they start from, in order.
pub fn with_what_they_need<'a>(all: &[&'a Test], chosen: &[&'a Test]) -> Vec<&'a Test> {
    let mut names = BTreeSet::new();
    for test in chosen {
        let mut next = Some(*test);
        while let Some(test) = next {
            names.insert(test.name);
            next = match test.start {
                Start::Bare { .. } => None,
                Start::After(name) | Start::Shared(name) => Some(find(all, name)),
            };
        }
    }
    all.iter().copied().filter(|test| names.contains(test.name)).collect()
}

/// The chosen tests as chains, in the order of their first tests.
pub fn chains<'a>(all: &[&'a Test], chosen: &[&'a Test]) -> Vec<Chain<'a>> {
    let first = |test: &Test, among: &[&Test]| {
        let mut name = test.name;
        while let Start::After(before) = find(all, name).start {
            // Alone, a test goes on with what an earlier run has left.
            if !among.iter().any(|test| test.name == before) {
                break;
            }
            name = before;
        }
        name
    };
    let mut chains: Vec<(&str, Chain)> = Vec::new();
    for test in chosen {
        let first = first(test, chosen);
        match chains.iter_mut().find(|(name, _)| *name == first) {
            Some((_, chain)) => chain.tests.push(test),
            None => chains.push((first, Chain { tests: vec![test], is_whole: true })),
        }
    }
    for (first_name, chain) in &mut chains {
        chain.is_whole = all.iter().filter(|test| first(test, all) == *first_name).count() == chain.tests.len();
    }
    chains.into_iter().map(|(_, chain)| chain).collect()
}

/// To make it once more for another lab is worth the time where so many chains are left that start from it.
const WORTH_MAKING: usize = 8;

/// The chains that no lab has taken yet.
pub struct Queue<'a> {
    state: Mutex<State<'a>>,
    has_moved: Condvar,
}

struct State<'a> {
    left: Vec<Chain<'a>>,
    /// By lab, what is there for others to start from, or is being made; named by the test that makes it.
    made: BTreeMap<usize, &'static str>,
    /// By lab, the first test of the chain that it runs.
    running: BTreeMap<usize, &'static str>,
}

impl<'a> Queue<'a> {
    pub fn new(chains: Vec<Chain<'a>>) -> Self {
        let state = State { left: chains, made: BTreeMap::new(), running: BTreeMap::new() };
        Self { state: Mutex::new(state), has_moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    /// What a lab runs next, and whether that which it starts from is there. None once there is nothing left for it.
    pub fn next(&self, lab: usize) -> Option<(Chain<'a>, bool)> {
        let mut state = self.state();
        loop {
            if let Some(index) = state.pick(lab) {
                let chain = state.left.remove(index);
                let is_there = chain.shared().is_some_and(|maker| state.made.get(&lab) == Some(&maker));
                match chain.shared() {
                    Some(maker) => state.made.insert(lab, maker),
                    None => state.made.remove(&lab),
                };
                state.running.insert(lab, chain.tests[0].name);
                return Some((chain, is_there));
            }
            if state.left.is_empty() || state.running.is_empty() {
                return None;
            }
            // What another lab does may leave something for this one.
            state = self.has_moved.wait(state).unwrap_or_else(|lock| lock.into_inner());
        }
    }

    /// A lab is through with its chain, and has this for others now.
    pub fn done(&self, lab: usize, made: Option<&'static str>) {
        let mut state = self.state();
        state.running.remove(&lab);
        match made {
            Some(maker) => state.made.insert(lab, maker),
            None => state.made.remove(&lab),
        };
        self.has_moved.notify_all();
    }

    /// Takes out what starts from something that can't be made.
    pub fn drop_those_of(&self, maker: &str) -> Vec<Chain<'a>> {
        let mut state = self.state();
        let (dropped, left) = std::mem::take(&mut state.left).into_iter().partition(|c| c.shared() == Some(maker));
        state.left = left;
        dropped
    }
}

impl State<'_> {
    /// What starts from what the lab has comes first, what spoils that last; then the list's order; and last what another lab has it for.
    fn pick(&self, lab: usize) -> Option<usize> {
        let own = self.made.get(&lab).copied();
        let is_own = |chain: &Chain| own.is_some() && chain.shared() == own;
        let keeps_own = |chain: &Chain| is_own(chain) && chain.is_whole;
        if let Some(index) = self.left.iter().position(keeps_own).or_else(|| self.left.iter().position(is_own)) {
            return Some(index);
        }
        let is_made = |maker: &str| {
            !self.left.iter().any(|chain| chain.tests[0].name == maker)
                && !self.running.values().any(|first| *first == maker)
        };
        let is_elsewhere = |maker: &'static str| self.made.values().any(|made| *made == maker);
        let is_free = |chain: &Chain| chain.shared().is_none_or(|maker| is_made(maker) && !is_elsewhere(maker));
        self.left.iter().position(is_free).or_else(|| {
            self.left.iter().position(|chain| {
                let waiting = self.left.iter().filter(|other| other.shared() == chain.shared()).count();
                waiting >= WORTH_MAKING && chain.shared().is_some_and(is_made)
            })
        })
    }
}
