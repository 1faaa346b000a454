//! What targets of the fuzzer need of the private parts of `etcd`: see [`crate::fuzz`].

use prost::Message;

use super::api::{MemberListResponse, RangeResponse, StatusResponse};
use super::survey::{self, Condition};

/// A list of members as JSON, or an answer as protobuf.
pub(crate) fn answer(data: &[u8]) {
    if let Ok(members) = survey::parse(data) {
        assert!(members.is_sorted_by(|one, other| one.label() <= other.label()));
    }
    same::<MemberListResponse>(data);
    same::<RangeResponse>(data);
    if let Some(condition) = same::<StatusResponse>(data).and_then(Condition::read) {
        assert!(condition.full.len() <= condition.complaints.len());
    }
}

/// A message that was read is the same once it is written.
fn same<M: Message + Default + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<M> {
    let read = M::decode(data).ok()?;
    assert_eq!(M::decode(read.encode_to_vec().as_slice()).as_ref(), Ok(&read));
    Some(read)
}
