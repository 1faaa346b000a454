//! "Did you mean": the known word that a mistyped one is nearest to.

use super::mistake::quote;

/// What other tools call it.
const ELSEWHERE: [(&str, &str); 6] = [
    ("master", "control-plane"),
    ("server", "control-plane"),
    ("controller", "control-plane"),
    ("node", "worker"),
    ("agent", "worker"),
    ("ip", "address"),
];

/// A hint that names the known word that somebody most likely meant.
pub fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    Some(format!("did you mean {}?", quote(nearest(word, known)?)))
}

/// The known word that somebody most likely meant, if any is near enough.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == word)
        && let Some(known) = known.iter().find(|known| *known == ours)
    {
        return Some(known);
    }
    let word = plain(word);
    let longest_distance = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|&candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|&(distance, candidate)| distance <= longest_distance && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Spelling styles are no difference: `pod-subnet`, `pod_subnet` and `PodSubnet` all mean `podSubnet`.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["podSubnet", "serviceSubnet", "dnsDomain", "cni", "url"];
        for (typed, meant) in [
            ("podSubnett", Some("podSubnet")),
            ("pod-subnet", Some("podSubnet")),
            ("pod_subnets", Some("podSubnet")),
            ("DNSDOMAIN", Some("dnsDomain")),
            ("uri", Some("url")),
            ("nci", Some("cni")),
            ("color", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(nearest("master", &["control-plane", "worker"]), Some("control-plane"));
        assert_eq!(nearest("master", &known), None);
    }
}
