//! Asking a person for something secret.

use std::io::{IsTerminal as _, Write as _};

use console::Term;
use secrecy::SecretString;

use super::clean::clean_line;

/// None where there is nobody to ask or nothing was said.
pub fn ask_secret(question: &str) -> Option<SecretString> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let terminal = Term::stderr();
    write!(&terminal, "{}", clean_line(question)).ok()?;
    terminal.flush().ok()?;
    let answer = terminal.read_secure_line().ok()?;
    (!answer.is_empty()).then(|| answer.into())
}
