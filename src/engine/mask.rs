//! Passwords and tokens in texts that are not kboot's own: a plan or a journal that has the text around them has not them.

use std::borrow::Cow;

/// What stands for a secret.
pub const MASK: &str = "***";

/// What the last word of a secret's name ends with, in lower case.
const NAMES: [&str; 9] = ["password", "passwd", "passphrase", "pass", "secret", "token", "auth", "apikey", "api_key"];

/// The text without the values of passwords, secrets and tokens.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut shown: Vec<Cow<'_, str>> = Vec::new();
    // The indentation of a key whose value is a block of lines that follow.
    let mut block: Option<usize> = None;
    for line in text.split('\n') {
        let indentation = line.len() - line.trim_start().len();
        if let Some(outer) = block {
            if !line.trim().is_empty() && indentation > outer {
                shown.push(Cow::Owned(format!("{}{MASK}", &line[..indentation])));
                continue;
            }
            block = block.filter(|_| line.trim().is_empty());
        }
        let (line, is_block) = masked_line(line);
        if is_block {
            block = Some(indentation);
        }
        shown.push(line);
    }
    match shown.iter().all(|line| matches!(line, Cow::Borrowed(_))) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(shown.join("\n")),
    }
}

/// Whether a text has a value that [`masked`] would hide.
pub fn has_secret(text: &str) -> bool {
    matches!(masked(text), Cow::Owned(_))
}

