//! Against etcd itself: `KBOOT_ETCD=/path/to/etcd cargo test --lib etcd::real_tests -- --ignored`.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::samples::{Authority, authority, credentials, later, signed};
use super::*;

/// One member, on loopback. It ends with the test.
struct Etcd {
    process: Child,
    client_url: String,
    peer_url: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn free_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

impl Etcd {
    /// With the peers' names and URLs, where it joins others.
    fn start(folder: &tempfile::TempDir, ca: &Authority, name: &str, urls: (String, String), peers: &[&str]) -> Self {
        let (client_url, peer_url) = urls;
        let path = |file: &str| folder.path().join(format!("{name}-{file}")).display().to_string();
        let (certificate, key) = signed(ca, "127.0.0.1", later());
        for (file, text) in [("ca.crt", ca.pem()), ("tls.crt", certificate), ("tls.key", key)] {
            fs_err::write(path(file), text).unwrap();
        }
        let own = format!("{name}={peer_url}");
        let cluster: Vec<&str> = peers.iter().copied().chain([own.as_str()]).collect();
        let process = Command::new(std::env::var("KBOOT_ETCD").expect("KBOOT_ETCD is the path of etcd"))
            .args(["--name", name, "--data-dir", &path("data")])
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--initial-cluster-state", if peers.is_empty() { "new" } else { "existing" }])
            .args(["--client-cert-auth", "--trusted-ca-file", &path("ca.crt")])
            .args(["--cert-file", &path("tls.crt"), "--key-file", &path("tls.key")])
            .args(["--peer-client-cert-auth", "--peer-trusted-ca-file", &path("ca.crt")])
            .args(["--peer-cert-file", &path("tls.crt"), "--peer-key-file", &path("tls.key")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, client_url, peer_url }
    }
}

/// Tries again what is refused for the moment.
async fn eventually<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(failure) => assert!(failure.retryable && began.elapsed() < Duration::from_secs(60), "{failure:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs an etcd, named by KBOOT_ETCD"]
async fn a_member_comes_gets_its_vote_and_goes() {
    // As the program does for reqwest.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (ca, folder) = (authority("etcd-ca"), tempfile::tempdir().unwrap());
    // At its peers' port etcd compares a certificate's names with the caller's address.
    let as_client = credentials(&ca, signed(&ca, "127.0.0.1", later()));
    let first = Etcd::start(&folder, &ca, "n1", (free_url().await, free_url().await), &[]);
    let endpoints = [first.client_url.clone()];
    let asked = || client_of(&endpoints, &as_client);
    let mut client = eventually(asked).await;
    let members = client.members().await.unwrap();
    assert_eq!((members[0].name.as_str(), members.len()), ("n1", 1));
    assert_eq!((&members[0].client_urls[0], &members[0].peer_urls[0]), (&first.client_url, &first.peer_url));
    assert!(!Client::has_keys(&first.client_url, &as_client, "/registry/").await.unwrap());

    let urls = (free_url().await, free_url().await);
    eventually(async || asked().await?.add_learner(&urls.1).await).await;
    let members = client.members().await.unwrap();
    let learner = members.iter().find(|member| member.is_at(&urls.1)).unwrap();
    assert!(learner.is_learner && !learner.has_started() && learner.id > 0, "{learner:?}");
    assert_eq!(listening(&members).await, members.iter().map(Member::has_started).collect::<Vec<_>>());
    // It has not even started.
    assert!(client.promote(learner.id).await.unwrap_err().retryable);
    let peer = format!("n1={}", first.peer_url);
    let second = Etcd::start(&folder, &ca, "n2", urls, &[&peer]);
    eventually(async || asked().await?.promote(learner.id).await).await;
    let members = eventually(async || asked().await?.members().await).await;
    assert!(members.iter().all(|member| member.has_started() && !member.is_learner), "{members:?}");
    assert_eq!(healthy(&members, &as_client).await.len(), 2);

    let condition = eventually(|| Condition::of(&second.client_url, &as_client)).await;
    assert_eq!(condition.id, learner.id);
    assert!(condition.has_leader && condition.size > 0 && condition.full.is_empty(), "{condition:?}");
    assert!(condition.version.starts_with("3."), "{condition:?}");
    assert_eq!(Survey::by(&first.peer_url, &as_client).await.unwrap().quorum(), Quorum { votes: 2, answering: 2 });

    // An alarm that is not set is cleared all the same, a member that is not there is not removed.
    client.clear_no_space(learner.id).await.unwrap();
    let unknown = client.remove(1).await.unwrap_err();
    assert!(unknown.cause.contains("member not found"), "{unknown:?}");
    let moved = free_url().await;
    eventually(async || asked().await?.move_to(learner.id, &moved).await).await;
    assert!(client.members().await.unwrap().iter().any(|member| member.is_at(&moved)));
    eventually(async || asked().await?.remove(learner.id).await).await;
    assert_eq!(client.members().await.unwrap().len(), 1);

    let other = authority("other");
    let stranger = credentials(&ca, signed(&other, "client", later()));
    let refused = Client::find(&endpoints, &stranger).await.err().unwrap();
    // By TLS 1.3 the server's alert comes after the handshake, and the connection may be closed before it is read.
    assert!(refused.evidence[0].starts_with(&format!("{}: ", first.client_url)), "{refused:?}");
    assert!(matches!(obstacle(&first.client_url, &stranger).await, Some(Obstacle::Refused(_))));
    assert_eq!(obstacle(&first.client_url, &as_client).await, None);
}

async fn client_of(endpoints: &[String], credentials: &Credentials) -> Result<Client> {
    Ok(Client::find(endpoints, credentials).await?.0)
}
