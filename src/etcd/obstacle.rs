//! What is between this host and a member: the network, its certificate, or ours. A gRPC connection that fails has no type for that.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Credentials, PATIENCE};

/// Each with a reason that reads well after "it ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing answers, or not as etcd does.
    Silent(String),
    /// Its certificate does not prove who it is.
    Untrusted(String),
    /// It does not accept our certificate.
    Refused(String),
}

/// How HTTP/2 begins, with empty settings: etcd says nothing before it, nor does a server of TLS 1.3 say what it thinks of a client's
/// certificate.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Goes the way to a member up to where it takes requests; none where nothing is in the way.
pub async fn obstacle(url: &str, credentials: &Credentials) -> Option<Obstacle> {
    let silent = |reason: String| Obstacle::Silent(reason);
    let attempt = async {
        let uri: http::Uri = url.parse().map_err(|_| silent("is at no URL".into()))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| silent("is at no URL".into()))?;
        let config = config(credentials)?;
        let connected = timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await;
        let stream = connected
            .map_err(|_| silent(format!("does not answer within {} s", PATIENCE.as_secs())))?
            .map_err(|error| silent(network(&error)))?;
        let greeted = async {
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            stream.write_all(GREETING).await?;
            stream.flush().await?;
            stream.read(&mut [0]).await
        };
        match timeout(PATIENCE, greeted).await {
            Ok(Ok(0)) => Err(silent("hangs up".into())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(silent(format!("takes the connection and says nothing within {} s", PATIENCE.as_secs()))),
        }
    };
    attempt.await.err()
}

fn config(credentials: &Credentials) -> Result<ClientConfig, Obstacle> {
    let ours = |reason: String| Obstacle::Refused(reason);
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&credentials.authority).flatten() {
        roots
            .add(authority)
            .map_err(|error| Obstacle::Untrusted(format!("has an authority that is unusable: {error}")))?;
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&credentials.certificate).flatten().collect();
    let key = PrivateKeyDer::from_pem_slice(&credentials.key)
        .map_err(|_| ours("is asked with a private key that can't be read".into()))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has all that TLS needs")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| ours(format!("is asked with a client certificate that is of no use: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn network(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refuses connections: nothing listens there".into(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "can't be reached: there is no way to it".into()
        }
        _ => format!("can't be reached: {error}"),
    }
}

fn classify(error: &io::Error) -> Obstacle {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => Obstacle::Untrusted(certificate(error)),
        Some(Error::AlertReceived(alert)) => Obstacle::Refused(refusal(*alert)),
        Some(_) => Obstacle::Silent("does not speak TLS as etcd does".into()),
        None => Obstacle::Silent(format!("breaks the connection off: {error}")),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "shows a certificate that this authority has not signed".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "shows a certificate that has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "shows a certificate that is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "shows a certificate that is not for this name or address".into()
        }
        other => format!("shows a certificate that is not acceptable: {other}"),
    }
}

fn refusal(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "does not know the authority that signed the client certificate".into(),
        AlertDescription::CertificateExpired => "takes the client certificate for expired".into(),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "does not accept the client certificate".into()
        }
        other => format!("does not accept the client certificate: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;
    use tokio::net::TcpListener;

    use super::super::samples::{Authority, acceptor, authority, credentials, later, signed};
    use super::*;

    /// A server that wants clients of this authority, and answers with a byte.
    async fn server(clients: &Authority, certificate: (String, String)) -> String {
        let acceptor = acceptor(clients, certificate);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(&[0]).await;
                    let _ = stream.read(&mut [0; 64]).await;
                }
            }
        });
        format!("https://127.0.0.1:{port}")
    }

    #[tokio::test]
    async fn each_obstacle_is_known_by_itself() {
        let (ca, other) = (authority("etcd-ca"), authority("other"));
        let url = server(&ca, signed(&ca, "127.0.0.1", later())).await;
        let client = || signed(&ca, "client", later());
        assert_eq!(obstacle(&url, &credentials(&ca, client())).await, None);

        let untrusted = obstacle(&url, &credentials(&other, client())).await;
        assert_eq!(
            untrusted,
            Some(Obstacle::Untrusted("shows a certificate that this authority has not signed".into()))
        );
        let refused = obstacle(&url, &credentials(&ca, signed(&other, "client", later()))).await;
        assert!(matches!(refused, Some(Obstacle::Refused(_))), "{refused:?}");
        let past = OffsetDateTime::now_utc() - Duration::from_secs(60);
        let expired = obstacle(&url, &credentials(&ca, signed(&ca, "client", past))).await;
        assert_eq!(expired, Some(Obstacle::Refused("takes the client certificate for expired".into())));
        let (certificate, _) = client();
        let mixed = obstacle(&url, &credentials(&ca, (certificate, client().1))).await;
        assert!(matches!(mixed, Some(Obstacle::Refused(_))), "{mixed:?}");

        let named = server(&ca, signed(&ca, "etcd.example.test", later())).await;
        let wrong = obstacle(&named, &credentials(&ca, client())).await;
        let expected = "shows a certificate that is not for this name or address";
        assert_eq!(wrong, Some(Obstacle::Untrusted(expected.into())));
        let old = server(&ca, signed(&ca, "127.0.0.1", past)).await;
        let wrong = obstacle(&old, &credentials(&ca, client())).await;
        assert_eq!(wrong, Some(Obstacle::Untrusted("shows a certificate that has expired".into())));
    }

    #[tokio::test]
    async fn what_does_not_answer_is_told() {
        let ca = authority("etcd-ca");
        let credentials = credentials(&ca, signed(&ca, "client", later()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        let refused = obstacle(&url, &credentials).await;
        assert_eq!(refused, Some(Obstacle::Silent("refuses connections: nothing listens there".into())));
    }
}
