//! The shell commands that start and place the agent.
//!
//! The login shell may be any (fish and csh too), so it is given one line that calls `sh` with one argument. That has
//! neither a line break nor an exclamation mark, which csh would not leave alone. Messages of tools are in English, as their
//! texts are looked at.

/// Printed, with the architecture after it, by a host that does not have the agent.
pub const ABSENT: &str = "KBOOT-ABSENT ";
/// The last line of an upload that went well.
pub const UPLOADED: &str = "KBOOT-UPLOADED";
/// Printed, with a word after it, by an upload that failed.
pub const PROBLEM: &str = "KBOOT-PROBLEM ";

/// Becomes the agent, or says that it is not there. `options` are the agent's own.
pub fn start(folder: &str, digest: &str, sudo: bool, options: &str) -> String {
    let program = quote(&format!("{folder}/kboot-{digest}"));
    as_root(
        &format!("p={program}; test -f \"$p\" && exec \"$p\" agent{options}; echo {ABSENT}$(uname -m); exit 3"),
        sudo,
    )
}

/// Places what comes through standard input as the agent, all of it or nothing, and removes other agents if it is to stay.
pub fn upload(folder: &str, digest: &str, sudo: bool, stays: bool) -> String {
    let others = "for o in \"$d\"/kboot-*; do test \"$o\" = \"$p\" || rm -f \"$o\"; done";
    let steps = [
        "umask 077",
        "export LC_ALL=C",
        &format!("d={}", quote(folder)),
        &format!("p=\"$d/kboot-{digest}\""),
        // Reading all of the input keeps the controller from writing to a closed pipe; the rest of the output is evidence.
        &format!("problem() {{ echo {PROBLEM}$1; df -h \"$d\"; cat > /dev/null; exit 4; }}"),
        "mkdir -p \"$d\" && chmod 700 \"$d\" && t=$(mktemp \"$d/.upload.XXXXXX\") || problem folder",
        "trap 'rm -f \"$t\"' EXIT",
        "trap 'exit 5' HUP INT TERM PIPE",
        "cat > \"$t\" || problem write",
        "set -- $(sha256sum < \"$t\")",
        &format!("test \"$1\" = {digest} || problem digest"),
        "chmod 755 \"$t\"",
        "test -x \"$t\" || problem noexec",
        // A crash of the host must not leave an empty file under a name that promises the whole.
        "sync \"$t\" 2> /dev/null || sync",
        "mv -f \"$t\" \"$p\" || problem write",
        if stays { others } else { "true" },
        // What a broken connection left. Younger ones may belong to an upload that is under way.
        "find \"$d\" -name '.upload.*' -mmin +60 -delete || true",
        &format!("echo {UPLOADED}"),
    ];
    as_root(&steps.join("; "), sudo)
}

fn as_root(script: &str, sudo: bool) -> String {
    let script = quote(script);
    if sudo { format!("exec env LC_ALL=C sudo -n -- sh -c {script}") } else { format!("exec sh -c {script}") }
}

/// One word for any shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_for_any_shell() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }

    #[test]
    fn holds_nothing_that_csh_or_a_line_reader_would_touch() {
        for command in
            [start("/var/lib/kboot/agent", "00ff", true, ""), upload("/var/lib/kboot/agent", "00ff", true, true)]
        {
            assert!(!command.contains(['\n', '!']), "{command}");
        }
    }
}
