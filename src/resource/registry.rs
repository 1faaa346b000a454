//! What a tag means in its registry, asked by the registry's HTTP API (OCI Distribution): nothing is pulled.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::engine::{Result, sha256};
use crate::fetch::{Answer, Ask, Fault, Kind, Retry, Sort, Web};

/// An index of several platforms' images, or one image, in OCI's form and in Docker's.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                        application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// No manifest is larger, by OCI Distribution's own limit, nor any token.
const LARGEST: usize = 4 << 20;

/// The digest of an image's tag, from the registry's mirror where `mirrors` has one for it and it answers, else from the registry.
///
/// `roots` as for [`Web::new`].
pub async fn digest(
    image: &str,
    mirrors: &BTreeMap<String, String>,
    roots: Option<&str>,
    retry: Retry<'_>,
) -> Result<String> {
    let reference = Reference::parse(image);
    let web = Web::new(roots)?;
    let bases = reference.bases(mirrors);
    let what = format!("look up the digest of {image}");
    let (reference, web, bases) = (&reference, &web, &bases);
    let attempt = move || async move { Ok(reference.ask_any(web, bases).await) }.boxed();
    let found = retry.run(&what, Sort::Image, attempt).await;
    found.map_err(|failure| failure.context(&what))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

impl Reference {
    /// Docker's rules: what comes first is a registry if it could be a host's name.
    pub(super) fn parse(image: &str) -> Self {
        let (rest, tag) = match image.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, tag),
            _ => (image, "latest"),
        };
        let is_host = |name: &str| name.contains(['.', ':']) || name == "localhost";
        let (registry, repository) = match rest.split_once('/') {
            Some((registry, repository)) if is_host(registry) => (registry, repository.to_string()),
            Some(_) => ("docker.io", rest.to_string()),
            None => ("docker.io", format!("library/{rest}")),
        };
        Self { registry: registry.into(), repository, tag: tag.into() }
    }

    /// Where to ask, first the mirror.
    fn bases(&self, mirrors: &BTreeMap<String, String>) -> Vec<String> {
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry };
        let mirror = mirrors.get(&self.registry).map(|mirror| mirror.trim_end_matches('/').to_string());
        mirror.into_iter().chain([format!("https://{host}")]).collect()
    }

    /// Asks one after the other until one answers.
    async fn ask_any(&self, web: &Web, bases: &[String]) -> Result<String, Fault> {
        let mut faults = Vec::new();
        for base in bases {
            match self.ask(web, base).await {
                Ok(digest) => return Ok(digest),
                Err(fault) => faults.push(fault),
            }
        }
        let told: Vec<String> =
            bases.iter().zip(&faults).map(|(base, fault)| format!("{base}: {}", fault.cause())).collect();
        // One that may pass is worth another attempt; else the registry itself, which comes last, has the last word.
        let passing = faults.iter().position(|fault| !fault.is_final());
        let fault = faults.swap_remove(passing.unwrap_or(faults.len() - 1));
        Err(if told.len() > 1 { fault.evidence(told) } else { fault })
    }

    async fn ask(&self, web: &Web, base: &str) -> Result<String, Fault> {
        let Self { registry, repository, tag } = self;
        // As containerd asks its mirrors: for which registry they are to answer.
        let address = format!("{base}/v2/{repository}/manifests/{tag}?ns={registry}");
        let url = Url::parse(&address)
            .map_err(|error| Fault::new(Kind::Other(format!("{address} is no URL: {error}")), base))?;
        let mut answer = request(web, Method::HEAD, url.clone(), None).await?;
        let mut granted = None;
        if answer.status == StatusCode::UNAUTHORIZED {
            let token = self.token(web, &answer).await?;
            // Whoever wants the token, after all redirects, is asked with it.
            answer = request(web, Method::HEAD, answer.url.clone(), Some(&token)).await?;
            granted = Some((answer.url.clone(), token));
        }
        let answer = answer.success()?;
        let named = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
        if let Some(digest) = named.filter(|digest| is_digest(digest)) {
            return Ok(digest.to_string());
        }
        // The header is a courtesy; the digest is always that of the bytes.
        let (url, token) = granted.map_or((url, None), |(url, token)| (url, Some(token)));
        let answer = request(web, Method::GET, url, token.as_deref()).await?.success()?;
        if answer.is_web_page() {
            return Err(answer.fault(Kind::WebPage));
        }
        Ok(format!("sha256:{}", sha256(&answer.body)))
    }

    /// What a registry gives to everyone who asks where its answer says.
    async fn token(&self, web: &Web, refusal: &Answer) -> Result<String, Fault> {
        let challenge = refusal.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let url = self.token_url(&refusal.url, challenge).map_err(|kind| refusal.fault(kind))?;
        let answer = web.ask(Ask::get(url, LARGEST)).await?.success()?;
        let unread =
            if answer.is_web_page() { Kind::WebPage } else { Kind::Other(format!("{} gives no token", answer.host())) };
        granted(&answer.body).ok_or_else(|| answer.fault(unread))
    }

    /// Where a challenge of who answers at `registry` sends for a token.
    pub(super) fn token_url(&self, registry: &Url, challenge: &str) -> Result<Url, Kind> {
        let challenge = Challenge::parse(challenge).ok_or(Kind::Refused(401))?;
        let refused = || Kind::Redirect(format!("sends for a token to {}, which is not its own", challenge.realm));
        let realm = Url::parse(&challenge.realm).ok().filter(|realm| is_own_realm(registry, realm));
        let mut url = realm.ok_or_else(refused)?;
        let scope = challenge.scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        url.query_pairs_mut().append_pair("service", &challenge.service).append_pair("scope", &scope);
        Ok(url)
    }
}

