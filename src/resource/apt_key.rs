//! The public keys of a package repository.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::FutureExt as _;
use reqwest::Url;

use super::{Resource, file};
use crate::engine::{Change, Content, Failure, FileMode, Hint, Planned, Probe, Remark, Result, now_millis};
use crate::fetch::{Ask, Fault, Kind, Retry, Sort, Web};
use crate::openpgp::{self, Fingerprint, Key};

/// No key file is larger, in bytes.
const LARGEST: usize = 1 << 20;

/// A keyring that holds the keys with these fingerprints, as far as the source has them, and nothing else.
pub struct AptKey {
    pub path: Utf8PathBuf,
    /// 40 hexadecimal digits each; empty where the user's own file is the only word on it.
    pub fingerprints: Vec<String>,
    pub source: KeySource,
}

pub enum KeySource {
    /// The keys themselves, not armored.
    Given(Vec<u8>),
    /// Where they are downloaded from.
    Url(String),
}

#[async_trait]
impl Resource for AptKey {
    /// What is there, and the time in seconds since 1970.
    type Observed = (Option<Vec<u8>>, u64);

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        Ok((probe.read(&self.path).await?, now()))
    }

    fn diff(&self, (present, now): Self::Observed) -> Result<Planned> {
        match &self.source {
            KeySource::Given(key) => {
                let wanted = self.keyring(key, now)?;
                if present.as_ref() == Some(&wanted) {
                    return Ok(Planned::Satisfied);
                }
                Ok(Planned::Changes(vec![Change::WriteFile {
                    path: self.path.clone(),
                    mode: FileMode::PUBLIC,
                    before: present.map(Content::from_bytes),
                    after: Content::from_bytes(wanted),
                }]))
            }
            KeySource::Url(url) => {
                if self.fingerprints.is_empty() {
                    return Err(Failure::new(format!("the key at {url} can't be checked without its fingerprint"))
                        .hint(Hint::AddFingerprint));
                }
                // A file that holds more keys than those that are pinned makes apt trust them all.
                if present.is_some_and(|bytes| self.keyring(&bytes, now).is_ok_and(|wanted| wanted == bytes)) {
                    return Ok(Planned::Satisfied);
                }
                let (url, path, fingerprints) = (url.clone(), self.path.clone(), self.fingerprints.clone());
                Ok(Planned::Changes(vec![Change::FetchKey { url, path, fingerprints }]))
            }
        }
    }

    /// A key from the inventory's file has been looked at with the inventory.
    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        let (KeySource::Url(url), Some(bytes)) = (&self.source, probe.read(&self.path).await?) else {
            return Ok(Vec::new());
        };
        let keys = pinned(&bytes, &self.fingerprints).unwrap_or_default();
        Ok(last_day(&keys, now()).into_iter().map(|(key, text)| {
            Remark::Warning(format!(
                "the key {} in {} {text}; owners extend a key under the same fingerprint: once that is so, remove the file, \
                 and `kboot up` downloads it again from {url}",
                key.fingerprint, self.path
            ))
        }).collect())
    }
}

impl AptKey {
    /// The keyring that is made of a key file.
    pub(super) fn keyring(&self, file: &[u8], now: u64) -> Result<Vec<u8>> {
        if self.fingerprints.is_empty() {
            return openpgp::dearmor(file)
                .map_err(|error| Failure::new(format!("the key file of the inventory: {error}")));
        }
        keyring(file, &self.fingerprints, "the key file of the inventory", now)
    }
}

/// When the last of these keys expires, if that is soon: as `expires on 2026-12-29, in 29 days`.
fn last_day(keys: &[Key], now: u64) -> Option<(Key, String)> {
    let (key, at) = openpgp::last_to_expire(keys)?;
    let left = at.checked_sub(now).filter(|left| *left <= openpgp::EXPIRY_NOTICE)?;
    Some((key, format!("expires on {}, in {} days", openpgp::day(at), left / 86400)))
}

/// The keys of a file that have one of these fingerprints.
fn pinned(file: &[u8], fingerprints: &[String]) -> std::result::Result<Vec<Key>, openpgp::Error> {
    let wanted = parsed(fingerprints);
    Ok(openpgp::keys(file)?.into_iter().filter(|key| wanted.contains(&key.fingerprint)).collect())
}

