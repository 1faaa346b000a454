//! Digests as `sha256sum` prints them.

use sha2::{Digest as _, Sha256};

/// SHA-256, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is shown of a secret: enough to tell whether two are the same.
pub(super) fn shown(bytes: &[u8]) -> String {
    format!("sha256:{}…", &sha256(bytes)[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_sha256sum_has_it() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