async fn request(web: &Web, method: Method, url: Url, token: Option<&str>) -> Result<Answer, Fault> {
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
    if let Some(token) = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok()) {
        headers.insert(AUTHORIZATION, token);
    }
    web.ask(Ask { method, url, headers, limit: LARGEST }).await
}

/// Whether a registry may send there for a token: to itself or, over TLS as it is asked itself, to a host of its own domain, as
/// registry-1.docker.io does to auth.docker.io. Else an answer could have root ask any address of the host's network.
fn is_own_realm(registry: &Url, realm: &Url) -> bool {
    let (Some(registry_host), Some(realm_host)) = (registry.host_str(), realm.host_str()) else { return false };
    if registry.scheme() != realm.scheme() || !["http", "https"].contains(&realm.scheme()) {
        return false;
    }
    registry_host == realm_host
        || (realm.scheme() == "https" && domain(registry_host).is_some_and(|own| domain(realm_host) == Some(own)))
}

/// The last two labels of a name; none of an address.
fn domain(host: &str) -> Option<&str> {
    let is_name = host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    let (dot, _) = host.rmatch_indices('.').nth(1).unwrap_or((usize::MAX, ""));
    (is_name && host.contains('.')).then(|| host.get(dot.wrapping_add(1)..).unwrap_or(host))
}

/// The token in an answer.
pub(super) fn granted(body: &[u8]) -> Option<String> {
    let grant: Grant = serde_json::from_slice(body).ok()?;
    grant.token.or(grant.access_token)
}

#[derive(Deserialize)]
struct Grant {
    token: Option<String>,
    access_token: Option<String>,
}

