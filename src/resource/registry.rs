//! What a tag means in its registry, asked by the registry's HTTP API (OCI Distribution): nothing is pulled.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;

use super::web::{cause, client};
use crate::engine::{Failure, Result, sha256};

/// An index of several platforms' images, or one image, in OCI's form and in Docker's.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                        application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// The digest of an image's tag, from the registry's mirror where `mirrors` has one for it and it answers, else from the registry.
///
/// `roots` as for [`client`].
pub async fn digest(image: &str, mirrors: &BTreeMap<String, String>, roots: Option<&str>) -> Result<String> {
    let reference = Reference::parse(image);
    let client = client(roots)?;
    let mut told = Vec::new();
    for base in reference.bases(mirrors) {
        match reference.ask(&client, &base).await {
            Ok(digest) => return Ok(digest),
            Err(why) => told.push(format!("{base}: {why}")),
        }
    }
    let registry = &reference.registry;
    Err(Failure::new(format!("no registry tells what {image} is"))
        .evidence(told)
        .hint(format!(
            "see that this host reaches {registry}, or name a mirror of it under images.mirrors in the inventory"
        ))
        .retryable())
}

#[derive(Debug, PartialEq, Eq)]
struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

impl Reference {
    /// Docker's rules: what comes first is a registry if it could be a host's name.
    fn parse(image: &str) -> Self {
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

    async fn ask(&self, client: &Client, base: &str) -> std::result::Result<String, String> {
        let mut token = None;
        let mut answer = self.request(client, Method::HEAD, base, None).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            token = Some(self.token(client, &answer).await?);
            answer = self.request(client, Method::HEAD, base, token.as_deref()).await?;
        }
        let answer = answer.error_for_status().map_err(|error| cause(&error))?;
        let named = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        if let Some(digest) = named.filter(|digest| is_digest(digest)) {
            return Ok(digest.to_string());
        }
        // The header is a courtesy; the digest is always that of the bytes.
        let answer = self.request(client, Method::GET, base, token.as_deref()).await?;
        let bytes = answer.error_for_status().map_err(|error| cause(&error))?.bytes().await;
        let bytes = bytes.map_err(|error| cause(&error))?;
        Ok(format!("sha256:{}", sha256(&bytes)))
    }

    async fn request(
        &self,
        client: &Client,
        method: Method,
        base: &str,
        token: Option<&str>,
    ) -> std::result::Result<Response, String> {
        let Self { registry, repository, tag } = self;
        // As containerd asks its mirrors: for which registry they are to answer.
        let url = format!("{base}/v2/{repository}/manifests/{tag}?ns={registry}");
        let mut request = client.request(method, url).header(ACCEPT, ACCEPTED);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.send().await.map_err(|error| cause(&error))
    }

    /// What a registry gives to everyone who asks where its answer says.
    async fn token(&self, client: &Client, refusal: &Response) -> std::result::Result<String, String> {
        let challenge =
            refusal.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (realm, service) = realm(challenge).ok_or("it wants a login, which kboot does not have")?;
        let mut url = reqwest::Url::parse(&realm).map_err(|error| format!("{realm}: {error}"))?;
        url.query_pairs_mut()
            .append_pair("service", &service)
            .append_pair("scope", &format!("repository:{}:pull", self.repository));
        let answer =
            client.get(url).send().await.and_then(Response::error_for_status).map_err(|error| cause(&error))?;
        let bytes = answer.bytes().await.map_err(|error| cause(&error))?;
        let grant: Grant =
            serde_json::from_slice(&bytes).map_err(|error| format!("its token can't be read: {error}"))?;
        grant.token.or(grant.access_token).ok_or_else(|| "it gave no token".into())
    }
}

#[derive(Deserialize)]
struct Grant {
    token: Option<String>,
    access_token: Option<String>,
}

/// Realm and service of `Bearer realm="…",service="…",scope="…"`.
fn realm(challenge: &str) -> Option<(String, String)> {
    let (scheme, rest) = challenge.split_once(' ')?;
    let value = |name: &str| {
        let (_, after) = rest.split_once(&format!("{name}=\""))?;
        after.split_once('"').map(|(value, _)| value.to_string())
    };
    scheme.eq_ignore_ascii_case("bearer").then(|| Some((value("realm")?, value("service").unwrap_or_default())))?
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

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
    fn a_challenge_names_its_realm() {
        let challenge = "Bearer realm=\"https://auth.example/token\",service=\"ghcr.io\",scope=\"x\"";
        assert_eq!(realm(challenge), Some(("https://auth.example/token".into(), "ghcr.io".into())));
        assert_eq!(realm("Basic realm=\"x\""), None);
    }

    /// A registry that wants a token, and answers everything else by `answer`.
    async fn registry(answer: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let realm = base.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 8192];
                let length = socket.read(&mut bytes).await.unwrap();
                let request = String::from_utf8_lossy(&bytes[..length]).to_ascii_lowercase();
                let reply = if request.starts_with("get /token?service=s&scope=repository%3apause%3apull") {
                    "HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"token\":\"abc\"}".to_string()
                } else if !request.contains("authorization: bearer abc") {
                    format!(
                        "HTTP/1.1 401 No\r\nwww-authenticate: Bearer realm=\"{realm}/token\",service=\"s\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    )
                } else {
                    assert!(request.contains("/v2/pause/manifests/3.10.2?ns=registry.k8s.io"), "{request}");
                    answer.to_string()
                };
                socket.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        base
    }

    async fn asked(answer: &'static str) -> std::result::Result<String, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = registry(answer).await;
        Reference::parse("registry.k8s.io/pause:3.10.2").ask(&Client::new(), &base).await
    }

    #[tokio::test]
    async fn the_digest_is_the_header_s_or_that_of_the_bytes() {
        const NAMED: &str = "HTTP/1.1 200 OK\r\ndocker-content-digest: sha256:1111111111111111111111111111111111111111111111111111111111111111\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
        assert_eq!(asked(NAMED).await.unwrap(), format!("sha256:{}", "1".repeat(64)));
        const PLAIN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        let of_braces = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(asked(PLAIN).await.unwrap(), of_braces);
    }

    #[tokio::test]
    async fn a_tag_that_is_not_there_is_told() {
        let none = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert_eq!(asked(none).await.unwrap_err(), "it answers 404 Not Found");
    }
}
