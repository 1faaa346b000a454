//! Questions to the user at the terminal.

use std::io::{BufRead as _, IsTerminal as _};

use super::exit::{self, Problem};

/// Asks a yes-or-no question. Without a terminal, the error is `nobody`.
pub fn is_agreed(question: &str, nobody: Problem) -> Result<bool, Problem> {
    let answer = ask(&format!("{question} [y/N] "), nobody)?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

/// An error if there is no terminal on which [`confirm`] can ask.
pub fn somebody_is_here() -> Result<(), Problem> {
    if std::io::stdin().is_terminal() { Ok(()) } else { Err(unasked()) }
}

fn unasked() -> Problem {
    Problem::usage("this is not to be done unasked, and nobody is here to confirm it").hint("add --yes")
}

/// Prints what is about to happen, and asks the user to type the names of the hosts.
pub fn confirm(hosts: &[String], what: &str) -> Result<(), Problem> {
    let names = hosts.join(" ");
    let nobody = unasked();
    let answer = ask(&format!("{what}\nType `{names}` to go on: "), nobody)?;
    if answer == names { Ok(()) } else { Err(Problem::usage("not confirmed; nothing was touched")) }
}

fn ask(question: &str, nobody: Problem) -> Result<String, Problem> {
    if !std::io::stdin().is_terminal() {
        return Err(nobody);
    }
    exit::question(question)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().into())
}
