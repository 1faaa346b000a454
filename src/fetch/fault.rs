//! What goes wrong when something is fetched: each kind with its one cause and its one fix.

use std::time::Duration;

use crate::engine::Failure;

/// Why an attempt to fetch something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// The host that the fault is at, as `cdn.example.com` or `10.0.0.1:5000`.
    pub host: String,
    /// The host that redirected there, if another one was asked.
    pub via: Option<String>,
    /// Lines that show it, where a program printed some.
    pub evidence: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    UnknownName,
    /// There is no connection, for this reason.
    Unreachable(String),
    Silent,
    /// The connection ended before the answer did.
    Cut,
    /// What came is not what was announced: a mirror in the midst of an update, or damage on the way.
    Damaged,
    /// A 408 or 5xx status, and the pause that was asked for.
    Busy(u16, Option<Duration>),
    RateLimit(Option<Duration>),
    Missing,
    /// Any other status that is no success.
    Refused(u16),
    /// No CA signed the certificate that is trusted by this machine.
    UnknownIssuer(Trust),
    /// When the certificate expired, if that is known.
    Expired(Option<String>),
    NotYetValid,
    WrongName,
    /// Any other reason why TLS does not come about.
    Tls(String),
    /// This host's clock is wrong: what it says, and what the server says.
    Clock(String, String),
    /// A signed package list is of the future or is too old; whose clock is wrong could not be found out.
    ListTime,
    /// A page for people.
    WebPage,
    /// More than this many bytes.
    TooLarge(usize),
    /// A redirect away from https, or too many of them.
    Redirect(String),
    /// A package list is signed with this key, which is not in the repository's keyring.
    UnknownKey(String),
    /// A package list is signed with this key, which has expired.
    ExpiredKey(String),
    /// A package list is not signed, or its signature is wrong.
    BadSignature,
    /// Something else, as the program that fetched says.
    Other(String),
}

/// Whose CA certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Host,
    /// Those of the machine that runs kboot, where the host has none yet.
    Controller,
}

/// What is fetched, and so what else would bring it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A repository's public key.
    Key,
    /// Package lists and packages.
    Packages,
    /// An image, or what its registry says of it.
    Image,
}

/// For how long further attempts are made: by kinds, as a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Unreachable,
    Troubled,
}

impl Fault {
    pub fn new(kind: Kind, host: impl Into<String>) -> Self {
        Self { kind, host: host.into(), via: None, evidence: Vec::new() }
    }

    /// Notes who redirected to the host of the fault.
    pub fn via(self, asked: Option<&str>) -> Self {
        let via = asked.filter(|asked| *asked != self.host).map(String::from);
        Self { via, ..self }
    }

    pub fn evidence(self, lines: impl IntoIterator<Item = String>) -> Self {
        Self { evidence: lines.into_iter().collect(), ..self }
    }

    /// Whether further attempts may help.
    pub(super) fn patience(&self) -> Patience {
        match &self.kind {
            // What is not there now is mostly not there in a minute.
            Kind::UnknownName | Kind::Unreachable(_) | Kind::Silent | Kind::Other(_) => Patience::Unreachable,
            Kind::Cut | Kind::Damaged | Kind::Busy(..) | Kind::RateLimit(_) => Patience::Troubled,
            Kind::Missing
            | Kind::Refused(_)
            | Kind::UnknownIssuer(_)
            | Kind::Expired(_)
            | Kind::NotYetValid
            | Kind::WrongName
            | Kind::Tls(_)
            | Kind::Clock(..)
            | Kind::ListTime
            | Kind::WebPage
            | Kind::TooLarge(_)
            | Kind::Redirect(_)
            | Kind::UnknownKey(_)
            | Kind::ExpiredKey(_)
            | Kind::BadSignature => Patience::None,
        }
    }

    pub fn is_final(&self) -> bool {
        self.patience() == Patience::None
    }

    /// The pause that the server asked for (Retry-After).
    pub fn asked_pause(&self) -> Option<Duration> {
        if let Kind::Busy(_, pause) | Kind::RateLimit(pause) = &self.kind { *pause } else { None }
    }