/// A text that was made from another, without the secrets that it took over; its own are its author's matter.
pub fn masked_like(before: &str, after: &str) -> String {
    let hidden: std::collections::BTreeMap<&str, Cow<'_, str>> = before
        .split('\n')
        .zip(masked(before).split('\n').map(String::from))
        .filter(|(line, masked)| line != masked)
        .map(|(line, masked)| (line, Cow::Owned(masked)))
        .collect();
    let lines = after.split('\n').map(|line| hidden.get(line).cloned().unwrap_or(Cow::Borrowed(line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The line, and whether its value follows on lines below.
fn masked_line(line: &str) -> (Cow<'_, str>, bool) {
    let line_masked = without_user_info(line);
    let bytes = line_masked.as_bytes();
    let mut from = 0;
    while let Some(length) = bytes[from..].iter().position(|byte| is_name(*byte)) {
        let start = from + length;
        let end = bytes[start..].iter().position(|byte| !is_name(*byte)).map_or(bytes.len(), |length| start + length);
        let name = line_masked[start..end].to_ascii_lowercase();
        let last = name.trim_end_matches(['.', '-', '_']);
        from = end;
        if !NAMES.iter().any(|ending| last.ends_with(ending)) {
            continue;
        }
        let Some(value) = value_after(&line_masked, start, end) else { continue };
        let text = &line_masked[value.clone()];
        if matches!(text.trim(), "|" | "|-" | "|+" | ">" | ">-" | ">+") {
            return (line_masked, true);
        }
        if is_harmless(text) {
            continue;
        }
        let rest = masked_line(&line_masked[value.end..]).0.into_owned();
        return (Cow::Owned(format!("{}{MASK}{rest}", &line_masked[..value.start])), false);
    }
    (line_masked, false)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Where the value of the name from `start` to `end` is: after a quote of the name, and `=` or `:`. A space is enough where the name
/// begins the line and one word follows, as keepalived and haproxy have it; in a sentence it is not.
fn value_after(line: &str, start: usize, end: usize) -> Option<std::ops::Range<usize>> {
    let rest = line[end..].strip_prefix(['"', '\'']).unwrap_or(&line[end..]);
    let trimmed = rest.trim_start();
    let begins = matches!(line[..start].trim(), "" | "stats");
    let is_spaced = begins && trimmed.len() < rest.len() && trimmed.split_whitespace().count() == 1;
    let value = match trimmed.strip_prefix(['=', ':']) {
        Some(value) => value.trim_start(),
        None if is_spaced => trimmed,
        None => return None,
    };
    let start = line.len() - value.len();
    let first = value.chars().next()?;
    let length = match first {
        '"' | '\'' => value[1..].find(first).map_or(value.len(), |length| length + 2),
        _ => value.char_indices().find(|(at, _)| ends_at(value, *at)).map_or(value.len(), |(at, _)| at),
    };
    Some(start..start + value[..length].trim_end().len())
}

/// Whether a value without quotes ends before this character: a comment, another assignment, or the end of a list follows.
fn ends_at(value: &str, at: usize) -> bool {
    let (before, rest) = value.split_at(at);
    let mut rest = rest.chars();
    match rest.next() {
        Some('#') => before.ends_with([' ', '\t']),
        Some(',' | ';') => {
            let next = rest.as_str().trim_start().trim_start_matches(['"', '\'']);
            let after = next.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_name));
            let is_named = after.len() < next.len();
            is_named && after.trim_start_matches(['"', '\'']).trim_start().starts_with(['=', ':'])
        }
        Some('}' | ']') => rest.all(|c| matches!(c, '}' | ']' | ',' | ';') || c.is_whitespace()),
        Some('\r') => rest.as_str().is_empty(),
        Some(_) | None => false,
    }
}

/// Switches and what opens a list are no secrets.
fn is_harmless(value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    let is_switch = matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "none" | "~"
    );
    is_switch || matches!(value, MASK | "{" | "[")
}

/// The line without the password of a URL that has one: `http://user:password@proxy`.
fn without_user_info(line: &str) -> Cow<'_, str> {
    let Some(at) = line.find("://") else { return Cow::Borrowed(line) };
    let (head, rest) = line.split_at(at + 3);
    let end = rest.find(|c: char| c == '/' || c.is_whitespace() || c == '"' || c == '\'').unwrap_or(rest.len());
    let Some((user, password)) = rest[..end].rsplit_once('@').and_then(|(info, _)| info.split_once(':')) else {
        return match without_user_info(rest) {
            Cow::Borrowed(_) => Cow::Borrowed(line),
            Cow::Owned(rest) => Cow::Owned(format!("{head}{rest}")),
        };
    };
    match without_user_info(&rest[user.len() + 1 + password.len()..]) {
        Cow::Borrowed(_) if password == MASK => Cow::Borrowed(line),
        after => Cow::Owned(format!("{head}{user}:{MASK}{after}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_secrets_are_masked_in_every_format() {
        for (text, expected) in [
            ("password = \"hunter2\"", "password = ***"),
            ("  password = 'hunter2' # old", "  password = *** # old"),
            ("{\"auth\": \"aHVudGVyMg==\", \"x\": 1}", "{\"auth\": ***, \"x\": 1}"),
            ("stats auth admin:hunter2", "stats auth ***"),
            ("    auth_pass hunter2", "    auth_pass ***"),
            ("registryPassword: hunter2", "registryPassword: ***"),
            ("identitytoken=hunter2", "identitytoken=***"),
            (
                "//nas/x /mnt cifs username=a,password=hunter2,uid=0 0 0",
                "//nas/x /mnt cifs username=a,password=***,uid=0 0 0",
            ),
            ("token: hunter2", "token: ***"),
            ("http_proxy=http://me:hunter2@proxy:3128/", "http_proxy=http://me:***@proxy:3128/"),
            ("a=http://x/ b=http://me:hunter2@proxy", "a=http://x/ b=http://me:***@proxy"),
            ("password: |\n  hunter2\n\n  hunter2\nuser: x", "password: |\n  ***\n\n  ***\nuser: x"),
            ("password=a secret=b", "password=***"),
            ("password = a,b;c#d/e", "password = ***"),
            ("password = /a", "password = ***"),
            ("{password: a, user: b}", "{password: ***, user: b}"),
            ("a://b:***@c d://e:hunter2@f", "a://b:***@c d://e:***@f"),
            ("password: a, secret: b", "password: ***, secret: ***"),
        ] {
            assert_eq!(masked(text), expected);
            assert!(has_secret(text));
            assert_eq!(masked(expected), expected, "once is enough");
        }
    }

    #[test]
    fn what_only_sounds_like_it_is_left_alone() {
        for text in [
            "authentication:",
            "    - --authorization-mode=Node,RBAC",
            "    - --enable-bootstrap-token-auth=true",
            "    - --token-auth-file=/etc/tokens",
            "    - --service-account-key-file=/etc/kubernetes/pki/sa.pub",
            "auth_type PASS",
            "image: registry.k8s.io/pause:3.10@sha256:00",
            "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r\".auth]",
            "# the token is made by somebody else, and no secret is kept",
            "auth is done elsewhere",
            "password:",
            "secret: {",
        ] {
            assert_eq!(masked(text), text);
            assert!(!has_secret(text));
        }
    }

    #[test]
    fn an_edited_text_hides_what_it_took_over_and_no_more() {
        let before = "a\npassword=hunter2\nb";
        assert_eq!(masked_like(before, "password=hunter2\nc\npassword=own"), "password=***\nc\npassword=own");
    }

    proptest! {
        #[test]
        fn a_secret_is_nowhere_in_what_is_left(
            before in "([a-z:=\"'|@/ \n]|password|auth|://|é){0,40}",
            name in prop_oneof!["password = ", "\"auth\": ", "registryToken: ", "auth_pass ", "api_key=", "- --client-secret="],
            quote in prop_oneof!["", "\"", "'"],
            secret in "[A-Z0-9/+*{}=]{8,20}",
        ) {
            let text = format!("{before}\n{name}{quote}{secret}{quote}\n");
            let shown = masked(&text).into_owned();
            prop_assert!(!shown.contains(&secret), "{shown}");
            prop_assert_eq!(shown.lines().count(), text.lines().count());
            prop_assert!(!masked_like(&text, &text).contains(&secret));
        }
    }
}
