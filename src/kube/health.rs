//! How a component on this machine says it is, by the port that its own probes ask.

use std::time::Duration;

use kube::{Client, Config};

use super::within;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a health endpoint, as `https://127.0.0.1:10259/readyz`, without credentials. The certificate may be any: the answer says how the
/// component is and nothing else. Err is why it is not well.
pub async fn ask(url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let path = uri.path().to_owned();
    let mut config = Config::new(uri);
    config.accept_invalid_certs = true;
    config.proxy_url = None;
    config.connect_timeout = Some(Duration::from_secs(2));
    // What a path is asked for comes with the request.
    config.cluster_url = root(&config.cluster_url)?;
    let client = Client::try_from(config).map_err(|error| error.to_string())?;
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    within(LIMIT, client.request_text(request)).await.map(drop).map_err(|error| error.to_string())
}

fn root(uri: &http::Uri) -> Result<http::Uri, String> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    http::Uri::from_parts(parts).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A server that answers one request with this status line, and gives what it was asked for.
    async fn serve(status: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let size = stream.read(&mut request).await.unwrap();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let text = String::from_utf8_lossy(&request[..size]).into_owned();
            text.lines().next().unwrap_or_default().to_string()
        });
        (url, served)
    }

    #[tokio::test]
    async fn only_an_answer_of_success_is_well() {
        let (url, served) = serve("200 OK").await;
        ask(&format!("{url}/readyz")).await.unwrap();
        assert_eq!(served.await.unwrap(), "GET /readyz HTTP/1.1");
        let (url, _served) = serve("500 Internal Server Error").await;
        ask(&format!("{url}/readyz")).await.unwrap_err();
        ask("http://127.0.0.1:9/readyz").await.unwrap_err();
        ask("no address").await.unwrap_err();
    }
}