    /// As a lower-case fragment that reads well after "failed to …: ".
    pub fn cause(&self) -> String {
        let host = match &self.via {
            Some(via) => format!("{}, to which {via} redirects,", self.host),
            None => self.host.clone(),
        };
        match &self.kind {
            Kind::UnknownName => format!("the name {host} does not resolve on this host"),
            Kind::Unreachable(why) => format!("{host} is not reachable: {why}"),
            Kind::Silent => format!("{host} does not answer in time"),
            Kind::Cut => format!("the connection to {host} breaks off before the download is complete"),
            Kind::Damaged => format!("what {host} sends is not what its index announces"),
            Kind::Busy(status, _) => format!("{host} answers {}", named(*status)),
            Kind::RateLimit(None) => format!("{host} limits the rate of requests from this address (429)"),
            Kind::RateLimit(Some(pause)) => format!(
                "{host} limits the rate of requests from this address (429) and asks for a pause of {} s",
                pause.as_secs()
            ),
            Kind::Missing => format!("{host} does not have it (404 Not Found)"),
            Kind::Refused(status) => format!("{host} refuses it ({})", named(*status)),
            Kind::UnknownIssuer(Trust::Host) => {
                format!("the certificate of {host} is signed by a CA that this host does not trust")
            }
            Kind::UnknownIssuer(Trust::Controller) => {
                format!("the certificate of {host} is signed by a CA that the machine which runs kboot does not trust")
            }
            Kind::Expired(Some(at)) => format!("the certificate of {host} expired on {at}"),
            Kind::Expired(None) => format!("the certificate of {host} has expired"),
            Kind::NotYetValid => format!("the certificate of {host} is not valid yet by this host's clock"),
            Kind::WrongName => format!("the certificate of {host} is for another name"),
            Kind::Tls(why) => format!("there is no TLS with {host}: {why}"),
            Kind::Clock(here, there) => {
                format!("this host's clock is wrong: it says {here}, and {} says {there}", self.host)
            }
            Kind::ListTime => format!("the package list of {host} is not valid at the time of this host's clock"),
            Kind::WebPage => format!("{host} answers with a web page (HTML) instead"),
            Kind::TooLarge(limit) => format!("{host} sends more than {limit} bytes, which is too much for it"),
            Kind::Redirect(why) => format!("{host} {why}"),
            Kind::UnknownKey(key) => {
                format!("{host} signs with the key {key}, which is not in the repository's keyring")
            }
            Kind::ExpiredKey(key) => format!("{host} signs with the key {key}, which has expired"),
            Kind::BadSignature => format!("the package list of {host} is not signed, or its signature is wrong"),
            Kind::Other(why) => why.clone(),
        }
    }

