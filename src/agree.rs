//! What hosts say of something that is one for all of them, and whose word counts. Pure.
//!
//! Whoever has a worker lets it say what they like; whoever has a control plane has the cluster anyway. So where a control plane says
//! anything, the workers' words count for nothing.

/// What one host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    pub host: String,
    pub is_control_plane: bool,
    pub word: T,
}

/// What all of them say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreed<T> {
    /// Nobody says anything.
    Silent,
    /// All who count, or more than half of them; and who says something else.
    Word { word: T, others: Vec<Said<T>> },
    /// Those who count, none of whose words has a majority.
    Split(Vec<Said<T>>),
}

/// The word of more than half of the control planes that say something; where none of them does, of the workers.
pub fn agree<T: Clone + PartialEq>(said: &[Said<T>]) -> Agreed<T> {
    let is_led = said.iter().any(|said| said.is_control_plane);
    let counts: Vec<&Said<T>> = said.iter().filter(|said| said.is_control_plane || !is_led).collect();
    if counts.is_empty() {
        return Agreed::Silent;
    }
    let supporters = |word: &T| counts.iter().filter(|said| said.word == *word).count();
    match counts.iter().map(|said| &said.word).find(|word| supporters(word) * 2 > counts.len()) {
        Some(word) => {
            let others = said.iter().filter(|said| said.word != *word).cloned().collect();
            Agreed::Word { word: word.clone(), others }
        }
        None => Agreed::Split(counts.into_iter().cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &str) -> Vec<Said<char>> {
        let one = |(at, word): (usize, char)| Said {
            host: format!("n{at}"),
            is_control_plane: word.is_uppercase(),
            word: word.to_ascii_lowercase(),
        };
        words.chars().enumerate().map(one).collect()
    }

    fn word(words: &str) -> Option<(char, Vec<String>)> {
        match agree(&said(words)) {
            Agreed::Word { word, others } => Some((word, others.into_iter().map(|said| said.host).collect())),
            Agreed::Silent | Agreed::Split(_) => None,
        }
    }

    #[test]
    fn control_planes_count_before_workers_and_a_majority_is_needed() {
        let of = |word, others: &[&str]| Some((word, others.iter().map(ToString::to_string).collect()));
        assert_eq!(word("aaa"), of('a', &[]));
        assert_eq!(word("aab"), of('a', &["n2"]));
        // Workers may be many, and may stand first.
        assert_eq!(word("bbbbA"), of('a', &["n0", "n1", "n2", "n3"]));
        assert_eq!(word("AbAB"), of('a', &["n1", "n3"]));
        assert_eq!(agree(&said("")), Agreed::Silent);
        for split in ["ab", "ABa", "abc", "ABCaaa"] {
            assert!(matches!(agree(&said(split)), Agreed::Split(_)), "{split}");
        }
    }
}
