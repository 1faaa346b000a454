//! How a component on this machine says it is, by the port that its own probes ask.

use std::time::Duration;

use kube::{Client, Config};

use super::within;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How long to wait before the next question.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// It says that it is not, or does not answer.
    Unwell,
    /// It tells nobody without credentials.
    NotTold,
}

/// Asks a health endpoint, as `https://127.0.0.1:10259/readyz`, without credentials. The certificate may be any: the answer says how the
/// component is and nothing else.
pub async fn ask(url: &str) -> Health {
    let Some((client, request)) = prepare(url) else { return Health::Unwell };
    match within(LIMIT, client.request_text(request)).await {
        Ok(_) => Health::Well,
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => Health::NotTold,
        Err(_) => Health::Unwell,
    }
}

/// Whether it is well by then. One answer decides nothing: while etcd elects a leader, or the machine is busy, a healthy API server says
/// for a moment that it is not ready.
pub async fn becomes_well(url: &str, limit: Duration) -> bool {
    let asked = async {
        loop {
            match ask(url).await {
                Health::Well => return true,
                Health::NotTold => return false,
                Health::Unwell => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::time::timeout(limit, asked).await.unwrap_or(false)
}

fn prepare(url: &str) -> Option<(Client, http::Request<Vec<u8>>)> {
    let uri: http::Uri = url.parse().ok()?;
    let path = uri.path().to_owned();
    let mut config = Config::new(uri);
    config.accept_invalid_certs = true;
    config.proxy_url = None;
    config.connect_timeout = Some(Duration::from_secs(2));
    // What a path is asked for comes with the request.
    config.cluster_url = root(&config.cluster_url)?;
    Some((Client::try_from(config).ok()?, http::Request::get(path).body(Vec::new()).ok()?))
}

fn root(uri: &http::Uri) -> Option<http::Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    http::Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A server that answers with these status lines, one after another, and gives what it was asked for.
    async fn serve(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut asked = Vec::new();
            for status in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let size = stream.read(&mut request).await.unwrap();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let text = String::from_utf8_lossy(&request[..size]).into_owned();
                asked.push(text.lines().next().unwrap_or_default().to_string());
            }
            asked
        });
        (url, served)
    }

    #[tokio::test]
    async fn only_an_answer_of_success_is_well() {
        let (url, served) = serve(&["200 OK"]).await;
        assert_eq!(ask(&url).await, Health::Well);
        assert_eq!(served.await.unwrap(), ["GET /readyz HTTP/1.1"]);
        let (url, _served) = serve(&["500 Internal Server Error", "403 Forbidden"]).await;
        assert_eq!(ask(&url).await, Health::Unwell);
        assert_eq!(ask(&url).await, Health::NotTold);
        assert_eq!(ask("http://127.0.0.1:9/readyz").await, Health::Unwell);
        assert_eq!(ask("no address").await, Health::Unwell);
    }

    #[tokio::test]
    async fn one_that_is_not_well_for_a_moment_is_asked_again() {
        let (url, served) = serve(&["500 Internal Server Error", "200 OK"]).await;
        assert!(becomes_well(&url, Duration::from_secs(5)).await);
        assert_eq!(served.await.unwrap().len(), 2);
        let (url, served) = serve(&["401 Unauthorized"]).await;
        assert!(!becomes_well(&url, Duration::from_secs(5)).await);
        assert_eq!(served.await.unwrap().len(), 1);
        assert!(!becomes_well("http://127.0.0.1:9/readyz", Duration::from_millis(10)).await);
    }
}
