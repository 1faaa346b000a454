//! Which commands have JSON output.

use super::exit::Problem;
use super::{Global, Output};

/// Commands that print a file for another program, or write one. Every other command prints JSON with `-o json`.
const WITHOUT_JSON: [&str; 9] =
    ["adopt", "agent", "completion", "config init", "kubeconfig", "lock", "man", "playbook show", "playbook validate"];

/// An error if the command line asks for JSON from a command without it. A format from the environment is for all commands, so these
/// ignore it.
pub fn allows(line: &str, global: &Global) -> Result<(), Problem> {
    let is_asked = global.is_output_given && matches!(global.output, Output::Json);
    match is_asked && WITHOUT_JSON.contains(&line) {
        true => Err(Problem::usage(format!("`kboot {line}` has no JSON output")).hint("leave out `-o json`")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::{Cli, parse};

    fn parsed(line: &str) -> (Cli, String) {
        parse(line.split(' ').map(Into::into)).ok().unwrap()
    }

    #[test]
    fn what_has_no_json_is_a_command() {
        for line in WITHOUT_JSON {
            let mut command = &Cli::command();
            for name in line.split(' ') {
                command = command.find_subcommand(name).unwrap_or_else(|| panic!("there is no `kboot {line}`"));
            }
        }
    }

    #[test]
    fn only_a_format_on_the_command_line_is_refused() {
        let (cli, line) = parsed("kboot -o json playbook show up");
        assert_eq!(line, "playbook show");
        assert!(allows(&line, &cli.global).is_err());
        for given in ["kboot playbook show up -o json", "kboot playbook show --output=json up"] {
            let (cli, line) = parsed(given);
            assert!(allows(&line, &cli.global).is_err(), "{given}");
        }
        let (mut cli, line) = parsed("kboot playbook show up -o plain");
        assert!(allows(&line, &cli.global).is_ok());
        (cli.global.output, cli.global.is_output_given) = (Output::Json, false);
        assert!(allows(&line, &cli.global).is_ok());
        let (cli, line) = parsed("kboot playbook list -o json");
        assert!(allows(&line, &cli.global).is_ok());
    }
}