/// `Bearer realm="…",service="…",scope="…"`: where a token is to be had (RFC 6750 and Docker's token authentication).
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: String,
    scope: Option<String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ')?;
        let value = |name: &str| {
            let (_, after) = rest.split_once(&format!("{name}=\""))?;
            after.split_once('"').map(|(value, _)| value.to_string())
        };
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        let challenge = || {
            let (realm, service) = (value("realm")?, value("service").unwrap_or_default());
            Some(Self { realm, service, scope: value("scope") })
        };
        is_bearer.then(challenge)?
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Progress;
    use crate::fetch::Policy;
    use crate::fetch::testing::{Reply, Server, ok, reply};

    #[test]
    fn references_are_read_as_docker_does() {
        let parts = |image: &str| {
            let Reference { registry, repository, tag } = Reference::parse(image);
            (registry, repository, tag)
        };
        let expect = |a: &str, b: &str, c: &str| (a.to_string(), b.to_string(), c.to_string());
        assert_eq!(parts("registry.k8s.io/coredns/coredns:v1"), expect("registry.k8s.io", "coredns/coredns", "v1"));
        assert_eq!(parts("m:5000/x"), expect("m:5000", "x", "latest"));
        assert_eq!(parts("weaveworks/weave:2"), expect("docker.io", "weaveworks/weave", "2"));
        assert_eq!(parts("busybox:1"), expect("docker.io", "library/busybox", "1"));
    }

    #[test]
    fn a_mirror_is_asked_first() {
        let mirrors = [("docker.io".to_string(), "http://m:5000/".to_string())].into();
        assert_eq!(Reference::parse("busybox").bases(&mirrors), ["http://m:5000", "https://registry-1.docker.io"]);
        assert_eq!(Reference::parse("ghcr.io/x/y:1").bases(&mirrors), ["https://ghcr.io"]);
    }

    #[test]
    fn a_challenge_names_where_a_token_is_to_be_had() {
        let challenge = "Bearer realm=\"https://auth.example/token\",service=\"ghcr.io\",scope=\"repository:x:pull\"";
        let parsed = Challenge::parse(challenge).unwrap();
        assert_eq!((parsed.realm.as_str(), parsed.service.as_str()), ("https://auth.example/token", "ghcr.io"));
        assert_eq!(parsed.scope.as_deref(), Some("repository:x:pull"));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), None);
    }

    #[test]
    fn a_token_is_only_asked_for_where_the_registry_is_at_home() {
        let is_own = |registry: &str, realm: &str| is_own_realm(&registry.parse().unwrap(), &realm.parse().unwrap());
        assert!(is_own("https://registry-1.docker.io/v2/", "https://auth.docker.io/token"));
        assert!(is_own("https://ghcr.io/v2/", "https://ghcr.io/token"));
        assert!(is_own("http://10.0.0.1:5000/v2/", "http://10.0.0.1:5001/token"));
        assert!(!is_own("https://ghcr.io/v2/", "http://ghcr.io/token"));
        assert!(!is_own("http://mirror.example.com/v2/", "http://intranet.example.com/admin"));
        assert!(!is_own("http://10.0.0.1:5000/v2/", "http://169.254.169.254/latest/meta-data"));
        assert!(!is_own("https://10.0.0.1/v2/", "https://10.1.0.1/"));
        assert!(!is_own("https://ghcr.io/v2/", "file:///etc/passwd"));
    }

    const NAMED: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn manifest() -> Reply {
        reply("200 OK", &[&format!("Docker-Content-Digest: {NAMED}")], b"")
    }

    /// What a registry of these answers says the tag is, with how many requests.
    async fn asked(answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> (Result<String>, Vec<String>) {
        let server = Server::start(answer).await;
        let mirrors = [("localhost".to_string(), server.url(""))].into();
        let progress = Progress::silent();
        let retry = Retry { policy: Policy::quick(), progress: &progress };
        let digest = digest("localhost/pause:3.10.2", &mirrors, Some(""), retry).await;
        (digest, server.requests())
    }

    /// Wants a token of everyone, and gives it.
    fn with_token(request: &str, answer: impl Fn() -> Reply) -> Reply {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        if request.starts_with("get /token?service=s&scope=repository%3apause%3apull ") {
            ok(b"{\"token\":\"abc\"}")
        } else if request.contains("authorization: bearer abc") {
            assert!(request.contains("/v2/pause/manifests/3.10.2?ns=localhost"), "{request}");
            answer()
        } else {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
            reply("401 Unauthorized", &[&challenge], b"")
        }
    }

    #[tokio::test]
    async fn the_digest_is_the_header_s_or_that_of_the_bytes() {
        let (digest, requests) = asked(|_, request| with_token(request, manifest)).await;
        assert_eq!((digest.unwrap().as_str(), requests.len()), (NAMED, 3));
        // An answer to HEAD has no body.
        let plain = |_: usize, request: &str| {
            let body: &[u8] = if request.starts_with("get") { b"{}" } else { b"" };
            with_token(request, || ok(body))
        };
        let of_braces = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(asked(plain).await.0.unwrap(), of_braces);
    }

    #[tokio::test]
    async fn each_request_of_the_way_may_stumble() {
        // Every second request is answered 503: the manifest's, the token's, the manifest's with the token.
        let (digest, requests) = asked(|number, request| match number % 2 {
            0 if number < 8 => reply("503 Service Unavailable", &["Retry-After: 0"], b""),
            _ => with_token(request, manifest),
        })
        .await;
        assert_eq!(digest.unwrap(), NAMED);
        assert!(requests.len() > 5, "{}", requests.len());
    }

    #[tokio::test]
    async fn the_registry_to_which_another_redirects_gets_a_token_of_its_own() {
        let regional = Server::start(|_, request| {
            let request = request.replace("/v2/k8s/pause/", "/v2/pause/");
            with_token(&request, manifest)
        })
        .await;
        let to = format!("Location: {}", regional.url("/v2/k8s/pause/manifests/3.10.2?ns=localhost"));
        let (digest, requests) = asked(move |_, _| reply("307 Temporary Redirect", &[&to], b"")).await;
        assert_eq!(digest.unwrap(), NAMED);
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert!(regional.requests()[2].contains("authorization: bearer abc"));
    }

    #[tokio::test]
    async fn a_tag_that_is_not_there_is_told_of_mirror_and_registry() {
        let (digest, requests) = asked(|_, _| reply("404 Not Found", &[], b"")).await;
        let failure = digest.unwrap_err();
        let [.., mirror, registry] = &failure.evidence[..] else { panic!("{failure:?}") };
        assert!(mirror.ends_with("does not have it (404 Not Found)"), "{failure:?}");
        assert!(registry.starts_with("https://localhost: "), "{failure:?}");
        assert!(!requests.is_empty());
    }

    #[tokio::test]
    async fn a_registry_that_limits_the_rate_is_named_with_what_helps() {
        let (digest, _) = asked(|_, _| reply("429 Too Many Requests", &["Retry-After: 3600"], b"")).await;
        let failure = digest.unwrap_err();
        assert!(
            failure.cause.contains("limits the rate of requests") && failure.cause.contains("3600 s"),
            "{failure:?}"
        );
        assert!(failure.hint.unwrap().to_string().contains("`images.mirrors`"));
    }

    #[tokio::test]
    async fn a_token_is_not_asked_for_elsewhere() {
        let elsewhere = Server::start(|_, _| ok(b"{\"token\":\"abc\"}")).await;
        let realm = elsewhere.url("/token").replace("127.0.0.1", "localhost");
        let (digest, _) = asked(move |_, _| {
            reply("401 Unauthorized", &[&format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"")], b"")
        })
        .await;
        let failure = digest.unwrap_err();
        assert!(failure.evidence.iter().any(|line| line.contains("which is not its own")), "{failure:?}");
        assert_eq!(elsewhere.requests(), Vec::<String>::new());
    }
}