    pub fn hint(&self, sort: Sort) -> String {
        let host = &self.host;
        let otherwise = match sort {
            Sort::Key => "give the key as `keyFile` in the inventory",
            Sort::Packages => "name a mirror of the repository in `packages` in the inventory",
            Sort::Image => "name a mirror of the registry in `images.mirrors` in the inventory",
        };
        match &self.kind {
            Kind::UnknownName => {
                format!("mend the host's DNS (`getent hosts {}` shows it), or {otherwise}", bare(host))
            }
            Kind::Unreachable(_) | Kind::Silent => {
                format!("let this host reach {host} (a route, a firewall, a proxy), or {otherwise}")
            }
            Kind::Cut => {
                format!("a proxy or firewall on the way to {host} ends long downloads: let them pass, or {otherwise}")
            }
            Kind::Damaged => {
                format!(
                    "wait until {host} has the same state everywhere, then run the same command again, or {otherwise}"
                )
            }
            Kind::Busy(..) => format!("run the same command again when {host} is well, or {otherwise}"),
            Kind::RateLimit(_) => format!("run the same command again later, or {otherwise}"),
            Kind::Missing => match sort {
                Sort::Key => "check `keyUrl` in the inventory".into(),
                Sort::Packages => "check `url`, `suite` and `components` in `packages` in the inventory".into(),
                Sort::Image => "check the image's name and tag, and `images.repository` in the inventory".into(),
            },
            Kind::Refused(_) => {
                format!("find out what {host} wants of this host (a login, an address that it allows), or {otherwise}")
            }
            Kind::UnknownIssuer(trust) => {
                let place = match trust {
                    Trust::Host => "on this host",
                    Trust::Controller => "on the machine that runs kboot",
                };
                format!(
                    "if you trust that CA, put its certificate into /usr/local/share/ca-certificates/NAME.crt {place} and run \
                     `update-ca-certificates`"
                )
            }
            Kind::Expired(_) => format!("the owner of {host} has to renew it; until then {otherwise}"),
            Kind::NotYetValid | Kind::Clock(..) | Kind::ListTime => {
                "set the host's clock: `timedatectl set-ntp true`, or `date -s 'YYYY-MM-DD HH:MM'`".into()
            }
            Kind::WrongName => format!("check the name in the address, and what answers for {host} on this network"),
            Kind::Tls(_) => format!("check the address: whether {host} speaks TLS there, and what is on the way to it"),
            Kind::WebPage => format!(
                "something between this host and {host} wants a login, or the address is wrong: open it in a browser on this \
                 network, or {otherwise}"
            ),
            Kind::TooLarge(_) | Kind::Redirect(_) => format!("check the address, or {otherwise}"),
            Kind::UnknownKey(_) => {
                "if the repository's owner has published that key, add its fingerprint to `fingerprint` in the \
                 inventory (it takes a list), remove the repository's file in /etc/apt/keyrings on the host, and run \
                 the same command again"
                    .into()
            }
            Kind::ExpiredKey(_) => "owners extend a key under the same fingerprint: remove the repository's file in \
                 /etc/apt/keyrings on the host, and run the same command again"
                .into(),
            Kind::BadSignature => {
                format!("do not install from it: find out what answers for {host} on this network, or {otherwise}")
            }
            Kind::Other(_) => format!("see that this host reaches {host}, or {otherwise}"),
        }
    }

    pub fn failure(&self, sort: Sort) -> Failure {
        let failure = Failure::new(self.cause()).hint(self.hint(sort)).evidence(&self.evidence);
        if self.is_final() { failure } else { failure.retryable() }
    }
}

/// A status with its name.
fn named(status: u16) -> String {
    http::StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |status| status.to_string())
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_that_fails_is_named_and_who_redirected_to_it() {
        let fault = Fault::new(Kind::Unreachable("connection refused".into()), "cdn.example.com");
        let redirected = fault.clone().via(Some("pkgs.k8s.io"));
        assert_eq!(
            redirected.cause(),
            "cdn.example.com, to which pkgs.k8s.io redirects, is not reachable: connection refused"
        );
        assert_eq!(fault.clone().via(Some("cdn.example.com")), fault);
    }

    #[test]
    fn what_no_attempt_can_mend_is_final() {
        let is_final = |kind: Kind| Fault::new(kind, "h").is_final();
        for kind in
            [Kind::Missing, Kind::BadSignature, Kind::UnknownIssuer(Trust::Host), Kind::WebPage, Kind::Refused(403)]
        {
            assert!(is_final(kind.clone()), "{kind:?}");
        }
        for kind in [Kind::Cut, Kind::Busy(503, None), Kind::RateLimit(None), Kind::UnknownName, Kind::Damaged] {
            assert!(!is_final(kind.clone()), "{kind:?}");
        }
    }

    #[test]
    fn a_fix_is_for_what_was_fetched() {
        let hint = |sort| Fault::new(Kind::RateLimit(None), "ghcr.io").hint(sort);
        assert!(hint(Sort::Image).contains("`images.mirrors`"));
        assert!(hint(Sort::Key).contains("`keyFile`"));
        assert_eq!(bare("10.0.0.1:5000"), "10.0.0.1");
    }
}
