//! Reads OpenPGP public keys just far enough to tell which key a file holds and until when it is valid.
//!
//! No signature is verified here: that is gpgv's work, through apt. What is read is the packet framing, the primary keys
//! (RFC 4880 and RFC 9580, version 4) and the expiry that their self-signatures state. Pure functions of bytes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use time::OffsetDateTime;

/// A version 4 key's fingerprint; its `Display` is 40 upper-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 20]);

/// A primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub fingerprint: Fingerprint,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970, as the latest self-signature says; None: it does not expire.
    pub expires: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it is no OpenPGP key")]
    NotAKey,
    #[error("its armor is damaged: {0}")]
    Armor(&'static str),
    #[error("its armor is damaged: its end is missing")]
    Unfinished,
    #[error("it holds a private key; export the public one")]
    PrivateKey,
    #[error("it ends in the middle of a packet")]
    Truncated,
    #[error("its key is of version {0}; version 4 is what kboot knows")]
    Version(u8),
}

/// How long before a key expires that is worth a warning, in seconds: 60 days.
pub const EXPIRY_NOTICE: u64 = 60 * 86400;

/// Of these keys the one that expires last, and when; None if there is one that does not expire.
pub fn last_to_expire(keys: &[Key]) -> Option<(Key, u64)> {
    let expiring: Option<Vec<(Key, u64)>> = keys.iter().map(|key| Some((*key, key.expires?))).collect();
    expiring?.into_iter().max_by_key(|(_, at)| *at)
}

/// A time in seconds since 1970 as its day, as `2026-12-29`.
pub fn day(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.map_or_else(|| format!("second {seconds}"), |at| at.date().to_string())
}

/// The fingerprints of the primary keys in an armored or binary key file, in the file's order.
pub fn fingerprints(data: &[u8]) -> Result<Vec<Fingerprint>, Error> {
    Ok(keys(data)?.into_iter().map(|key| key.fingerprint).collect())
}

