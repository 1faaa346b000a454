//! What a text must look like: addresses, names, labels. Each check says what is wrong and how it would be right.
//!
//! The rules are Kubernetes' own (apimachinery's validation), so that what passes here passes there. Pure functions of
//! one text; what must hold between values is in `check`.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::mistake::quote;
use super::types::Period;

/// Why a text is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Flaw {
    pub message: String,
    pub hint: Option<String>,
}

impl Flaw {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Checks a text against a `format` of the schema; formats that are not ours pass.
pub fn check(format: &str, text: &str) -> Result<(), Flaw> {
    match format {
        "cidr" => cidr(text),
        "ip" => ip(text),
        "period" => period(text),
        "sha256" => sha256(text, text),
        "digest" => sha256(text.strip_prefix("sha256:").unwrap_or_default(), text),
        _ => Ok(()),
    }
}

/// Something of a format, to stand for what is broken.
pub fn placeholder(format: &str) -> &'static str {
    match format {
        "cidr" => "0.0.0.0/0",
        "ip" => "0.0.0.0",
        "period" => "1y",
        "sha256" => "0000000000000000000000000000000000000000000000000000000000000000",
        "digest" => "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        _ => "",
    }
}

/// 64 hexadecimal digits, `digits` of `text`.
fn sha256(digits: &str, text: &str) -> Result<(), Flaw> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == 64 && digits.bytes().all(is_hex) {
        return Ok(());
    }
    Err(Flaw::new(format!("{} is no SHA-256 digest", quote(text)))
        .hint("it is 64 small hexadecimal digits, an image's with `sha256:` before them"))
}

fn cidr(text: &str) -> Result<(), Flaw> {
    if text.parse::<IpNet>().is_ok() {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a subnet", quote(text)));
    if text.contains(',') {
        return Err(Flaw::new("takes one subnet: dual stack is not supported yet"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(flaw.hint(format!("add the prefix length, as `{text}/16`")));
    }
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    if address.parse::<IpAddr>().is_ok() {
        return Err(
            Flaw::new(format!("{} is not a prefix length", quote(length))).hint("it is 0 to 32, as in `10.244.0.0/16`")
        );
    }
    Err(flaw.hint("for example `10.244.0.0/16`"))
}

fn ip(text: &str) -> Result<(), Flaw> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not an IP address", quote(text)));
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| address.parse::<IpAddr>().is_ok()) {
        return Err(flaw.hint(format!("without the prefix length: `{address}`")));
    }
    if let Some((address, port)) = text.rsplit_once(':').filter(|(address, _)| address.parse::<IpAddr>().is_ok()) {
        return Err(
            flaw.hint(format!("the SSH port is a field of its own: `address: {address}`, `ssh: {{port: {port}}}`"))
        );
    }
    let looks_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !looks_numeric && subdomain(text).is_ok() {
        return Err(flaw.hint("put the IP address here, and a name to log in by under `ssh: {address: …}`"));
    }
    Err(flaw.hint("for example `10.0.0.11`"))
}

fn period(text: &str) -> Result<(), Flaw> {
    text.parse::<Period>().map(|_| ()).map_err(|_| {
        Flaw::new(format!("{} is not a span of time", quote(text)))
            .hint("a whole number of hours, days or years: `8760h`, `365d`, `1y`")
    })
}

/// A span of time in seconds, minutes or hours, as `90s`.
pub fn seconds(text: &str) -> Result<u64, Flaw> {
    let flaw = || Flaw::new(format!("{} is not a span of time", quote(text))).hint("for example `90s`, `5m` or `1h`");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(flaw()),
    };
    let digits = &text[..text.len() - 1];
    let count: u64 = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse().map_err(|_| flaw())?,
        false => return Err(flaw()),
    };
    count.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(flaw)
}

/// A file's permissions in octal, as `0644`.
pub fn mode(text: &str) -> Result<u32, Flaw> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    mode.ok_or_else(|| {
        Flaw::new(format!("{} is not a file's mode", quote(text))).hint("three or four octal digits, as `\"0644\"`")
    })
}

/// A path of a host.
pub fn absolute(text: &str) -> Result<(), Flaw> {
    let parts = || text.split('/').skip(1);
    if !text.starts_with('/') {
        return Err(Flaw::new(format!("{} is not an absolute path", quote(text))).hint("for example `/etc/motd`"));
    }
    if text.contains('\0') || parts().any(|part| part == "..") {
        return Err(Flaw::new(format!("{} is not a plain path", quote(text))).hint("write it without `..`"));
    }
    Ok(())
}

/// A DNS label (RFC 1123), as names of clusters.
pub fn label(text: &str) -> Result<(), Flaw> {
    name(text, 63, false)
}

/// A DNS subdomain (RFC 1123), as names of nodes.
pub fn subdomain(text: &str) -> Result<(), Flaw> {
    name(text, 253, true)
}

