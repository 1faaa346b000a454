//! The arithmetic of votes: whether a cluster still decides once a member is gone.

use std::fmt;

use super::Member;

/// How many votes there are, how many of them answer, and how many it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    pub votes: usize,
    pub answering: usize,
}

impl Quorum {
    /// More than half of all votes.
    pub fn needed(self) -> usize {
        self.votes / 2 + 1
    }

    pub fn holds(self) -> bool {
        self.answering >= self.needed()
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} members would answer, and it takes {}", self.answering, self.votes, self.needed())
    }
}

/// What is left without some of the members, by their ids. `healthy` are the ids of those that answer.
pub fn without(members: &[Member], healthy: &[u64], leaving: &[u64]) -> Quorum {
    let staying = members.iter().filter(|member| !member.is_learner && !leaving.contains(&member.id));
    let (answering, silent): (Vec<&Member>, Vec<&Member>) = staying.partition(|member| healthy.contains(&member.id));
    Quorum { votes: answering.len() + silent.len(), answering: answering.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u64) -> Vec<Member> {
        (1..=count).map(|id| Member::sample(id, &format!("n{id}"))).collect()
    }

    fn left(count: u64, healthy: &[u64], leaving: &[u64]) -> Quorum {
        without(&members(count), healthy, leaving)
    }

    #[test]
    fn a_dead_one_may_go_and_one_too_many_may_not() {
        assert!(left(3, &[2, 3], &[1]).holds());
        assert!(left(3, &[1, 2, 3], &[1]).holds());
        let lost = left(3, &[1, 2], &[1]);
        assert!(!lost.holds());
        assert_eq!(lost.to_string(), "1 of 2 members would answer, and it takes 2");
        assert!(left(5, &[3, 4, 5], &[1, 2]).holds());
        assert!(!left(5, &[1, 3, 4], &[1]).holds());
    }

    #[test]
    fn the_last_one_can_t_be_done_without() {
        let nobody = left(1, &[1], &[1]);
        assert_eq!((nobody.votes, nobody.holds()), (0, false));
    }

    #[test]
    fn learners_have_no_vote() {
        let mut all = members(3);
        all[2].is_learner = true;
        assert_eq!(without(&all, &[1, 2], &[]), Quorum { votes: 2, answering: 2 });
    }
}