/// Of an armored or binary key file the binary form of these primary keys, each with its user ids, subkeys and signatures, and of
/// nothing else that is in the file. In the file's order; empty if it has none of them.
pub fn select(data: &[u8], wanted: &[Fingerprint]) -> Result<Vec<u8>, Error> {
    let binary = dearmor(data)?;
    let mut selected = Vec::new();
    let mut is_wanted = false;
    let mut rest = binary.as_slice();
    while !rest.is_empty() {
        let (packet, after) = Packet::read(rest)?;
        if packet.tag == TAG_PUBLIC_KEY {
            is_wanted = wanted.contains(&Candidate::read(packet.body)?.key.fingerprint);
        }
        let is_of_key = [TAG_PUBLIC_KEY, TAG_PUBLIC_SUBKEY, TAG_SIGNATURE, TAG_USER_ID, TAG_USER_ATTRIBUTE];
        if is_wanted && is_of_key.contains(&packet.tag) {
            selected.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    Ok(selected)
}

/// The primary keys in an armored or binary key file, in the file's order; at least one.
pub fn keys(data: &[u8]) -> Result<Vec<Key>, Error> {
    let binary = dearmor(data)?;
    let mut keys: Vec<Candidate> = Vec::new();
    let mut rest = binary.as_slice();
    while !rest.is_empty() {
        let packet;
        (packet, rest) = Packet::read(rest)?;
        match packet.tag {
            TAG_SECRET_KEY | TAG_SECRET_SUBKEY => return Err(Error::PrivateKey),
            TAG_PUBLIC_KEY => keys.push(Candidate::read(packet.body)?),
            TAG_PUBLIC_SUBKEY => keys.last_mut().ok_or(Error::NotAKey)?.is_past_subkey = true,
            TAG_SIGNATURE => {
                if let Some(key) = keys.last_mut().filter(|key| !key.is_past_subkey) {
                    key.learn(packet.body);
                }
            }
            _ if keys.is_empty() => return Err(Error::NotAKey),
            _ => {}
        }
    }
    if keys.is_empty() {
        return Err(Error::NotAKey);
    }
    Ok(keys.into_iter().map(Candidate::finish).collect())
}

/// The binary form of a key file; what is binary already is given back as it is. Several armored blocks are joined.
pub fn dearmor(data: &[u8]) -> Result<Vec<u8>, Error> {
    // Every packet's first byte has its top bit set, which no text in ASCII has.
    if data.first().is_some_and(|byte| byte & 0x80 != 0) && !data.starts_with(b"\xef\xbb\xbf") {
        return Ok(data.to_vec());
    }
    let text = std::str::from_utf8(data).map_err(|_| Error::NotAKey)?;
    let mut binary = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    let mut is_found = false;
    while let Some(line) = lines.next() {
        match line.trim_start_matches('\u{feff}') {
            "-----BEGIN PGP PUBLIC KEY BLOCK-----" => {
                is_found = true;
                binary.extend(block(&mut lines)?);
            }
            "-----BEGIN PGP PRIVATE KEY BLOCK-----" => return Err(Error::PrivateKey),
            _ => {}
        }
    }
    if is_found { Ok(binary) } else { Err(Error::NotAKey) }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 40 hex digits")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FingerprintError);
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

const TAG_SIGNATURE: u8 = 2;
const TAG_SECRET_KEY: u8 = 5;
const TAG_PUBLIC_KEY: u8 = 6;
const TAG_SECRET_SUBKEY: u8 = 7;
const TAG_USER_ID: u8 = 13;
const TAG_PUBLIC_SUBKEY: u8 = 14;
const TAG_USER_ATTRIBUTE: u8 = 17;

const SUBPACKET_CREATED: u8 = 2;
const SUBPACKET_KEY_EXPIRY: u8 = 9;
const SUBPACKET_ISSUER: u8 = 16;
const SUBPACKET_ISSUER_FINGERPRINT: u8 = 33;

/// An armored block's bytes; `lines` is past its first line and ends up past its last.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, Error> {
    let mut encoded = String::new();
    let mut checksum = None;
    let mut is_in_headers = true;
    for line in lines {
        if line == "-----END PGP PUBLIC KEY BLOCK-----" {
            let bytes = STANDARD.decode(&encoded).map_err(|_| Error::Armor("its base64 does not decode"))?;
            let is_right = checksum.is_none_or(|expected| crc24(&bytes).to_be_bytes()[1..] == expected);
            return if is_right { Ok(bytes) } else { Err(Error::Armor("its checksum is wrong")) };
        }
        if is_in_headers {
            is_in_headers = !line.is_empty() && line.contains(": ");
            if is_in_headers || line.is_empty() {
                continue;
            }
        }
        match line.strip_prefix('=') {
            Some(digits) if digits.len() == 4 => {
                let bytes = STANDARD.decode(digits).map_err(|_| Error::Armor("its checksum does not decode"))?;
                checksum = Some(<[u8; 3]>::try_from(bytes).map_err(|_| Error::Armor("its checksum does not decode"))?);
            }
            _ => encoded.push_str(line),
        }
    }
    Err(Error::Unfinished)
}

fn crc24(data: &[u8]) -> u32 {
    let mut crc = 0x00b7_04ce_u32;
    for byte in data {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc & 0x00ff_ffff
}

struct Packet<'a> {
    tag: u8,
    body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The first packet, and what follows it. Lengths in parts are for data, never for keys: they are refused.
    fn read(data: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let (&first, rest) = data.split_first().ok_or(Error::Truncated)?;
        if first & 0x80 == 0 {
            return Err(Error::NotAKey);
        }
        let is_new = first & 0x40 != 0;
        let (tag, (length, rest)) = if is_new {
            (first & 0x3f, new_length(rest)?.ok_or(Error::NotAKey)?)
        } else {
            let (octets, rest) = match first & 3 {
                0 => rest.split_at_checked(1),
                1 => rest.split_at_checked(2),
                2 => rest.split_at_checked(4),
                _ => return Err(Error::NotAKey),
            }
            .ok_or(Error::Truncated)?;
            ((first >> 2) & 0xf, (big_endian(octets), rest))
        };
        let (body, rest) = rest.split_at_checked(length).ok_or(Error::Truncated)?;
        Ok((Self { tag, body }, rest))
    }
}

/// The length of a new-format packet or of a subpacket; None: a length in parts.
fn new_length(data: &[u8]) -> Result<Option<(usize, &[u8])>, Error> {
    match data {
        [first @ 0..=191, rest @ ..] => Ok(Some((usize::from(*first), rest))),
        [first @ 192..=223, second, rest @ ..] => {
            Ok(Some(((usize::from(*first) - 192) * 256 + usize::from(*second) + 192, rest)))
        }
        [255, octets @ ..] => {
            let (octets, rest) = octets.split_at_checked(4).ok_or(Error::Truncated)?;
            Ok(Some((big_endian(octets), rest)))
        }
        [224..=254, ..] => Ok(None),
        _ => Err(Error::Truncated),
    }
}

/// A time, or a length of time: four octets, so that two of them can be added up.
fn seconds(octets: &[u8]) -> Option<u64> {
    Some(u32::from_be_bytes(octets.try_into().ok()?).into())
}

fn big_endian(octets: &[u8]) -> usize {
    octets.iter().fold(0, |number, octet| (number << 8) | usize::from(*octet))
}

#[derive(Clone, Copy)]
struct SelfSignature {
    /// On the key itself, not on a user id.
    is_direct: bool,
    created: u64,
    /// After how many seconds of its life the key expires.
    expiry: Option<u64>,
}

/// A primary key whose self-signatures are being read.
struct Candidate {
    key: Key,
    /// The latest signature on the key itself that states an expiry. Others of that kind only name who may revoke it.
    direct: Option<SelfSignature>,
    /// The latest signature on a user id.
    certification: Option<SelfSignature>,
    is_past_subkey: bool,
}

impl Candidate {
    fn read(body: &[u8]) -> Result<Self, Error> {
        match body {
            // The version, four octets of time, the algorithm and its numbers.
            [4, created @ ..] if created.len() > 4 => {
                let length = u16::try_from(body.len()).map_err(|_| Error::NotAKey)?;
                let mut hash = Sha1::new();
                hash.update([0x99]);
                hash.update(length.to_be_bytes());
                hash.update(body);
                let fingerprint = Fingerprint(hash.finalize().into());
                let created = big_endian(&created[..4]) as u64;
                let key = Key { fingerprint, created, expires: None };
                Ok(Self { key, direct: None, certification: None, is_past_subkey: false })
            }
            [4, ..] | [] => Err(Error::Truncated),
            [version, ..] => Err(Error::Version(*version)),
        }
    }

    /// Takes note of a signature, if it is the key's own on itself. What cannot be read is passed over: others'
    /// signatures may be of any kind.
    fn learn(&mut self, body: &[u8]) {
        let Some(signature) = self.self_signature(body) else { return };
        let slot = match (signature.is_direct, signature.expiry) {
            (true, None) => return,
            (true, Some(_)) => &mut self.direct,
            (false, _) => &mut self.certification,
        };
        if slot.is_none_or(|latest| latest.created <= signature.created) {
            *slot = Some(signature);
        }
    }

    /// The key, with the expiry that gpg would tell: the key's own signature goes before those on user ids.
    fn finish(self) -> Key {
        let seconds = self.direct.or(self.certification).and_then(|signature| signature.expiry);
        Key { expires: seconds.filter(|&seconds| seconds > 0).map(|seconds| self.key.created + seconds), ..self.key }
    }

    fn self_signature(&self, body: &[u8]) -> Option<SelfSignature> {
        // Version, type, two algorithms, then the hashed and the other subpackets, each with a length of two octets.
        // Certifications of a user id are 0x10 to 0x13, a signature on the key itself 0x1f.
        let [4, kind @ (0x10..=0x13 | 0x1f), _, _, rest @ ..] = body else { return None };
        let (length, rest) = rest.split_at_checked(2)?;
        let (hashed, rest) = rest.split_at_checked(big_endian(length))?;
        let (length, rest) = rest.split_at_checked(2)?;
        let (other, _) = rest.split_at_checked(big_endian(length))?;
        let (mut created, mut expiry) = (None, None);
        for (kind, value) in subpackets(hashed)? {
            match kind {
                SUBPACKET_CREATED => created = Some(seconds(value)?),
                SUBPACKET_KEY_EXPIRY => expiry = Some(seconds(value)?),
                _ => {}
            }
        }
        let (fingerprint, id) = (&self.key.fingerprint.0, &self.key.fingerprint.0[12..]);
        let mut issuers = subpackets(hashed)?.into_iter().chain(subpackets(other)?);
        let is_own = issuers.any(|(kind, value)| match kind {
            SUBPACKET_ISSUER => value == id,
            SUBPACKET_ISSUER_FINGERPRINT => value.split_first().is_some_and(|(_, value)| value == fingerprint),
            _ => false,
        });
        is_own.then_some(SelfSignature { is_direct: *kind == 0x1f, created: created?, expiry })
    }
}

fn subpackets(mut area: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut list = Vec::new();
    while !area.is_empty() {
        // Subpackets have no length in parts: 224 to 254 go on like 192 to 223.
        let (length, rest) = match area {
            [first @ 224..=254, second, rest @ ..] => {
                ((usize::from(*first) - 192) * 256 + usize::from(*second) + 192, rest)
            }
            _ => new_length(area).ok()??,
        };
        let (body, rest) = rest.split_at_checked(length)?;
        let (kind, value) = body.split_first()?;
        list.push((kind & 0x7f, value));
        area = rest;
    }
    Some(list)
}

#[cfg(test)]
mod tests;
