//! HTTP from a host, with limits: of time, of size, of redirects. What goes wrong is a [`Fault`].

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url, redirect};
use rustls::CertificateError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::fault::{Fault, Kind, Trust};
use crate::engine::{Failure, Result};

const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte.
const SILENCE: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(120);
/// As curl and browsers, roughly.
const REDIRECTS: usize = 10;

/// An HTTP client.
pub struct Web {
    client: Client,
    trust: Trust,
}

/// A request.
pub struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// How many bytes the answer may have.
    pub limit: usize,
}

impl Ask {
    pub fn get(url: Url, limit: usize) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), limit }
    }
}

/// An answer of any status but a redirect.
#[derive(Debug)]
pub struct Answer {
    /// Who answered, after all redirects.
    pub url: Url,
    /// The host that was asked, where another one answered.
    pub via: Option<String>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Web {
    /// A client that trusts the host's CA certificates, or these (PEM) where a host has none yet.
    pub fn new(roots: Option<&str>) -> Result<Self> {
        let failed =
            |error: reqwest::Error| Failure::new(format!("failed to make an HTTP client: {}", deepest(&error)));
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(WHOLE)
            // Followed here: the error has to name who was asked last, and no token may follow to another host.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("kboot/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(crate::names::Resolver::shared());
        if let Some(roots) = roots {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(roots.as_bytes()).map_err(failed)?);
        }
        let trust = if roots.is_some() { Trust::Controller } else { Trust::Host };
        Ok(Self { client: builder.build().map_err(failed)?, trust })
    }

    /// Asks, and follows redirects. One try: repeating is [`super::Retry`]'s.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Fault> {
        let Ask { method, mut url, mut headers, limit } = ask;
        let asked = host_of(&url);
        for _ in 0..REDIRECTS {
            let sent = self.client.request(method.clone(), url.clone()).headers(headers.clone()).send().await;
            let response = match sent {
                Ok(response) => response,
                Err(error) => return Err(self.fault(&url, &error).await.via(Some(&asked))),
            };
            let Some(next) = redirect(&response, &url).map_err(|fault| fault.via(Some(&asked)))? else {
                let (status, headers) = (response.status(), response.headers().clone());
                let read = read(response, limit).await;
                let body = match read {
                    Ok(body) => body.ok_or_else(|| Fault::new(Kind::TooLarge(limit), host_of(&url)))?,
                    Err(error) => return Err(self.fault(&url, &error).await.via(Some(&asked))),
                };
                let via = Some(asked).filter(|asked| *asked != host_of(&url));
                return Ok(Answer { url, via, status, headers, body });
            };
            if host_of(&next) != host_of(&url) {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(Fault::new(Kind::Redirect("redirects without end".into()), host_of(&url)).via(Some(&asked)))
    }

    /// What an error of the client's is.
    async fn fault(&self, url: &Url, error: &reqwest::Error) -> Fault {
        by_the_clock(Fault::new(kind_of(error, self.trust), host_of(url))).await
    }
}

impl Answer {
    pub fn host(&self) -> String {
        host_of(&self.url)
    }

    /// The fault that its status is, if it is no success.
    pub fn success(self) -> Result<Self, Fault> {
        if self.status.is_success() {
            return Ok(self);
        }
        let pause = self.headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now()));
        Err(self.fault(match self.status.as_u16() {
            404 | 410 => Kind::Missing,
            429 => Kind::RateLimit(pause),
            status @ (408 | 425 | 500..) => Kind::Busy(status, pause),
            status => Kind::Refused(status),
        }))
    }

    pub fn fault(&self, kind: Kind) -> Fault {
        Fault::new(kind, self.host()).via(self.via.as_deref())
    }

    /// Whether it is a page for people: a login page, or a proxy's or file server's error page.
    pub fn is_web_page(&self) -> bool {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(512)]).trim_start().to_ascii_lowercase();
        start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head")
    }
}

/// Where an answer leads, if it is a redirect.
fn redirect(response: &Response, url: &Url) -> Result<Option<Url>, Fault> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let next = location.to_str().ok().and_then(|location| url.join(location).ok());
    let refused = |why: &str| Fault::new(Kind::Redirect(why.into()), host_of(url));
    match next {
        Some(next) if next.scheme() == "https" || (next.scheme() == "http" && url.scheme() == "http") => Ok(Some(next)),
        Some(_) => Err(refused("redirects away from https")),
        None => Err(refused("redirects to something that is no URL")),
    }
}

/// The body; None if it has more bytes than that.
async fn read(mut response: Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Host and port, the latter where it is not the scheme's own.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}"))
}