fn parsed(fingerprints: &[String]) -> Vec<Fingerprint> {
    fingerprints.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The pinned keys of a file, which must have one that has not expired: a wrong key and an old one are different news.
fn keyring(file: &[u8], fingerprints: &[String], whose: &str, now: u64) -> Result<Vec<u8>> {
    let unread = |error| Failure::new(format!("{whose} can't be used: {error}")).hint(Hint::CheckKeyFile);
    let keys = pinned(file, fingerprints).map_err(unread)?;
    if keys.is_empty() {
        let found = openpgp::fingerprints(file).map_err(unread)?;
        let found: Vec<String> = found.iter().map(Fingerprint::to_string).collect();
        return Err(Failure::new(format!("{whose} is not the one that is expected"))
            .evidence([format!("expected {}", fingerprints.join(" or ")), format!("found {}", found.join(", "))])
            .hint(Hint::CompareKey));
    }
    if keys.iter().all(|key| key.expires.is_some_and(|at| at <= now)) {
        let at = openpgp::last_to_expire(&keys).map(|(_, at)| openpgp::day(at)).unwrap_or_default();
        return Err(Failure::new(format!("{whose} is the right one, but it expired on {at}")).hint(Hint::FetchKeyAgain));
    }
    openpgp::select(file, &parsed(fingerprints)).map_err(unread)
}

fn now() -> u64 {
    now_millis() / 1000
}

/// `roots` as for [`Web::new`].
pub(super) async fn fetch(
    url: &str,
    path: &Utf8Path,
    fingerprints: &[String],
    roots: Option<&str>,
    retry: Retry<'_>,
) -> Result<()> {
    let web = Web::new(roots)?;
    let address = Url::parse(url).map_err(|error| Failure::new(format!("{url} is no URL: {error}")))?;
    let (web, address) = (&web, &address);
    let attempt = move || async move { Ok(download(web, address.clone()).await) }.boxed();
    let file = retry.run(&format!("download {url}"), Sort::Key, attempt).await?;
    file::write(path, &keyring(&file, fingerprints, &format!("the key at {url}"), now())?, FileMode::PUBLIC)
}

async fn download(web: &Web, url: Url) -> Result<Vec<u8>, Fault> {
    let answer = web.ask(Ask::get(url, LARGEST)).await?.success()?;
    if answer.is_web_page() {
        return Err(answer.fault(Kind::WebPage));
    }
    match openpgp::keys(&answer.body) {
        // An answer without a length ends wherever the connection does.
        Err(openpgp::Error::Truncated | openpgp::Error::Unfinished) => Err(answer.fault(Kind::Cut)),
        _ => Ok(answer.body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Progress;
    use crate::engine::fake::FakeHost;
    use crate::fetch::Policy;
    use crate::fetch::testing::{self, Reply, Server, ok, reply};

    /// Two keys, of which the first is lasting.gpg's.
    const BOTH: &[u8] = include_bytes!("../../tests/inventory/keys/both.gpg");
    const LASTING: &[u8] = include_bytes!("../../tests/inventory/keys/lasting.gpg");
    const EXPIRED: &[u8] = include_bytes!("../../tests/inventory/keys/expired.asc");
    const PIN: &str = "9EC232CB08C55571B233689F0C0A009681DF7306";

    fn key(source: KeySource) -> AptKey {
        AptKey { path: "/k.gpg".into(), fingerprints: vec![PIN.into()], source }
    }

    /// Fetches the key from a server that answers so, and gives what is written, and how many requests it took.
    async fn fetched(
        fingerprints: &[&str],
        answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> (Result<Vec<u8>>, usize) {
        let server = Server::start(answer).await;
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("k.gpg");
        let pins: Vec<String> = fingerprints.iter().map(|pin| (*pin).into()).collect();
        let progress = Progress::silent();
        let retry = Retry { policy: Policy::quick(), progress: &progress };
        let result = fetch(&server.url("/Release.key"), &path, &pins, Some(""), retry).await;
        (result.map(|()| std::fs::read(&path).unwrap()), server.requests().len())
    }

    #[tokio::test]
    async fn a_download_that_holds_more_keys_leaves_only_the_pinned_one() {
        assert_eq!(openpgp::keys(BOTH).unwrap().len(), 2);
        let (written, _) = fetched(&[PIN], |_, _| ok(BOTH)).await;
        let written = written.unwrap();
        assert_eq!(openpgp::fingerprints(&written).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(), [PIN]);
        assert_eq!(written, LASTING);
    }

    #[tokio::test]
    async fn several_pins_take_the_keys_that_there_are() {
        const OTHER: &str = "21FCF7AEE824DA73E6D66E3A5E4A9B08C31E2C20";
        let (written, _) = fetched(&[OTHER, PIN], |_, _| ok(LASTING)).await;
        assert_eq!(written.unwrap(), LASTING);
        let (written, _) = fetched(&[OTHER], |_, _| ok(LASTING)).await;
        assert_eq!(written.unwrap_err().evidence, [format!("expected {OTHER}"), format!("found {PIN}")]);
    }

    #[test]
    fn a_key_file_with_more_keys_is_rewritten() {
        let now = 1_780_000_000;
        let from_url = key(KeySource::Url("https://k/key".into()));
        assert_eq!(from_url.diff((Some(LASTING.to_vec()), now)).unwrap(), Planned::Satisfied);
        let Planned::Changes(changes) = from_url.diff((Some(BOTH.to_vec()), now)).unwrap() else { panic!("satisfied") };
        assert_eq!(changes[0].to_string(), format!("download /k.gpg from https://k/key (key {PIN})"));
        let given = key(KeySource::Given(BOTH.to_vec()));
        assert_eq!(given.diff((Some(LASTING.to_vec()), now)).unwrap(), Planned::Satisfied);
        let Planned::Changes(changes) = given.diff((Some(BOTH.to_vec()), now)).unwrap() else { panic!("satisfied") };
        let Change::WriteFile { after, .. } = &changes[0] else { panic!("{changes:?}") };
        assert_eq!(after.bytes().unwrap(), LASTING);
    }

    #[tokio::test]
    async fn a_server_that_stumbles_is_asked_again() {
        let (written, requests) = fetched(&[PIN], |number, _| match number {
            0 => reply("503 Service Unavailable", &["Retry-After: 0"], b""),
            1 => testing::cut(ok(LASTING)),
            // Without a length nothing but the key itself says that it is not whole.
            2 => [b"HTTP/1.1 200 OK\r\n\r\n", &LASTING[..LASTING.len() / 2]].concat(),
            _ => ok(LASTING),
        })
        .await;
        assert_eq!((written.unwrap(), requests), (LASTING.to_vec(), 4));
    }

    #[tokio::test]
    async fn what_no_attempt_mends_is_said_at_once_with_its_one_cause() {
        let failed = async |answer: fn(usize, &str) -> Reply| {
            let (result, requests) = fetched(&[PIN], answer).await;
            assert_eq!(requests, 1);
            let failure = result.unwrap_err();
            (failure.cause.split_once(' ').unwrap().1.to_string(), failure.hint.unwrap().to_string())
        };
        let (cause, hint) = failed(|_, _| ok(b"<!DOCTYPE html><title>Log in</title>")).await;
        assert_eq!(cause, "answers with a web page (HTML) instead");
        assert!(hint.contains("wants a login"), "{hint}");
        assert_eq!(failed(|_, _| reply("404 Not Found", &[], b"")).await.0, "does not have it (404 Not Found)");
        assert!(failed(|_, _| ok(EXPIRED)).await.0.ends_with(" is not the one that is expected"));
        let large = failed(|_, _| ok(&vec![b'x'; LARGEST + 1])).await.0;
        assert_eq!(large, "sends more than 1048576 bytes, which is too much for it");
        assert!(failed(|_, _| ok(b"hello")).await.0.ends_with("can't be used: it is no OpenPGP key"));
    }

    #[tokio::test]
    async fn a_key_that_expires_soon_is_warned_of() {
        let pins = vec![openpgp::fingerprints(EXPIRED).unwrap()[0].to_string()];
        let keys = pinned(EXPIRED, &pins).unwrap();
        let at = keys[0].expires.unwrap();
        assert_eq!(last_day(&keys, at - 61 * 86400), None);
        assert_eq!(last_day(&keys, at - 29 * 86400).unwrap().1, format!("expires on {}, in 29 days", openpgp::day(at)));
        // One that lasts beside it is enough.
        let both = [pinned(LASTING, &[PIN.into()]).unwrap(), keys].concat();
        assert_eq!(last_day(&both, at - 86400), None);
        let host = FakeHost::default().file("/k.gpg", LASTING);
        assert_eq!(key(KeySource::Url("https://k".into())).remarks(&host).await.unwrap(), []);
    }
}
