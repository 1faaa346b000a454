//! Questions to the person in front of the terminal.

use std::io::{BufRead as _, IsTerminal as _};

use super::exit::{self, Problem};

/// A yes or no; `nobody` where there is no person.
pub fn is_agreed(question: &str, nobody: Problem) -> Result<bool, Problem> {
    let answer = ask(&format!("{question} [y/N] "), nobody)?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

/// An error where there is no person to be asked by [`confirm`].
pub fn somebody_is_here() -> Result<(), Problem> {
    if std::io::stdin().is_terminal() { Ok(()) } else { Err(unasked()) }
}

fn unasked() -> Problem {
    Problem::usage("this is not to be done unasked, and nobody is here to confirm it").hint("add --yes")
}

/// Says what is about to happen, and has the names of the hosts typed.
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
