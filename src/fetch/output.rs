//! What apt and crictl print when they could not fetch something, as faults. Both are run in the C locale.

use reqwest::Url;

use super::fault::{Fault, Kind, Trust};
use super::web::host_of;

/// The faults in what apt-get printed, the final ones first; empty where it failed for another reason.
pub fn of_apt(printed: &str) -> Vec<Fault> {
    // `Err:` has the address where a download ended, after all redirects, and the line after it what went wrong there.
    let mut ended: Vec<(String, &str)> = printed
        .lines()
        .zip(printed.lines().skip(1))
        .filter_map(|(line, message)| Some((host(line.strip_prefix("Err:")?)?, message.trim())))
        .collect();
    let redirected: Vec<String> = ended.iter().map(|(host, _)| host.clone()).collect();
    let mut faults: Vec<Fault> = Vec::new();
    let lines = || printed.lines().filter_map(|line| line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: ")));
    for line in lines() {
        let Some(asked) = host(line) else { continue };
        let fault = match line.strip_prefix("Failed to fetch ").and_then(|rest| rest.split_once("  ")) {
            Some((_, message)) => {
                let at = ended.iter().position(|(_, said)| *said == message.trim());
                let place = at.map(|at| ended.remove(at).0);
                Some(of_fetch(message, place.as_ref().unwrap_or(&asked)))
            }
            None => of_signature(line, &asked),
        };
        if let Some(fault) = fault {
            let via = redirected.contains(&fault.host).then_some(asked.as_str());
            faults.push(fault.via(via));
        }
    }
    // What apt concludes from the above.
    if faults.is_empty() {
        for line in lines() {
            let Some(asked) = host(line).filter(|_| line.starts_with("The repository ")) else { continue };
            if line.contains("does not have a Release file") || line.contains("no longer has a Release file") {
                faults.push(Fault::new(Kind::Missing, asked));
            } else if line.contains("is not signed") {
                faults.push(Fault::new(Kind::BadSignature, asked));
            }
        }
    }
    // A stable order; the same fault of several files is told once.
    faults.sort_by_key(|fault| !fault.is_final());
    faults.dedup();
    faults
}

/// Apt's message about one file.
fn of_fetch(message: &str, asked: &str) -> Fault {
    let says = |text: &str| message.contains(text);
    let at = |kind| Fault::new(kind, asked);
    if let Some(kind) = status(message.trim_start()) {
        return at(kind);
    }
    for before in ["Could not resolve '", "Temporary failure resolving '", "Something wicked happened resolving '"] {
        if let Some(name) = between(message, before, "'") {
            return Fault::new(Kind::UnknownName, name.split(':').next().unwrap_or(name));
        }
    }
    for before in ["Could not connect to ", "Unable to connect to ", "Cannot initiate the connection to "] {
        if let Some(place) = between(message, before, " ") {
            let place = place.trim_end_matches(':');
            let host = place.strip_suffix(":443").or_else(|| place.strip_suffix(":80")).unwrap_or(place);
            let why = between(message, " - connect (", ")").and_then(|why| why.split_once(": "));
            return match why {
                Some((_, why)) => Fault::new(Kind::Unreachable(why.to_lowercase()), host),
                None => Fault::new(Kind::Silent, host),
            };
        }
    }
    if let Some(kind) = certificate(message) {
        return at(kind);
    }
    if says("NOSPLIT") || says("does the network require authentication") {
        return at(Kind::WebPage);
    }
    if says("Hash Sum mismatch") || says("unexpected size") {
        return at(Kind::Damaged);
    }
    if let Some(fault) = of_signature(message, asked) {
        return fault;
    }
    let broken = [
        "Connection timed out",
        "Connection failed",
        "Connection closed",
        "Connection reset by peer",
        "closed the connection",
        "closed connection",
        "Error reading from server",
        "Error in the pull function",
        "Read error",
        "socket timed out",
        "non-properly terminated",
        "unexpected eof",
        "Undetermined Error",
    ];
    if broken.iter().any(|text| says(text)) {
        return at(Kind::Cut);
    }
    at(Kind::Other(message.trim().into()))
}

/// Apt's message about a package list that it has and does not trust. gpgv's words up to Debian 12, sqv's after it.
fn of_signature(message: &str, asked: &str) -> Option<Fault> {
    let after = |before: &str| {
        let word = message.split_once(before)?.1.split(|c: char| !c.is_ascii_hexdigit()).next()?;
        (!word.is_empty()).then(|| word.to_uppercase())
    };
    let kind = if let Some(key) = after("NO_PUBKEY ").or_else(|| after("Missing key ")) {
        Kind::UnknownKey(key)
    } else if let Some(key) = after("EXPKEYSIG ") {
        Kind::ExpiredKey(key)
    } else if message.contains("BADSIG ") || message.contains("signatures were invalid") {
        Kind::BadSignature
    } else if message.contains("is not valid yet (") || message.contains("is expired (invalid since") {
        Kind::ListTime
    } else {
        return None;
    };
    Some(Fault::new(kind, asked))
}

/// The fault in what `crictl pull` printed of an image.
pub fn of_crictl(printed: &str, registry: &str) -> Fault {
    let says = |text: &str| printed.contains(text);
    // The last address is the one where it ended, after all redirects.
    let host = addresses(printed).last().unwrap_or_else(|| registry.to_string());
    let at = |kind| Fault::new(kind, host.clone());
    if says("dial unix") {
        return at(Kind::Other("the container runtime does not answer".into()));
    }
    if let Some(name) = between(printed, "lookup ", ": no such host")
        .or_else(|| between(printed, "lookup ", ": server misbehaving"))
        .and_then(|name| name.split_whitespace().next())
    {
        return Fault::new(Kind::UnknownName, name);
    }
    for why in ["connection refused", "no route to host", "network is unreachable"] {
        if says(why) {
            return at(Kind::Unreachable(why.into()));
        }
    }
    if let Some(kind) = certificate(printed) {
        return at(kind);
    }
    if says("toomanyrequests") || says("TOOMANYREQUESTS") {
        return at(Kind::RateLimit(None));
    }
    if let Some(kind) = printed.split(": ").find_map(status) {
        return at(kind);
    }
    if ["i/o timeout", "TLS handshake timeout", "deadline exceeded", "Client.Timeout"].iter().any(|text| says(text)) {
        return at(Kind::Silent);
    }
    if says("server gave HTTP response to HTTPS client") {
        return at(Kind::Tls("it answers without TLS".into()));
    }
    if says("insufficient_scope") || says("pull access denied") || says("authorization failed") {
        return at(Kind::Refused(401));
    }
    if says("invalid character '<'") || says("text/html") {
        return at(Kind::WebPage);
    }
    if says("unexpected EOF")
        || says("connection reset by peer")
        || says(": EOF")
        || says("short read")
        || says("stream error")
    {
        return at(Kind::Cut);
    }
    if says("failed size validation") || says("unexpected commit digest") || says("failed precondition") {
        return at(Kind::Damaged);
    }
    if says("code = NotFound") || says(": not found") {
        return at(Kind::Missing);
    }
    let last = printed.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    at(Kind::Other(last.trim().into()))
}

/// `503  Service Unavailable …`: an HTTP status with its name at the beginning.
fn status(text: &str) -> Option<Kind> {
    let (number, rest) = text.split_at_checked(3)?;
    let status: u16 = number.parse().ok().filter(|status| (400..600).contains(status))?;
    if !rest.starts_with(' ') || !rest.trim_start().starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    Some(match status {
        404 | 410 => Kind::Missing,
        429 => Kind::RateLimit(None),
        408 | 425 | 500.. => Kind::Busy(status, None),
        _ => Kind::Refused(status),
    })
}

/// The words of GnuTLS, OpenSSL and Go.
fn certificate(text: &str) -> Option<Kind> {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["is not yet valid: current time"]) || says(&["or is not yet valid"]) {
        // Go has one message for both, and says after it which.
        return Some(if says(&[" is before "]) { Kind::NotYetValid } else { Kind::Expired(None) });
    }
    if says(&["expired certificate", "certificate has expired"]) {
        return Some(Kind::Expired(None));
    }
    if says(&["not yet activated", "not yet valid"]) {
        return Some(Kind::NotYetValid);
    }
    if says(&["name in the certificate does not match", "ostname mismatch", "x509: certificate is valid for"]) {
        return Some(Kind::WrongName);
    }
    if says(&[
        "issuer is unknown",
        "unable to get local issuer",
        "self-signed certificate",
        "self signed certificate",
        "signed by unknown authority",
    ]) {
        return Some(Kind::UnknownIssuer(Trust::Host));
    }
    says(&["ertificate verif", "x509: "]).then(|| Kind::Tls("its certificate is not acceptable".into()))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// The host of the first address in a line.
fn host(line: &str) -> Option<String> {
    addresses(line).next()
}

fn addresses(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '\\'));
    words
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .filter_map(|word| Url::parse(word.trim_end_matches([':', ','])).ok())
        .map(|url| host_of(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What apt-get 2.6 prints, but for this message.
    fn fetch(message: &str) -> String {
        format!(
            "Err:1 https://pkgs.k8s.io/core:/stable:/v1.37/deb  InRelease\n  {message}\nReading package lists...\n\
             E: Failed to fetch https://pkgs.k8s.io/core:/stable:/v1.37/deb/InRelease  {message}\n\
             E: Some index files failed to download. They have been ignored, or old ones used instead.\n"
        )
    }

    #[track_caller]
    fn apt(message: &str, kind: Kind, host: &str) {
        assert_eq!(of_apt(&fetch(message)), [Fault::new(kind, host)], "{message}");
    }

    #[test]
    fn apt_s_words_are_faults() {
        const HERE: &str = "pkgs.k8s.io";
        apt("503  Service Unavailable [IP: 10.0.0.1 443]", Kind::Busy(503, None), HERE);
        apt("429  Too Many Requests [IP: 10.0.0.1 443]", Kind::RateLimit(None), HERE);
        apt("404  Not Found [IP: 10.0.0.1 443]", Kind::Missing, HERE);
        apt("403  Forbidden [IP: 10.0.0.1 443]", Kind::Refused(403), HERE);
        apt("Could not resolve 'pkgs.k8s.io'", Kind::UnknownName, HERE);
        apt("Temporary failure resolving 'cdn.example.com'", Kind::UnknownName, "cdn.example.com");
        apt(
            "Could not connect to cdn.example.com:443 (10.0.0.9). - connect (111: Connection refused) [IP: 10.0.0.9 443]",
            Kind::Unreachable("connection refused".into()),
            "cdn.example.com",
        );
        apt("Could not connect to a.b:8080 (10.0.0.9), connection timed out", Kind::Silent, "a.b:8080");
        apt("Connection timed out [IP: 10.0.0.1 443]", Kind::Cut, HERE);
        apt("Error reading from server. Remote end closed connection [IP: 10.0.0.1 443]", Kind::Cut, HERE);
        apt("Hash Sum mismatch", Kind::Damaged, HERE);
        apt("File has unexpected size (5 != 6). Mirror sync in progress? [IP: 10.0.0.1 443]", Kind::Damaged, HERE);
        apt(
            "Clearsigned file isn't valid, got 'NOSPLIT' (does the network require authentication?)",
            Kind::WebPage,
            HERE,
        );
        let gnutls = "Certificate verification failed: The certificate is NOT trusted.";
        let handshake = "Could not handshake: Error in the certificate verification. [IP: 10.0.0.1 443]";
        let verified = |why: &str, kind| apt(&format!("{gnutls} {why}  {handshake}"), kind, HERE);
        verified("The certificate issuer is unknown.", Kind::UnknownIssuer(Trust::Host));
        verified("The certificate chain uses expired certificate.", Kind::Expired(None));
        verified("The certificate chain uses not yet valid certificate.", Kind::NotYetValid);
        verified("The name in the certificate does not match the expected.", Kind::WrongName);
        apt("Something new", Kind::Other("Something new".into()), HERE);
    }

    #[test]
    fn apt_s_signatures_and_times() {
        let error = |line: &str| {
            of_apt(&format!("{line}\nE: The repository 'https://k.example.com/deb  InRelease' is not signed.\n"))
        };
        let fault = |kind| [Fault::new(kind, "k.example.com")];
        let gpg = "W: GPG error: https://k.example.com/deb  InRelease: The following signatures";
        assert_eq!(
            error(&format!(
                "{gpg} couldn't be verified because the public key is not available: NO_PUBKEY 234654DA9A296436"
            )),
            fault(Kind::UnknownKey("234654DA9A296436".into()))
        );
        assert_eq!(
            error(&format!("{gpg} were invalid: EXPKEYSIG 234654DA9A296436 isv:kubernetes OBS Project")),
            fault(Kind::ExpiredKey("234654DA9A296436".into()))
        );
        assert_eq!(error(&format!("{gpg} were invalid: BADSIG 234654DA9A296436 x")), fault(Kind::BadSignature));
        let sqv = "W: OpenPGP signature verification failed: https://k.example.com/deb  InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key DE15B14486CD377B9E876E1A234654DA9A296436, which is needed to verify signature.";
        assert_eq!(error(sqv), fault(Kind::UnknownKey("DE15B14486CD377B9E876E1A234654DA9A296436".into())));
        assert_eq!(error(""), fault(Kind::BadSignature));
        let time = "E: Release file for https://k.example.com/deb/InRelease is not valid yet (invalid for another 364d 23h 59min 1s). Updates for this repository will not be applied.";
        assert_eq!(of_apt(time), fault(Kind::ListTime));
        let none = "E: The repository 'http://k.example.com/none ./ Release' does not have a Release file.";
        assert_eq!(of_apt(none), fault(Kind::Missing));
    }

    #[test]
    fn the_host_to_which_apt_was_redirected_is_named_with_who_did_it() {
        let message = "Could not connect to cdn.example.com:443 (10.0.0.9). - connect (111: Connection refused)";
        let printed = format!(
            "Err:1 https://cdn.example.com/x ./ InRelease\n  {message}\nE: Failed to fetch https://pkgs.k8s.io/x/InRelease  {message}\n"
        );
        let fault = Fault::new(Kind::Unreachable("connection refused".into()), "cdn.example.com");
        assert_eq!(of_apt(&printed), [fault.via(Some("pkgs.k8s.io"))]);
        // Words that name no host are about the one where it ended, each file's for itself.
        let message = "404  Not Found [IP: 10.0.0.1 443]";
        let printed = format!(
            "Err:1 https://cdn.example.com/x ./ InRelease\n  {message}\nErr:2 https://k.example.com/y ./ InRelease\n  {message}\n\
             E: Failed to fetch https://pkgs.k8s.io/x/InRelease  {message}\nE: Failed to fetch https://k.example.com/y/InRelease  {message}\n"
        );
        let missing = |host| Fault::new(Kind::Missing, host);
        let redirected = missing("cdn.example.com").via(Some("pkgs.k8s.io"));
        assert_eq!(of_apt(&printed), [redirected, missing("k.example.com")]);
    }

    #[test]
    fn what_is_final_comes_first_and_what_is_no_fault_is_none() {
        let both = [fetch("503  Service Unavailable"), fetch("404  Not Found")].concat();
        let kinds: Vec<Kind> = of_apt(&both).into_iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, [Kind::Missing, Kind::Busy(503, None)]);
        assert_eq!(
            of_apt("E: Unable to locate package kubelet\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n"),
            []
        );
    }

    #[track_caller]
    fn crictl(why: &str, kind: Kind, host: &str) {
        let image = "registry.k8s.io/pause:3.10.2";
        let printed = format!(
            "time=\"2026-11-30T09:00:00Z\" level=fatal msg=\"pulling image: rpc error: code = Unknown desc = failed to pull and unpack \
             image \\\"{image}\\\": failed to resolve reference \\\"{image}\\\": {why}\"\n"
        );
        assert_eq!(of_crictl(&printed, "registry.k8s.io"), Fault::new(kind, host), "{why}");
    }

    #[test]
    fn containerd_s_words_are_faults() {
        const HERE: &str = "registry.k8s.io";
        let head = "failed to do request: Head \\\"https://eu.pkg.dev/v2/pause/manifests/3.10.2\\\": ";
        let request = |why: &str, kind, host| crictl(&format!("{head}{why}"), kind, host);
        request("dial tcp: lookup eu.pkg.dev on 10.0.0.2:53: no such host", Kind::UnknownName, "eu.pkg.dev");
        let refused = Kind::Unreachable("connection refused".into());
        request("dial tcp 10.0.0.9:443: connect: connection refused", refused, "eu.pkg.dev");
        request("dial tcp 10.0.0.9:443: i/o timeout", Kind::Silent, "eu.pkg.dev");
        let x509 = "tls: failed to verify certificate: x509: certificate";
        request(&format!("{x509} signed by unknown authority"), Kind::UnknownIssuer(Trust::Host), "eu.pkg.dev");
        let time = "has expired or is not yet valid: current time 2027-11-30T09:00:00Z is";
        request(&format!("{x509} {time} after 2027-01-01T00:00:00Z"), Kind::Expired(None), "eu.pkg.dev");
        request(&format!("{x509} {time} before 2027-12-01T00:00:00Z"), Kind::NotYetValid, "eu.pkg.dev");
        request("EOF", Kind::Cut, "eu.pkg.dev");
        let answer = "unexpected status from HEAD request to https://ghcr.io/v2/x/manifests/1: ";
        crictl(&format!("{answer}429 Too Many Requests"), Kind::RateLimit(None), "ghcr.io");
        crictl(&format!("{answer}503 Service Unavailable"), Kind::Busy(503, None), "ghcr.io");
        crictl(&format!("{answer}403 Forbidden"), Kind::Refused(403), "ghcr.io");
        crictl("registry.k8s.io/pause:3.10.2: not found", Kind::Missing, HERE);
        crictl("pull access denied, repository does not exist or may require authorization", Kind::Refused(401), HERE);
        crictl("failed to copy: httpReadSeeker: failed open: unexpected EOF", Kind::Cut, HERE);
    }

    #[test]
    fn a_runtime_that_does_not_answer_is_not_the_registry_s_fault() {
        let printed = "level=fatal msg=\"validate service connection: dial unix /run/containerd/containerd.sock: connect: connection refused\"";
        let fault = of_crictl(printed, "registry.k8s.io");
        assert_eq!(fault.kind, Kind::Other("the container runtime does not answer".into()));
    }
}
