//! The one digest behind an image's tag, of what hosts have and of what they heard from the registry. Pure.

use crate::agree::{Agreed, Said, agree};

type Word<'a> = Said<&'a String>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Digest<'a> {
    /// Nobody has the image, and nobody asked for it.
    Unknown,
    /// And the hosts that have another one.
    One { digest: &'a String, others: Vec<Word<'a>> },
    /// All that was said, the registry's word as hosts heard it apart from what they have.
    Split { by_registry: Vec<Word<'a>>, by_host: Vec<Word<'a>> },
}

/// The registry's word comes before what hosts have. It comes by way of hosts, too: what workers alone heard must be what all have.
pub(super) fn digest<'a>(by_registry: &[Word<'a>], by_host: &[Word<'a>]) -> Digest<'a> {
    let split = || Digest::Split { by_registry: by_registry.to_vec(), by_host: by_host.to_vec() };
    let Some(first) = by_registry.first() else {
        return match agree(by_host) {
            Agreed::Silent => Digest::Unknown,
            Agreed::Word { word, others } => Digest::One { digest: word, others },
            Agreed::Split(_) => split(),
        };
    };
    let digest = first.word;
    let others: Vec<Word<'a>> = by_host.iter().filter(|said| said.word != digest).cloned().collect();
    let is_one = by_registry.iter().all(|said| said.word == digest);
    let is_led = by_registry.iter().any(|said| said.is_control_plane);
    if is_one && (is_led || others.is_empty()) { Digest::One { digest, others } } else { split() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1` is a control plane's word, `w1` a worker's.
    fn words(text: &str) -> Vec<(bool, String)> {
        let one = |word: &str| match word.strip_prefix('w') {
            Some(word) => (false, word.to_string()),
            None => (true, word.to_string()),
        };
        text.split_whitespace().map(one).collect()
    }

    /// The digest, and how many have another.
    fn of(by_registry: &str, by_host: &str) -> Option<(String, usize)> {
        fn said(words: &[(bool, String)]) -> Vec<Word<'_>> {
            words.iter().map(|(leads, word)| Said { host: String::new(), is_control_plane: *leads, word }).collect()
        }
        match digest(&said(&words(by_registry)), &said(&words(by_host))) {
            Digest::One { digest, others } => Some((digest.clone(), others.len())),
            Digest::Unknown | Digest::Split { .. } => None,
        }
    }

    #[test]
    fn the_registry_s_word_comes_first_and_a_worker_s_hearsay_decides_nothing() {
        let one = |word: &str, others| Some((word.to_string(), others));
        assert_eq!(of("6 w6", "w5"), one("6", 1));
        assert_eq!(of("6", ""), one("6", 0));
        // What a worker says of the registry must be what the others have.
        assert_eq!(of("w5", "5 5"), one("5", 0));
        assert_eq!(of("w6", "5 5"), None);
        assert_eq!(of("6 w7", ""), None);
        // Where nobody asked, the control planes' own count.
        assert_eq!(of("", "w6 w6 5"), one("5", 2));
        assert_eq!(of("", "5 6"), None);
        assert_eq!(of("", ""), None);
    }
}
