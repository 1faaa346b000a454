//! Bootstrap tokens: what they are made of, and how they are kept from view.

use std::fmt;
use std::str::FromStr;

use rand::rand_core::TryRng;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// How the secrets' names begin; the token's id follows.
pub const SECRET_PREFIX: &str = "bootstrap-token-";

/// A bootstrap token: a public id and a secret. It shows the id alone; [`expose`](Self::expose) gives the whole.
///
/// It is neither serialised nor cloned by itself: what it takes to send one is in `steps::secrets`.
pub struct Token {
    id: String,
    secret: SecretString,
}

/// What is wrong with a token. The message never repeats it, since the greater part may be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("read the token: it has no dot; a token looks like \"abcdef.0123456789abcdef\"")]
    Dot,
    #[error("read the token: its id has {0} characters instead of 6; a token looks like \"abcdef.0123456789abcdef\"")]
    IdLength(usize),
    #[error(
        "read the token: its secret has {0} characters instead of 16; a token looks like \"abcdef.0123456789abcdef\""
    )]
    SecretLength(usize),
    #[error(
        "read the token: its {0} has other characters than a-z and 0-9; a token looks like \"abcdef.0123456789abcdef\""
    )]
    Characters(&'static str),
    #[error("generate a token: {0}")]
    Random(String),
}

impl Token {
    /// A new token from the system's random numbers.
    pub fn generate() -> Result<Self, TokenError> {
        let id = random(ID_LENGTH)?;
        let secret = random(SECRET_LENGTH)?;
        Ok(Self { id: id.to_string(), secret: secret.as_str().into() })
    }

    /// The public half.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole, as people pass it on and as the API server takes it.
    pub fn expose(&self) -> SecretString {
        format!("{}.{}", self.id, self.secret.expose_secret()).into()
    }

    /// Another one of the same: no clone comes about by itself.
    pub fn copy(&self) -> Self {
        Self { id: self.id.clone(), secret: self.secret.clone() }
    }

    /// The name of the secret that holds it.
    pub fn secret_name(&self) -> String {
        format!("{SECRET_PREFIX}{}", self.id)
    }

    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (id, secret) = text.split_once('.').ok_or(TokenError::Dot)?;
        if id.chars().count() != ID_LENGTH {
            return Err(TokenError::IdLength(id.chars().count()));
        }
        if secret.chars().count() != SECRET_LENGTH {
            return Err(TokenError::SecretLength(secret.chars().count()));
        }
        for (half, name) in [(id, "id"), (secret, "secret")] {
            if !half.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
                return Err(TokenError::Characters(name));
            }
        }
        Ok(Self { id: id.into(), secret: secret.into() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.<redacted>", self.id)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        // No early end: how long it takes must not tell how much of the secret was right.
        let differences = self.secret().bytes().zip(other.secret().bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.id == other.id && differences == 0
    }
}

fn random(length: usize) -> Result<Zeroizing<String>, TokenError> {
    // The greatest multiple of the alphabet's size: what is above would make some characters likelier.
    let limit = (256 / ALPHABET.len() * ALPHABET.len()) as u8;
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut bytes = Zeroizing::new([0; 32]);
    while text.len() < length {
        SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(|error| TokenError::Random(error.to_string()))?;
        let chosen = bytes.iter().filter(|byte| **byte < limit).take(length - text.len());
        text.extend(chosen.map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()] as char));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "abcdef.0123456789abcdef";

    #[test]
    fn only_expose_gives_the_secret() {
        let token: Token = WHOLE.parse().unwrap();
        assert_eq!(token.to_string(), "abcdef.<redacted>");
        assert_eq!(format!("{token:?}"), "Token(abcdef.<redacted>)");
        assert_eq!(token.expose().expose_secret(), WHOLE);
    }

    #[test]
    fn says_what_is_wrong_without_repeating_it() {
        let error = |text: &str| text.parse::<Token>().unwrap_err();
        assert_eq!(error("abcdef0123456789abcdef"), TokenError::Dot);
        assert_eq!(error("abcde.0123456789abcdef"), TokenError::IdLength(5));
        assert_eq!(error("abcdef.0123456789abcde"), TokenError::SecretLength(15));
        assert_eq!(error("ABCDEF.0123456789abcdef"), TokenError::Characters("id"));
        assert_eq!(error("abcdef.0123456789abcdeF"), TokenError::Characters("secret"));
        assert_eq!(error("abcdef.0123456789abcdé?"), TokenError::Characters("secret"));
        assert_eq!(error("abcdef.012345678.abcdef"), TokenError::Characters("secret"));
        let shown = error("zyxwvu.9876543210zyxwv?").to_string();
        assert!(!shown.contains("987654") && shown.contains("\"abcdef.0123456789abcdef\""), "{shown}");
    }

    #[test]
    fn new_tokens_are_well_formed_and_different() {
        let tokens: Vec<_> = (0..200).map(|_| Token::generate().unwrap()).collect();
        let mut seen = std::collections::HashSet::new();
        for token in &tokens {
            let whole = token.expose();
            assert_eq!(&whole.expose_secret().parse::<Token>().unwrap(), token);
            seen.extend(whole.expose_secret().bytes());
        }
        assert_eq!(seen.len(), 37, "all 36 characters and the dot turn up among 4400");
        assert_ne!(tokens[0], tokens[1]);
    }
}
