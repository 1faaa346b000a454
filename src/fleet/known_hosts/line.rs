//! One line of a known_hosts file: its marker, its host patterns and its key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

const SHA1_LENGTH: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    None,
    Authority,
    Revoked,
}

/// A line that is neither empty nor a comment. Only what is needed is parsed, and only when: a file may hold any number
/// of lines for other hosts that kboot can't read.
pub struct Line<'a> {
    /// The marker, or the word with `@` that is none.
    pub marker: Result<Marker, &'a str>,
    hosts: &'a str,
    key: &'a str,
}

impl<'a> Line<'a> {
    pub fn split(text: &'a str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let (first, rest) = word(text);
        let (marker, (hosts, key)) = match first {
            "@cert-authority" => (Ok(Marker::Authority), word(rest)),
            "@revoked" => (Ok(Marker::Revoked), word(rest)),
            other if other.starts_with('@') => (Err(other), word(rest)),
            _ => (Ok(Marker::None), (first, rest)),
        };
        Some(Self { marker, hosts, key })
    }

    /// Whether the line is about `name`, a host as in [`super::host_field`].
    pub fn matches(&self, name: &str) -> Result<bool, String> {
        if let Some(hashed) = self.hosts.strip_prefix('|') {
            return matches_hash(hashed, name);
        }
        let mut found = false;
        for pattern in self.hosts.split(',') {
            let (negated, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, pattern),
            };
            if !glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                continue;
            }
            // One negated match outweighs any other, wherever it stands.
            if negated {
                return Ok(false);
            }
            found = true;
        }
        Ok(found)
    }

    /// Whether it is about more hosts than it names, or has a key of another kind than those that kboot asks for.
    pub fn is_vague(&self) -> bool {
        let algorithm = word(self.key).0;
        let is_usual = algorithm.is_empty() || algorithm == "ssh-ed25519" || algorithm.starts_with("ecdsa-sha2-");
        !is_usual || self.hosts.contains(['*', '?'])
    }

    pub fn key(&self) -> Result<PublicKey, String> {
        let (algorithm, rest) = word(self.key);
        let (base64, _comment) = word(rest);
        if base64.is_empty() {
            return Err("no key after the host".into());
        }
        let key =
            russh::keys::parse_public_key_base64(base64).map_err(|_| format!("the {algorithm} key can't be read"))?;
        if key.algorithm().as_str() != algorithm {
            return Err(format!("it says {algorithm}, but the key is {}", key.algorithm()));
        }
        Ok(key)
    }
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((first, rest)) => (first, rest.trim_start()),
        None => (text, ""),
    }
}

/// `1|salt|hash`, where the hash is HMAC-SHA1 of the name under the salt.
fn matches_hash(hashed: &str, name: &str) -> Result<bool, String> {
    let malformed = || "the hashed host name can't be read".to_string();
    let mut parts = hashed.split('|');
    let (Some("1"), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    let salt = STANDARD.decode(salt).map_err(|_| malformed())?;
    let hash = STANDARD.decode(hash).map_err(|_| malformed())?;
    if hash.len() != SHA1_LENGTH {
        return Err(malformed());
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).map_err(|_| malformed())?;
    mac.update(name.as_bytes());
    Ok(mac.verify_slice(&hash).is_ok())
}

/// `*` and `?` and nothing else: brackets stand for themselves, as in `[host]:port`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            // Let the last star take one character more.
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_as_openssh_does() {
        for (pattern, text, expected) in [
            ("n1", "n1", true),
            ("n1", "n11", false),
            ("n?", "n1", true),
            ("n?", "n", false),
            ("*", "", true),
            ("*.lab", "n1.lab", true),
            ("*.lab", "lab", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxc", false),
            ("10.77.*.1?", "10.77.0.11", true),
            ("[n1]:2222", "[n1]:2222", true),
            ("[*]:2222", "[n1]:2222", true),
            ("[n1]:2222", "n1", false),
            ("**", "anything", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
        }
    }
}
