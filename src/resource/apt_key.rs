//! The public key of a package repository.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use super::{Resource, file, web};
use crate::engine::{Change, Content, Failure, FileMode, Planned, Probe, Result, now_millis};
use crate::openpgp;

/// A keyring that holds the key with this fingerprint.
pub struct AptKey {
    pub path: Utf8PathBuf,
    /// 40 hexadecimal digits; None where the user's own file is the only word on it.
    pub fingerprint: Option<String>,
    pub source: KeySource,
}

pub enum KeySource {
    /// The key itself, not armored.
    Given(Vec<u8>),
    /// Where it is downloaded from.
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
        match (&self.source, present) {
            (KeySource::Given(key), Some(bytes)) if bytes == *key => Ok(Planned::Satisfied),
            (KeySource::Given(key), before) => {
                if let Some(fingerprint) = &self.fingerprint {
                    check(key, fingerprint, "the key file of the inventory", now)?;
                }
                Ok(Planned::Changes(vec![Change::WriteFile {
                    path: self.path.clone(),
                    mode: FileMode::PUBLIC,
                    before: before.map(Content::from_bytes),
                    after: Content::from_bytes(key.clone()),
                }]))
            }
            (KeySource::Url(url), present) => {
                let Some(fingerprint) = &self.fingerprint else {
                    return Err(Failure::new(format!("the key at {url} can't be checked without its fingerprint"))
                        .hint("add `fingerprint:` beside `keyUrl:` in the inventory"));
                };
                if present.is_some_and(|bytes| check(&bytes, fingerprint, "", now).is_ok()) {
                    return Ok(Planned::Satisfied);
                }
                let (url, path, fingerprint) = (url.clone(), self.path.clone(), fingerprint.clone());
                Ok(Planned::Changes(vec![Change::FetchKey { url, path, fingerprint }]))
            }
        }
    }
}

/// The key must be there and not have expired: a wrong key and an old one are different news.
fn check(key: &[u8], fingerprint: &str, whose: &str, now: u64) -> Result<()> {
    let keys = openpgp::keys(key).map_err(|error| Failure::new(format!("{whose} is no OpenPGP key: {error}")))?;
    let Some(known) = keys.iter().find(|key| key.fingerprint.to_string().eq_ignore_ascii_case(fingerprint)) else {
        let found: Vec<String> = keys.iter().map(|key| key.fingerprint.to_string()).collect();
        return Err(Failure::new(format!("{whose} is not the one that is expected"))
            .evidence([format!("expected {fingerprint}"), format!("found {}", found.join(", "))])
            .hint(
                "someone may be in between, or the repository has a new key: compare with what its owner publishes",
            ));
    };
    match known.expires {
        Some(at) if at <= now => Err(Failure::new(format!("{whose} is the right one, but it has expired")).hint(
            "get the key anew from the repository's owner: expired keys are extended under the same fingerprint",
        )),
        _ => Ok(()),
    }
}

fn now() -> u64 {
    now_millis() / 1000
}

/// `roots` as for [`web::client`].
pub(super) async fn fetch(url: &str, path: &Utf8Path, fingerprint: &str, roots: Option<&str>) -> Result<()> {
    let bytes = download(url, roots).await.map_err(|cause| {
        Failure::new(format!("failed to download {url}: {cause}"))
            .hint("see that this host reaches it, or give the key as `keyFile:` in the inventory")
            .retryable()
    })?;
    check(&bytes, fingerprint, &format!("the key at {url}"), now())?;
    let key = openpgp::dearmor(&bytes).map_err(|error| Failure::new(format!("the key at {url}: {error}")))?;
    file::write(path, &key, FileMode::PUBLIC)
}

async fn download(url: &str, roots: Option<&str>) -> Result<Vec<u8>> {
    let told = |error: reqwest::Error| Failure::new(web::cause(&error));
    let answer =
        web::client(roots)?.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(told)?;
    Ok(answer.bytes().await.map_err(told)?.to_vec())
}