fn name(text: &str, longest: usize, dots: bool) -> Result<(), Flaw> {
    let what = if dots { "a DNS name" } else { "a DNS label" };
    let flaw = |why: &str| Flaw::new(format!("{} is not {what}: {why}", quote(text)));
    if text.is_empty() {
        return Err(Flaw::new(format!("must not be empty: it is {what}")));
    }
    if text.len() > longest {
        return Err(flaw(&format!("it has {} characters, the most is {longest}", text.len())));
    }
    let is_name = |text: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let part = |part: &str| {
            edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(|b| edge(Some(b)) || b == b'-')
        };
        if dots { text.split('.').all(part) } else { part(text) }
    };
    if is_name(text) {
        return Ok(());
    }
    let mended: String = text.to_lowercase().chars().map(|c| if c == '_' || c == ' ' { '-' } else { c }).collect();
    let hint = is_name(&mended).then(|| format!("for example {}", quote(&mended)));
    let letters = if dots { "digits, `-` and `.`" } else { "digits and `-`" };
    let flaw = flaw(&format!("lower-case letters, {letters}, each part beginning and ending with a letter or digit"));
    Err(Flaw { hint, ..flaw })
}

/// A DNS name, a wildcard of one (`*.example.com`) or an IP address, as in a certificate.
pub fn alternative_name(text: &str) -> Result<(), Flaw> {
    if text.parse::<IpAddr>().is_ok() || subdomain(text.strip_prefix("*.").unwrap_or(text)).is_ok() {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is neither a DNS name nor an IP address", quote(text)));
    Err(flaw.hint("as `api.example.com`, `*.example.com` or `192.0.2.10`, without scheme or port"))
}

/// A label's or taint's key: `name` or `prefix/name`.
pub fn qualified_name(text: &str) -> Result<(), Flaw> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        subdomain(prefix).map_err(|flaw| Flaw { message: format!("before the slash, {}", flaw.message), ..flaw })?;
    }
    if is_label_text(name) && !name.is_empty() {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a key", quote(text)));
    Err(flaw.hint("at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit; a DNS name and `/` may come before"))
}

/// A label's or taint's value.
pub fn label_value(text: &str) -> Result<(), Flaw> {
    if is_label_text(text) {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a label's value", quote(text)));
    Err(flaw.hint("at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit"))
}

fn is_label_text(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// `host` of an endpoint: a DNS name or an IPv4 address.
pub fn host(text: &str) -> Result<(), Flaw> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(Flaw::new("IPv6 is not supported yet"));
    }
    let looks_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if looks_numeric && text.parse::<IpAddr>().is_err() {
        return Err(Flaw::new(format!("{} is not an IP address", quote(text))));
    }
    subdomain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "n1", "a-b", "0", &"a".repeat(63)] {
            assert_eq!(label(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(label(bad).is_err(), "{bad}");
        }
        assert_eq!(subdomain("a.b-c.d"), Ok(()));
        for bad in [".a", "a.", "a..b", "a.-b"] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
        assert_eq!(subdomain("My_Host").unwrap_err().hint.unwrap(), "for example `my-host`");
    }

    #[test]
    fn alternative_names() {
        for good in ["api.example.com", "*.example.com", "192.0.2.1", "2001:db8::1", "localhost"] {
            assert_eq!(alternative_name(good), Ok(()), "{good}");
        }
        for bad in ["https://a", "a:6443", "*", "*.*.a", "a b", ""] {
            assert!(alternative_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_and_values() {
        for good in ["disk", "a.b/c_D", "example.com/x", "A"] {
            assert_eq!(qualified_name(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "A.com/x", "-a", "a b", &"a".repeat(64)] {
            assert!(qualified_name(bad).is_err(), "{bad}");
        }
        assert_eq!(label_value(""), Ok(()));
        for bad in ["a b", "-a", "a/b", &"a".repeat(64)] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host("10.0.0.1"), Ok(()));
        assert_eq!(host("api.example.com"), Ok(()));
        for bad in ["10.0.0.256", "10.0.0", "fd00::1", "a_b", ""] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_modes_and_paths() {
        assert_eq!((seconds("90s"), seconds("5m"), seconds("1h")), (Ok(90), Ok(300), Ok(3600)));
        for bad in ["", "s", "90", "0s", "1.5m", "-1s", "1d", "99999999999999999999s", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!((mode("0644"), mode("755"), mode("4755")), (Ok(0o644), Ok(0o755), Ok(0o4755)));
        for bad in ["", "64", "0888", "rw-r--r--", "00644", "+644"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert_eq!(absolute("/etc/a.d/..b"), Ok(()));
        for bad in ["", "etc/motd", "~/a", "/etc/../a", "/a\0"] {
            assert!(absolute(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn placeholders_have_their_format() {
        for format in ["cidr", "ip", "period"] {
            assert_eq!(check(format, placeholder(format)), Ok(()), "{format}");
        }
    }
}
