//! What goes wrong when something is fetched: each kind with its one cause and its one fix.

use std::time::Duration;

use crate::engine::hint::{Instead, Machine, ServerWord};
use crate::engine::{Failure, Hint};

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

    pub fn hint(&self, sort: Sort) -> Hint {
        let server = ServerWord::of(&self.host);
        let instead = match sort {
            Sort::Key => Instead::KeyFile,
            Sort::Packages => Instead::PackageMirror,
            Sort::Image => Instead::ImageMirror,
        };
        match &self.kind {
            Kind::UnknownName => Hint::FixDns { name: ServerWord::of(bare(&self.host)), instead },
            Kind::Unreachable(_) | Kind::Silent => Hint::OpenWay { server, instead },
            Kind::Cut => Hint::LetDownloadsPass { server, instead },
            Kind::Damaged => Hint::WaitForMirror { server, instead },
            Kind::Busy(..) => Hint::WaitForServer { server, instead },
            Kind::RateLimit(_) => Hint::WaitForRate { instead },
            Kind::Missing => match sort {
                Sort::Key => Hint::CheckKeyUrl,
                Sort::Packages => Hint::CheckRepository,
                Sort::Image => Hint::CheckImage,
            },
            Kind::Refused(_) => Hint::AskForAccess { server, instead },
            Kind::UnknownIssuer(Trust::Host) => Hint::TrustIssuer { machine: Machine::Host },
            Kind::UnknownIssuer(Trust::Controller) => Hint::TrustIssuer { machine: Machine::Controller },
            Kind::Expired(_) => Hint::RenewCertificate { server, instead },
            Kind::NotYetValid | Kind::Clock(..) | Kind::ListTime => Hint::SetClock,
            Kind::WrongName => Hint::CheckServerName { server },
            Kind::Tls(_) => Hint::CheckTls { server },
            Kind::WebPage => Hint::LogIn { server, instead },
            Kind::TooLarge(_) | Kind::Redirect(_) => Hint::CheckAddress { instead },
            Kind::UnknownKey(_) => Hint::AddSigningKey,
            Kind::ExpiredKey(_) => Hint::RenewSigningKey,
            Kind::BadSignature => Hint::DoNotInstall { server, instead },
            Kind::Other(_) => Hint::CheckWay { server, instead },
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
        let hint = |sort| Fault::new(Kind::RateLimit(None), "ghcr.io").hint(sort).to_string();
        assert!(hint(Sort::Image).contains("`images.mirrors`"));
        assert!(hint(Sort::Key).contains("`keyFile`"));
        assert_eq!(bare("10.0.0.1:5000"), "10.0.0.1");
    }
}