fn kind_of(error: &reqwest::Error, trust: Trust) -> Kind {
    if let Some(error) = find::<rustls::Error>(error) {
        return match error {
            rustls::Error::InvalidCertificate(error) => certificate_kind(error, trust),
            other => Kind::Tls(other.to_string()),
        };
    }
    if error.is_timeout() {
        return Kind::Silent;
    }
    if error.is_dns() {
        return Kind::UnknownName;
    }
    let kind = find::<io::Error>(error).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => Kind::Cut,
        Some(io::ErrorKind::TimedOut) => Kind::Silent,
        _ if error.is_connect() => Kind::Unreachable(without_number(&deepest(error))),
        _ if error.is_builder() => Kind::Other(deepest(error)),
        _ => Kind::Cut,
    }
}

fn certificate_kind(error: &CertificateError, trust: Trust) -> Kind {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Kind::UnknownIssuer(trust),
        CertificateError::ExpiredContext { not_after, .. } => Kind::Expired(date(not_after.as_secs())),
        CertificateError::Expired => Kind::Expired(None),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Kind::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Kind::WrongName,
        other => Kind::Tls(other.to_string()),
    }
}

/// The first error of this type in the chain. TLS errors come wrapped into I/O errors, which do not name them as their source.
fn find<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut source = error.source();
    while let Some(mut cause) = source {
        loop {
            if let Some(found) = cause.downcast_ref::<E>() {
                // An I/O error may be no more than the wrap of another one.
                let wraps = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
                if !wraps.is_some_and(|inner| inner.is::<io::Error>()) {
                    return Some(found);
                }
            }
            match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => cause = inner,
                None => break,
            }
        }
        source = cause.source();
    }
    None
}

/// An error's deepest reason: reqwest keeps the interesting part below.
fn deepest(error: &reqwest::Error) -> String {
    let mut deepest = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        deepest = inner.to_string();
        source = inner.source();
    }
    deepest
}

/// `Connection refused (os error 111)` as people say it.
fn without_number(text: &str) -> String {
    text.split(" (os error").next().unwrap_or(text).to_lowercase()
}

/// `Retry-After`: seconds, or a time.
fn retry_after(value: &str, now: OffsetDateTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (http_time(value)? - now).try_into().ok().or(Some(Duration::ZERO)),
    }
}

fn http_time(value: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.trim(), &Rfc2822).ok()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A day, as `2026-12-29`.
fn date(seconds: u64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    Some(at.date().to_string())
}

/// How far clocks may be apart before they are to blame.
const APART: time::Duration = time::Duration::DAY;

/// The same fault; or, where something is not valid at this host's time, the clock's, if the server has another day.
pub async fn by_the_clock(fault: Fault) -> Fault {
    let is_of_time = matches!(fault.kind, Kind::ListTime | Kind::Expired(_) | Kind::NotYetValid);
    let clock = if is_of_time { clock_fault(&fault.host).await } else { None };
    match clock {
        Some(clock) => clock.evidence(fault.evidence),
        None => fault,
    }
}

