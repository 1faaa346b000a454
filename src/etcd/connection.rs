//! gRPC with one member of etcd, over TLS with client certificates.

use std::error::Error as _;
use std::fmt;

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::api::Call;
use super::{Credentials, PATIENCE};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The network's or TLS' own reason. Whether the member got the request is not known.
    Unreachable(String),
    /// What etcd says.
    Refused(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) | Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Unreachable(innermost(&error))
    }
}

impl From<Status> for Error {
    /// A status that etcd sent has no source; one that stands for a broken connection has.
    fn from(status: Status) -> Self {
        match status.source() {
            Some(source) => Self::Unreachable(innermost(source)),
            None => Self::Refused(status.message().to_owned()),
        }
    }
}

/// tonic's own text is "transport error".
fn innermost(mut error: &dyn std::error::Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

pub struct Connection(Grpc<Channel>);

impl Connection {
    /// To the member at this client URL.
    pub async fn open(endpoint: &str, credentials: &Credentials) -> Result<Self, Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&credentials.authority))
            .identity(Identity::from_pem(&credentials.certificate, &credentials.key));
        let endpoint = Endpoint::from_shared(endpoint.to_owned())?.tls_config(tls)?;
        let channel = in_time(async { Ok(endpoint.connect().await?) }).await?;
        Ok(Self(Grpc::new(channel)))
    }

    pub async fn call<R: Call>(&mut self, request: R) -> Result<R::Answer, Error> {
        let method = PathAndQuery::from_static(R::METHOD);
        let answer = async {
            self.0.ready().await?;
            Ok(self.0.unary(Request::new(request), method, ProstCodec::default()).await?.into_inner())
        };
        in_time(answer).await
    }
}

async fn in_time<T>(attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let ended = tokio::time::timeout(PATIENCE, attempt).await;
    ended.unwrap_or_else(|_| Err(Error::Unreachable(format!("it does not answer within {} s", PATIENCE.as_secs()))))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use prost::Message as _;
    use tokio::net::TcpListener;

    use super::super::api::{MemberListRequest, MemberPromoteRequest, StatusRequest, StatusResponse};
    use super::super::samples::{Authority, Stub, authority, credentials, later, signed};
    use super::*;

    fn client(ca: &Authority) -> Credentials {
        credentials(ca, signed(ca, "client", later()))
    }

    async fn list(url: &str, credentials: &Credentials) -> Result<(), Error> {
        Connection::open(url, credentials).await?.call(MemberListRequest {}).await.map(drop)
    }

    #[tokio::test]
    async fn a_call_carries_its_message_there_and_back() {
        let ca = authority("etcd-ca");
        let status = StatusResponse { version: "3.7.0".into(), leader: 7, ..StatusResponse::default() };
        let etcd = Stub::start(&ca, vec![Ok(status.encode_to_vec()), Ok(Vec::new())]).await;
        let mut connection = Connection::open(&etcd.url, &client(&ca)).await.unwrap();
        assert_eq!(connection.call(StatusRequest {}).await, Ok(status));
        connection.call(MemberPromoteRequest { id: 300 }).await.unwrap();
        let expected = [
            ("/etcdserverpb.Maintenance/Status".to_owned(), vec![]),
            ("/etcdserverpb.Cluster/MemberPromote".to_owned(), vec![0x08, 0xac, 0x02]),
        ];
        assert_eq!(etcd.calls(), expected);
    }

    #[tokio::test]
    async fn a_refusal_is_in_etcd_s_words() {
        let ca = authority("etcd-ca");
        let etcd = Stub::start(&ca, vec![Err("etcdserver: member not found"), Ok(Vec::new())]).await;
        let mut connection = Connection::open(&etcd.url, &client(&ca)).await.unwrap();
        let refused = connection.call(MemberPromoteRequest { id: 1 }).await;
        assert_eq!(refused, Err(Error::Refused("etcdserver: member not found".into())));
        // The connection is as good as before.
        connection.call(MemberPromoteRequest { id: 1 }).await.unwrap();
    }

    #[tokio::test]
    async fn the_reason_of_a_failed_connection_is_told() {
        let (ca, other) = (authority("etcd-ca"), authority("other"));
        let etcd = Stub::start(&ca, vec![]).await;
        let reason = |result: Result<(), Error>| match result {
            Err(Error::Unreachable(reason)) => reason,
            other => panic!("{other:?}"),
        };
        let untrusted = reason(list(&etcd.url, &client(&other)).await);
        assert!(untrusted.contains("invalid peer certificate: UnknownIssuer"), "{untrusted}");
        let stranger = credentials(&ca, signed(&other, "client", later()));
        let refused = reason(list(&etcd.url, &stranger).await);
        assert!(refused.contains("received fatal alert"), "{refused}");
        // It hangs up in the middle of a call.
        reason(list(&etcd.url, &client(&ca)).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        let closed = reason(list(&url, &client(&ca)).await);
        assert!(closed.contains("Connection refused"), "{closed}");
        assert!(matches!(list("nowhere", &client(&ca)).await, Err(Error::Unreachable(_))));
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_not_waited_for() {
        let ca = authority("etcd-ca");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let began = Instant::now();
        let silent = list(&url, &client(&ca)).await;
        assert_eq!(silent, Err(Error::Unreachable("it does not answer within 3 s".into())));
        assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
    }
}
