//! An HTTP server on loopback that answers by a script, and what is needed to fail against it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Bytes to answer a request with, then the connection ends.
pub type Reply = Vec<u8>;

/// A server that answers the n-th request (from 0) by a function of it.
pub struct Server {
    pub address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn start(answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, answer).await
    }

    /// The same, behind TLS.
    pub async fn start_tls(
        tls: Arc<rustls::ServerConfig>,
        answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(tls), answer).await
    }

    async fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        provide();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (known, answer) = (requests.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (known, answer) = (known.clone(), answer.clone());
                let tls = tls.clone().map(tokio_rustls::TlsAcceptor::from);
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, &known, answer.as_ref()).await,
                        // A client that trusts nobody here ends the handshake.
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, &known, answer.as_ref()).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of the requests so far, in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    requests: &Mutex<Vec<String>>,
    answer: &(dyn Fn(usize, &str) -> Reply + Send + Sync),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let number = {
        let mut requests = requests.lock().unwrap();
        requests.push(head.clone());
        requests.len() - 1
    };
    let _ = socket.write_all(&answer(number, &head)).await;
    let _ = socket.shutdown().await;
}

/// `status` as in `503 Service Unavailable`, `headers` as `Retry-After: 1` each.
pub fn reply(status: &str, headers: &[&str], body: &[u8]) -> Reply {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Half of a reply's body.
pub fn cut(reply: Reply) -> Reply {
    let head = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let half = head + (reply.len() - head) / 2;
    reply[..half].to_vec()
}

pub fn ok(body: &[u8]) -> Reply {
    reply("200 OK", &[], body)
}

/// A certificate for localhost that signs itself, valid for these years: its server's side, and its PEM.
pub fn certificate(from: i32, to: i32) -> (Arc<rustls::ServerConfig>, String) {
    provide();
    let mut params = rcgen::CertificateParams::new(["localhost".to_string()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (Arc::new(config), certificate.pem())
}

/// rustls' cryptography, which a program chooses as it starts.
pub fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
