//! Mistakes in the command line, in kboot's own form, and the reference page of all commands.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use crate::engine::Failure;

use super::elsewhere;

/// The failure of a wrong command line. None for help and the version, which are not mistakes.
pub fn failure(error: &clap::Error, root: &Command, arguments: impl Iterator<Item = String>) -> Option<Failure> {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) {
        return None;
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let cause: Vec<&str> = paragraphs.next().unwrap_or_default().lines().map(str::trim).collect();
    let cause = cause.join("\n");
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim_start().strip_prefix("tip: "));
    // clap's tip to pass a value that begins with a dash never helps here.
    let tips: Vec<&str> = tips.filter(|tip| !tip.starts_with("to pass ")).collect();
    let line = command_line(root, arguments);
    if let Some(file) = file_as_format(error) {
        let hint =
            format!("the formats are auto, plain and json; `kboot plan` and `kboot adopt` write files: `--out {file}`");
        return Some(Failure::new(format!("'{file}' is no output format")).hint_text(hint));
    }
    let hint = match unknown_command(error).filter(|_| line == root.get_name()).and_then(elsewhere::instead) {
        Some(instead) => instead.to_string(),
        None if tips.is_empty() => format!("see `{line} --help`"),
        None => tips.join("\n"),
    };
    Some(Failure::new(cause.strip_prefix("error: ").unwrap_or(&cause)).hint_text(hint))
}

fn unknown_command(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    }
}

/// A file that was given to `--output`, as other tools take it.
fn file_as_format(error: &clap::Error) -> Option<&str> {
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (Some(ContextValue::String(arg)), Some(ContextValue::String(value)))
            if arg.starts_with("--output ") && value.contains(['.', '/']) =>
        {
            Some(value)
        }
        _ => None,
    }
}

/// The command that the user typed, up to the first mistake.
fn command_line(root: &Command, arguments: impl Iterator<Item = String>) -> String {
    let mut command = root;
    let mut line = root.get_name().to_string();
    for argument in arguments.skip(1) {
        let Some(next) = command.find_subcommand(&argument) else { continue };
        command = next;
        line += " ";
        line += command.get_name();
    }
    line
}

/// All commands and their options as a Markdown page.
pub fn reference() -> String {
    let mut root = <super::Cli as clap::CommandFactory>::command();
    root.build();
    let mut page = String::from(
        "# The command line\n\nGenerated from the command line's own help: `kboot COMMAND --help` says the same.\n",
    );
    let mut global: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    global.retain(|arg| arg.get_id() != "help" && arg.get_id() != "version");
    let commands = leaves(&root);
    page += "\n| command | what it does |\n|---|---|\n";
    for (line, command) in &commands {
        let anchor = line.replace(' ', "-");
        writeln!(page, "| [`{line}`](#{anchor}) | {} |", styled(command.get_about())).expect(INFALLIBLE);
    }
    page += "\n## Global options\n\n";
    page += &options(&global);
    page += &after(&root);
    for (line, command) in &commands {
        section(&mut page, line, command);
    }
    page
}

const INFALLIBLE: &str = "writing to memory does not fail";

/// The commands that do something without a subcommand, each with its command line, in the order of the help.
fn leaves(root: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        if !command.is_subcommand_required_set() {
            found.push((command.get_bin_name().unwrap_or(command.get_name()).to_string(), command));
        }
        found.extend(leaves(command));
    }
    found
}

fn section(page: &mut String, line: &str, command: &Command) {
    let about = styled(command.get_long_about().or(command.get_about()));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    write!(page, "\n## {line}\n\n{about}\n\n    {usage}\n").expect(INFALLIBLE);
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set()).collect();
    let own: Vec<&Arg> = own.into_iter().filter(|arg| arg.get_id() != "help").collect();
    if !own.is_empty() {
        page.push('\n');
        page.push_str(&options(&own));
    }
    page.push_str(&after(command));
}

