//! Asking a person for something secret.

use std::io::Write as _;

use console::Term;
use secrecy::SecretString;

/// None where it can't be asked or nothing was said.
pub fn ask_secret(question: &str) -> Option<SecretString> {
    let terminal = Term::stderr();
    write!(&terminal, "{question}").ok()?;
    terminal.flush().ok()?;
    let answer = terminal.read_secure_line().ok()?;
    (!answer.is_empty()).then(|| answer.into())
}
