//! For tests: certificates, and a server that speaks gRPC as etcd does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use prost::bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Credentials;

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key.
pub fn signed(by: &Authority, name: &str, expires: OffsetDateTime) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
    params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(7200);
    params.not_after = expires;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

pub fn later() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::from_secs(3600)
}

pub fn credentials(authority: &Authority, (certificate, key): (String, String)) -> Credentials {
    Credentials { authority: authority.pem().into_bytes(), certificate: certificate.into_bytes(), key: key.into_bytes() }
}

/// TLS for HTTP/2, for clients that this authority has signed.
pub fn acceptor(clients: &Authority, (certificate, key): (String, String)) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// The bytes of a message, or the text of a refusal.
type Answer = Result<Vec<u8>, &'static str>;
/// A method and the bytes of its message.
type Called = (String, Vec<u8>);

/// Gives its answers in their order; without a further one it hangs up.
pub struct Stub {
    pub url: String,
    calls: Arc<Mutex<Vec<Called>>>,
}

impl Stub {
    pub async fn start(ca: &Authority, answers: Vec<Answer>) -> Self {
        let acceptor = acceptor(ca, signed(ca, "127.0.0.1", later()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let noted = calls.clone();
        tokio::spawn(async move {
            let mut answers = VecDeque::from(answers);
            while let Ok((stream, _)) = listener.accept().await {
                // A client that has gone, or that is not let in, is the test's own.
                let _ = serve(&acceptor, stream, &noted, &mut answers).await;
            }
        });
        Self { url, calls }
    }

    pub fn calls(&self) -> Vec<Called> {
        self.calls.lock().unwrap().clone()
    }
}

type Served = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    calls: &Mutex<Vec<Called>>,
    answers: &mut VecDeque<Answer>,
) -> Served {
    let mut connection = h2::server::handshake(acceptor.accept(stream).await?).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let method = request.uri().path().to_owned();
        assert_eq!(request.headers()["content-type"], "application/grpc");
        // The connection makes progress only while it is polled.
        let message = tokio::spawn(read(request));
        let message = tokio::select! {
            message = message => message??,
            // A client here makes one call at a time: it has gone.
            _ = connection.accept() => return Ok(()),
        };
        calls.lock().unwrap().push((method, message));
        match answers.pop_front() {
            Some(answer) => reply(respond, answer)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// A gRPC frame: a byte for "not compressed", the length in four bytes, the message.
async fn read(request: Request<RecvStream>) -> Result<Vec<u8>, h2::Error> {
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    let (head, message) = bytes.split_at(5);
    assert_eq!(head, [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice()].concat());
    Ok(message.to_vec())
}

fn reply(mut respond: SendResponse<Bytes>, answer: Answer) -> Served {
    let head = Response::builder().header("content-type", "application/grpc");
    match answer {
        Ok(message) => {
            let mut stream = respond.send_response(head.body(())?, false)?;
            let frame = [&[0], u32::try_from(message.len())?.to_be_bytes().as_slice(), &message].concat();
            stream.send_data(frame.into(), false)?;
            stream.send_trailers([("grpc-status".parse()?, "0".parse()?)].into_iter().collect())?;
        }
        // 9: failed precondition, as etcd says it of most of what it refuses.
        Err(text) => {
            let head = head.header("grpc-status", "9").header("grpc-message", text);
            respond.send_response(head.body(())?, true)?;
        }
    }
    Ok(())
}
