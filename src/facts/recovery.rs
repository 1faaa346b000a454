//! Which member of etcd a host's data is, and which members `kboot recover` has given up.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::engine::{Failure, Hint, Probe, Result};

/// What a recovery leaves on the host whose data the cluster goes on with.
pub const RECOVERY: &str = "/var/lib/kboot/recovery.json";

const LOG: &str = "/var/lib/etcd/member/wal";

/// The longest part of a log that is read: its first record says whose it is.
const HEAD: usize = 4096;

/// A recovery of etcd from the data of this host, begun or done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    pub version: u32,
    /// When it began, as `20261123-041500`, UTC.
    pub at: String,
    /// Where the data lie as they were before.
    pub copy: Utf8PathBuf,
    /// The members without which the cluster goes on, those of earlier recoveries included.
    pub given_up: Vec<GivenUp>,
    pub is_done: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    pub name: String,
    /// Its ID in etcd, in hexadecimal.
    pub member: String,
}

impl Recovery {
    pub const VERSION: u32 = 1;

    /// None where there was none, or where its record can't be read.
    pub async fn read(probe: &dyn Probe) -> Result<Option<Self>> {
        let bytes = probe.read(Utf8Path::new(RECOVERY)).await.ok().flatten().unwrap_or_default();
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Ok(None) };
        match value["version"].as_u64() {
            Some(version) if version > Self::VERSION.into() => {
                let (this, path) = (Self::VERSION, RECOVERY);
                let cause = format!("{path} is of format {version}, and this kboot reads formats up to {this}");
                Err(Failure::new(cause).hint(Hint::RunNewerKboot))
            }
            _ => Ok(Self::deserialize(value).ok()),
        }
    }

    pub fn has_given_up(&self, member: &str) -> bool {
        self.given_up.iter().any(|given_up| given_up.member == member)
    }
}

/// A member's ID as etcd's tools show it.
pub fn member_id(id: u64) -> String {
    format!("{id:x}")
}

/// The ID of the member whose data are here; None where there are none, or none that can be read.
pub async fn member(probe: &dyn Probe) -> Option<String> {
    let names = probe.list(Utf8Path::new(LOG)).await.ok().flatten()?;
    let first = names.into_iter().filter(|name| name.ends_with(".wal")).min()?;
    let head = probe.read_head(&Utf8Path::new(LOG).join(first), HEAD).await.ok().flatten()?;
    Some(member_id(owner(&head)?))
}

/// The owner of a write-ahead log, from its first records.
///
/// etcd writes each as the length in eight bytes, least first, of which the last has the padding, and a message with the fields type
/// (1), checksum (2) and data (3). The type of metadata is 1; their first field is the member's ID.
fn owner(mut log: &[u8]) -> Option<u64> {
    const METADATA: u64 = 1;
    loop {
        let (length, rest) = log.split_at_checked(8)?;
        let length = u64::from_le_bytes(length.try_into().ok()?);
        let padding = if length >> 63 == 1 { (length >> 56) & 7 } else { 0 };
        let size = usize::try_from(length & 0x00ff_ffff_ffff_ffff).ok().filter(|size| *size > 0)?;
        let (record, rest) = rest.split_at_checked(size)?;
        log = rest.get(usize::try_from(padding).ok()?..)?;
        let fields = fields(record)?;
        let number = |wanted| fields.iter().find_map(|(key, value)| (*key == wanted).then(|| value.number()).flatten());
        if number(1) == Some(METADATA) {
            let data = fields.iter().find_map(|(key, value)| (*key == 3).then(|| value.bytes()).flatten())?;
            return self::fields(data)?.iter().find_map(|(key, value)| (*key == 1).then(|| value.number()).flatten());
        }
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// A message of protocol buffers, with the two kinds of field that etcd's records have.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            2 => {
                let size = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(size)?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        found.push((tag >> 3, value));
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    /// The first records of a log as etcd lays them out: a checksum, then the metadata of member b70bd84ff0b2a3ae.
    fn log() -> Vec<u8> {
        let crc = [0x08, 0x04, 0x10, 0x00, 0, 0, 0, 0];
        let id = 0xb70b_d84f_f0b2_a3ae_u64;
        let mut metadata = vec![0x08];
        push_varint(&mut metadata, id);
        metadata.push(0x10);
        push_varint(&mut metadata, 0xcdf8_181e_3277_f0f7);
        let mut record = vec![0x08, 0x01, 0x10];
        push_varint(&mut record, 0xdead_beef);
        record.push(0x1a);
        push_varint(&mut record, metadata.len() as u64);
        record.extend(&metadata);
        let mut log = 0x8400_0000_0000_0004_u64.to_le_bytes().to_vec();
        log.extend(crc);
        log.extend((record.len() as u64).to_le_bytes());
        log.extend(record);
        log.extend([0; 64]);
        log
    }

    fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }

    #[tokio::test]
    async fn a_newer_record_is_refused_and_one_that_cannot_be_read_is_none() {
        let read = async |text: &str| Recovery::read(&FakeHost::default().file(RECOVERY, text)).await;
        let whole = r#"{"version":1,"at":"20261123-041500","copy":"/c","givenUp":[],"isDone":true}"#;
        assert!(read(whole).await.unwrap().is_some_and(|recovery| recovery.is_done));
        assert_eq!(read("{").await, Ok(None));
        let failure = read(&whole.replace("1,", "2,")).await.unwrap_err();
        assert!(failure.cause.contains("is of format 2, and this kboot reads formats up to 1"), "{failure}");
    }

    #[tokio::test]
    async fn a_log_tells_whose_it_is() {
        assert_eq!(owner(&log()), Some(0xb70b_d84f_f0b2_a3ae));
        let host = FakeHost::default()
            .file("/var/lib/etcd/member/wal/0000000000000001-00000000000003e8.wal", "")
            .file("/var/lib/etcd/member/wal/0000000000000000-0000000000000000.wal", log())
            .file("/var/lib/etcd/member/wal/0.tmp", "");
        assert_eq!(member(&host).await.as_deref(), Some("b70bd84ff0b2a3ae"));
        assert_eq!(member(&FakeHost::default()).await, None);
    }

    #[test]
    fn what_is_no_log_has_no_owner() {
        for text in [&b""[..], b"short", &[0; 64], &[0xff; 64], &log()[..20]] {
            assert_eq!(owner(text), None, "{text:?}");
        }
    }
}
