//! The part of etcd's API that kboot uses: messages and methods with the names, types and tags of etcd's
//! `api/etcdserverpb/rpc.proto` (v3.7). Fields that kboot does not read are left out: decoding skips unknown fields.

use prost::Message;

/// A request, the method that takes it, and the message that answers it.
pub trait Call: Message + 'static {
    const METHOD: &'static str;
    /// `()` where kboot does not read the answer.
    type Answer: Message + Default + 'static;
}

/// An alarm's kind: the member's database is full.
pub const NO_SPACE: i32 = 1;
/// What to do with an alarm: take it back.
pub const DEACTIVATE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct ResponseHeader {
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Member {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    #[prost(bool, tag = "5")]
    pub is_learner: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberListRequest {}

#[derive(Clone, PartialEq, Message)]
pub struct MemberListResponse {
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

impl Call for MemberListRequest {
    const METHOD: &'static str = "/etcdserverpb.Cluster/MemberList";
    type Answer = MemberListResponse;
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberAddRequest {
    #[prost(string, repeated, tag = "1")]
    pub peer_urls: Vec<String>,
    #[prost(bool, tag = "2")]
    pub is_learner: bool,
}

impl Call for MemberAddRequest {
    const METHOD: &'static str = "/etcdserverpb.Cluster/MemberAdd";
    type Answer = ();
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberPromoteRequest {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

impl Call for MemberPromoteRequest {
    const METHOD: &'static str = "/etcdserverpb.Cluster/MemberPromote";
    type Answer = ();
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberRemoveRequest {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

impl Call for MemberRemoveRequest {
    const METHOD: &'static str = "/etcdserverpb.Cluster/MemberRemove";
    type Answer = ();
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberUpdateRequest {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, repeated, tag = "2")]
    pub peer_urls: Vec<String>,
}

impl Call for MemberUpdateRequest {
    const METHOD: &'static str = "/etcdserverpb.Cluster/MemberUpdate";
    type Answer = ();
}

#[derive(Clone, PartialEq, Message)]
pub struct AlarmRequest {
    #[prost(int32, tag = "1")]
    pub action: i32,
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    #[prost(int32, tag = "3")]
    pub alarm: i32,
}

impl Call for AlarmRequest {
    const METHOD: &'static str = "/etcdserverpb.Maintenance/Alarm";
    type Answer = ();
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
    #[prost(int64, tag = "9")]
    pub db_size_in_use: i64,
    #[prost(int64, tag = "12")]
    pub db_size_quota: i64,
}

impl Call for StatusRequest {
    const METHOD: &'static str = "/etcdserverpb.Maintenance/Status";
    type Answer = StatusResponse;
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The first key behind the range.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    #[prost(bool, tag = "9")]
    pub count_only: bool,
}

impl RangeRequest {
    /// Counts the keys that begin with this prefix, which is neither empty nor ends with the byte 0xff.
    pub fn count(prefix: &str) -> Self {
        let mut range_end = prefix.as_bytes().to_vec();
        if let Some(last) = range_end.last_mut() {
            *last = last.saturating_add(1);
        }
        Self { key: prefix.into(), range_end, count_only: true }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeResponse {
    #[prost(int64, tag = "4")]
    pub count: i64,
}

impl Call for RangeRequest {
    const METHOD: &'static str = "/etcdserverpb.KV/Range";
    type Answer = RangeResponse;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field whose content has a length.
    fn field(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    // The bytes are written from rpc.proto: key = tag * 8 + wire type (0 a varint, 2 with a length).

    #[test]
    fn requests_have_etcd_s_tags() {
        let url = "https://10.0.0.2:2380";
        let urls = || vec![url.to_owned()];
        let add = MemberAddRequest { peer_urls: urls(), is_learner: true };
        assert_eq!(add.encode_to_vec(), [field(1, url.as_bytes()), vec![0x10, 1]].concat());
        let update = MemberUpdateRequest { id: 300, peer_urls: urls() };
        assert_eq!(update.encode_to_vec(), [vec![0x08, 0xac, 0x02], field(2, url.as_bytes())].concat());
        assert_eq!(MemberPromoteRequest { id: 300 }.encode_to_vec(), [0x08, 0xac, 0x02]);
        assert_eq!(MemberRemoveRequest { id: 300 }.encode_to_vec(), [0x08, 0xac, 0x02]);
        let clear = AlarmRequest { action: DEACTIVATE, member_id: 300, alarm: NO_SPACE };
        assert_eq!(clear.encode_to_vec(), [0x08, 2, 0x10, 0xac, 0x02, 0x18, 1]);
        let count = [field(1, b"/registry/"), field(2, b"/registry0"), vec![0x48, 1]].concat();
        assert_eq!(RangeRequest::count("/registry/").encode_to_vec(), count);
        assert!(MemberListRequest {}.encode_to_vec().is_empty() && StatusRequest {}.encode_to_vec().is_empty());
    }

    #[test]
    fn answers_are_read_by_etcd_s_tags() {
        // Its ID is greater than 2^63, as many are.
        let id = [0x08, 0x8c, 0xf0, 0xf1, 0x9c, 0xc6, 0xbe, 0x9c, 0xc8, 0xbf, 0x01];
        let started = [
            id.to_vec(),
            field(2, b"n1"),
            field(3, b"https://10.0.0.1:2380"),
            field(4, b"https://10.0.0.1:2379"),
            field(4, b"https://127.0.0.1:2379"),
        ];
        let learner = [vec![0x08, 5], field(3, b"https://10.0.0.2:2380"), vec![0x28, 1]];
        // The header, which comes first, is not read.
        let list = [field(1, &[0x08, 1]), field(2, &started.concat()), field(2, &learner.concat())].concat();
        let members = MemberListResponse::decode(list.as_slice()).unwrap().members;
        assert_eq!(
            members,
            [
                Member {
                    id: 13_803_658_152_347_727_884,
                    name: "n1".into(),
                    peer_urls: vec!["https://10.0.0.1:2380".into()],
                    client_urls: vec!["https://10.0.0.1:2379".into(), "https://127.0.0.1:2379".into()],
                    is_learner: false,
                },
                Member {
                    id: 5,
                    peer_urls: vec!["https://10.0.0.2:2380".into()],
                    is_learner: true,
                    ..Member::default()
                },
            ]
        );

        let status = [
            field(1, &[0x08, 1, 0x10, 2, 0x18, 3, 0x20, 4]),
            field(2, b"3.7.0"),
            vec![0x18, 10, 0x20, 11, 0x28, 12, 0x30, 13, 0x38, 14],
            field(8, b"etcdserver: no leader"),
            vec![0x48, 15, 0x50, 0],
            field(11, b"3.7.0"),
            vec![0x60, 16],
            field(13, &[0x08, 1]),
        ];
        assert_eq!(
            StatusResponse::decode(status.concat().as_slice()).unwrap(),
            StatusResponse {
                header: Some(ResponseHeader { cluster_id: 1, member_id: 2, revision: 3 }),
                version: "3.7.0".into(),
                db_size: 10,
                leader: 11,
                errors: vec!["etcdserver: no leader".into()],
                db_size_in_use: 15,
                db_size_quota: 16,
            }
        );

        let range = [field(1, &[0x08, 1]), field(2, &field(1, b"/registry/a")), vec![0x18, 1, 0x20, 7]].concat();
        assert_eq!(RangeResponse::decode(range.as_slice()).unwrap().count, 7);
    }
}