/// The server's word is only taken to find out what to report, so its certificate, which the clock may make invalid, is not
/// checked.
async fn clock_fault(server: &str) -> Option<Fault> {
    let client = Client::builder()
        .timeout(CONNECT)
        .redirect(redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .dns_resolver(crate::names::Resolver::shared())
        .build()
        .ok()?;
    let response = match client.head(format!("https://{server}/")).send().await {
        Ok(response) => response,
        Err(_) => client.head(format!("http://{server}/")).send().await.ok()?,
    };
    let there = http_time(response.headers().get(DATE)?.to_str().ok()?)?;
    let here = now();
    if (there - here).abs() < APART {
        return None;
    }
    Some(Fault::new(Kind::Clock(here.date().to_string(), there.date().to_string()), server))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, certificate, cut, ok, provide, reply};
    use super::*;

    const LIMIT: usize = 1000;

    async fn get(url: &str, roots: Option<&str>) -> Result<Answer, Fault> {
        provide();
        let ask = Ask::get(Url::parse(url).unwrap(), LIMIT);
        // Without any CA of the machine's own: a build root may have none.
        Web::new(Some(roots.unwrap_or_default())).unwrap().ask(ask).await.and_then(Answer::success)
    }

    async fn fault(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Kind {
        let server = Server::start(answer).await;
        let fault = get(&server.url("/"), None).await.unwrap_err();
        assert_eq!((fault.host, fault.via), (server.address.to_string(), None));
        fault.kind
    }

    #[tokio::test]
    async fn statuses_are_what_they_mean() {
        let limited = |_: usize, _: &str| reply("429 Too Many Requests", &["Retry-After: 7"], b"slow down");
        assert_eq!(fault(limited).await, Kind::RateLimit(Some(Duration::from_secs(7))));
        assert_eq!(fault(|_, _| reply("503 No", &[], b"")).await, Kind::Busy(503, None));
        assert_eq!(fault(|_, _| reply("404 No", &[], b"")).await, Kind::Missing);
        assert_eq!(fault(|_, _| reply("403 No", &[], b"")).await, Kind::Refused(403));
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_or_never_comes_or_has_no_end_is_known() {
        assert_eq!(fault(|_, _| cut(ok(b"0123456789"))).await, Kind::Cut);
        assert_eq!(fault(|_, _| Vec::new()).await, Kind::Cut);
        assert_eq!(fault(|_, _| ok(&[b'x'; LIMIT + 1])).await, Kind::TooLarge(LIMIT));
    }

    #[tokio::test]
    async fn the_host_of_a_redirect_is_the_one_to_blame() {
        let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let to = format!("Location: http://{dead}/x");
        let server = Server::start(move |_, _| reply("302 Found", &[&to], b"")).await;
        let fault = get(&server.url("/"), None).await.unwrap_err();
        let expected = Fault::new(Kind::Unreachable("connection refused".into()), dead.to_string());
        assert_eq!(fault, expected.via(Some(&server.address.to_string())));
    }

    #[tokio::test]
    async fn a_redirect_is_followed_without_the_token_and_not_for_ever() {
        let other = Server::start(|_, _| ok(b"there")).await;
        let to = format!("Location: {}", other.url("/x"));
        let server = Server::start(move |_, _| reply("307 Temporary Redirect", &[&to], b"")).await;
        provide();
        let mut ask = Ask::get(Url::parse(&server.url("/")).unwrap(), LIMIT);
        ask.headers.insert(AUTHORIZATION, "Bearer secret".parse().unwrap());
        let answer = Web::new(Some("")).unwrap().ask(ask).await.unwrap();
        assert_eq!((answer.body.as_slice(), answer.host()), (&b"there"[..], other.address.to_string()));
        assert!(server.requests()[0].contains("secret") && !other.requests()[0].contains("secret"));
        let round = |_: usize, _: &str| reply("302 Found", &["Location: /again"], b"");
        assert_eq!(fault(round).await, Kind::Redirect("redirects without end".into()));
    }

    #[tokio::test]
    async fn a_redirect_does_not_lead_away_from_https() {
        let (tls, pem) = certificate(2020, 2100);
        let server = Server::start_tls(tls, |_, _| reply("302 Found", &["Location: http://127.0.0.1:1/"], b"")).await;
        let url = format!("https://localhost:{}/", server.address.port());
        let kind = get(&url, Some(&pem)).await.unwrap_err().kind;
        assert_eq!(kind, Kind::Redirect("redirects away from https".into()));
    }

    #[tokio::test]
    async fn certificates_are_told_apart() {
        let kind = async |from, to, date: &'static str, is_trusted: bool| {
            let (tls, pem) = certificate(from, to);
            let dated = move |_: usize, _: &str| reply("200 OK", &[&format!("Date: {date}")], b"");
            let server = Server::start_tls(tls, dated).await;
            let url = format!("https://localhost:{}/", server.address.port());
            get(&url, is_trusted.then_some(pem.as_str())).await.map(drop).map_err(|fault| fault.kind)
        };
        let today = now().format(&Rfc2822).unwrap();
        let today: &'static str = Box::leak(today.into_boxed_str());
        assert_eq!(kind(2020, 2100, today, true).await, Ok(()));
        assert_eq!(kind(2020, 2100, today, false).await, Err(Kind::UnknownIssuer(Trust::Controller)));
        assert_eq!(kind(2020, 2021, today, true).await, Err(Kind::Expired(Some("2021-01-01".into()))));
        // The server's own day is one at which its certificate is valid: then it is the clock here that is wrong.
        let there = "Wed, 01 Jul 2020 12:00:00 GMT";
        let here = now().date().to_string();
        assert_eq!(kind(2020, 2021, there, true).await, Err(Kind::Clock(here, "2020-07-01".into())));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told() {
        let fault = get("http://no-such-name.invalid/", None).await.unwrap_err();
        assert_eq!(fault, Fault::new(Kind::UnknownName, "no-such-name.invalid"));
    }

    #[test]
    fn pauses_are_seconds_or_a_time() {
        let now = http_time("Mon, 30 Nov 2026 09:00:00 GMT").unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Mon, 30 Nov 2026 09:01:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Mon, 30 Nov 2026 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