/// A table of options and arguments.
fn options(args: &[&Arg]) -> String {
    let mut table = String::from("| option | meaning |\n|---|---|\n");
    for arg in args {
        writeln!(table, "| {} | {} |", name(arg), meaning(arg).replace('|', "\\|")).expect(INFALLIBLE);
    }
    table
}

fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().filter(|_| arg.get_action().takes_values()).map(|names| names.join(" "));
    let mut parts = Vec::new();
    parts.extend(arg.get_short().map(|short| format!("-{short}")));
    parts.extend(arg.get_long().map(|long| format!("--{long}")));
    let flags = parts.join(", ");
    match (flags.is_empty(), value) {
        (false, None) => format!("`{flags}`"),
        (false, Some(value)) => format!("`{flags} {value}`"),
        (true, value) => format!("`{}`", value.unwrap_or_default()),
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = styled(arg.get_help());
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| arg.get_action().takes_values() && !arg.is_hide_possible_values_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        write!(text, ". One of {}", values.join(", ")).expect(INFALLIBLE);
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        write!(text, ". Default: `{}`", defaults.join(",")).expect(INFALLIBLE);
    }
    if let Some(variable) = arg.get_env() {
        write!(text, ". Also from the environment: `{}`", variable.to_string_lossy()).expect(INFALLIBLE);
    }
    text
}

/// Examples and similar text, indented so that Markdown does not change it.
fn after(command: &Command) -> String {
    let text = styled(command.get_after_help());
    if text.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line {
            "" => String::new(),
            // A heading in the help text.
            line if !line.starts_with(' ') => format!("{line}\n"),
            line => format!("    {}", line.trim_start()),
        })
        .collect();
    format!("\n{}\n", lines.join("\n"))
}

fn styled(text: Option<&StyledStr>) -> String {
    text.map(StyledStr::to_string).unwrap_or_default().trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;
    use crate::engine::Hint;

    fn told(arguments: &[&str]) -> Option<Failure> {
        let error = Cli::command().try_get_matches_from(arguments).expect_err("a mistake");
        failure(&error, &Cli::command(), arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn every_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_has_a_hint_of_its_own_or_leads_to_the_help_of_its_command() {
        let failure = told(&["kboot", "up", "--dryrun"]).unwrap();
        assert_eq!(failure.cause, "unexpected argument '--dryrun' found");
        assert_eq!(failure.hint, Some(Hint::text("a similar argument exists: '--dry-run'")));
        let failure = told(&["kboot", "-q", "token", "create", "--nonsense"]).unwrap();
        assert_eq!(failure.hint, Some(Hint::text("see `kboot token create --help`")));
    }

    #[test]
    fn what_other_tools_have_leads_to_what_does_it_here() {
        let hint = |line: &[&str]| match told(line).unwrap().hint.unwrap() {
            Hint::Text(text) => text,
            other => panic!("{other:?}"),
        };
        assert!(hint(&["kboot", "upgrade"]).starts_with("kboot does not upgrade a running cluster yet"));
        assert!(hint(&["kboot", "destroy", "-i", "lab.yaml"]).contains("`kboot reset`"));
        // For unknown subcommands of a command, the tip is clap's.
        assert_eq!(hint(&["kboot", "config", "check"]), "a similar subcommand exists: 'schema'");
        assert!(hint(&["kboot", "rest"]).contains("'reset'"));
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        assert_eq!(told(&["kboot", "--help"]), None);
        assert_eq!(told(&["kboot", "--version"]), None);
        assert_eq!(told(&["kboot"]), None);
    }

    #[test]
    fn all_visible_commands_have_help_with_an_example() {
        for (line, command) in leaves(&Cli::command()) {
            assert!(styled(command.get_about()).len() > 10, "{line}");
            assert!(styled(command.get_after_help()).contains("kboot "), "{line} has no example");
            for arg in command.get_arguments() {
                assert!(!styled(arg.get_help()).is_empty(), "{line}: {} has no help", arg.get_id());
            }
        }
    }
}
