//! Keys as gpg wrote them, and packets that nobody wrote.

use super::*;

const EXPIRING: &[u8] = include_bytes!("../../tests/inventory/keys/expiring.asc");
const LASTING: &[u8] = include_bytes!("../../tests/inventory/keys/lasting.gpg");

#[test]
fn reads_what_gpg_wrote() {
    let keys = keys(EXPIRING).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].fingerprint.to_string(), "21FCF7AEE824DA73E6D66E3A5E4A9B08C31E2C20");
    assert_eq!((keys[0].created, keys[0].expires), (1767225600, Some(1767225600 + 400 * 86400)));

    let keys = super::keys(LASTING).unwrap();
    assert_eq!(keys[0].fingerprint.to_string(), "9EC232CB08C55571B233689F0C0A009681DF7306");
    assert_eq!((keys[0].created, keys[0].expires), (1767225600, None));
}

/// A self-signature by the key in `LASTING`, as far as it is read here.
fn self_signature(kind: u8, created: u32, expiry: Option<u32>) -> Vec<u8> {
    let fingerprint = fingerprints(LASTING).unwrap()[0].0;
    let mut hashed = [&[22, SUBPACKET_ISSUER_FINGERPRINT, 4], &fingerprint[..]].concat();
    hashed.extend([&[5, SUBPACKET_CREATED], &created.to_be_bytes()[..]].concat());
    if let Some(expiry) = expiry {
        hashed.extend([&[5, SUBPACKET_KEY_EXPIRY], &expiry.to_be_bytes()[..]].concat());
    }
    let body = [&[4, kind, 1, 10, 0, hashed.len() as u8], &hashed[..], &[0, 0, 0, 0]].concat();
    [&[0xc2, body.len() as u8], &body[..]].concat()
}

#[test]
fn the_latest_self_signature_counts() {
    let created = 1767225600;
    // The key's own packet only: its signatures come from the table.
    let (packet, rest) = Packet::read(LASTING).unwrap();
    assert_eq!(packet.tag, TAG_PUBLIC_KEY);
    let key = &LASTING[..LASTING.len() - rest.len()];
    let expires = |signatures: &[Vec<u8>]| {
        let days = |seconds: u64| (seconds - created) / 86400;
        keys(&[key, &signatures.concat()].concat()).unwrap()[0].expires.map(days)
    };
    let (user, direct) = (0x13, 0x1f);
    let signed = |kind, after: u32, days: Option<u32>| {
        self_signature(kind, created as u32 + after, days.map(|days| days * 86400))
    };
    assert_eq!(expires(&[]), None);
    assert_eq!(expires(&[signed(user, 0, Some(10))]), Some(10));
    assert_eq!(expires(&[signed(user, 9, Some(20)), signed(user, 5, Some(10))]), Some(20));
    assert_eq!(expires(&[signed(user, 5, Some(10)), signed(user, 9, None)]), None);
    assert_eq!(expires(&[signed(user, 5, Some(0))]), None);
    // One that only names who may revoke the key, as Debian's have, changes nothing.
    assert_eq!(expires(&[signed(user, 5, Some(10)), signed(direct, 9, None)]), Some(10));
    assert_eq!(expires(&[signed(direct, 5, Some(30)), signed(user, 9, Some(10))]), Some(30));
    // A signature by another key does not count.
    let mut foreign = signed(user, 5, Some(10));
    foreign[20] ^= 1;
    assert_eq!(expires(&[foreign]), None);
}

#[test]
fn a_time_of_other_than_four_octets_is_no_time() {
    let (packet, rest) = Packet::read(LASTING).unwrap();
    let key = Candidate::read(packet.body).unwrap().key;
    let own = [&[9, SUBPACKET_ISSUER][..], &key.fingerprint.0[12..]].concat();
    let expires = |length: usize| {
        let expiry = [&[length as u8 + 1, SUBPACKET_KEY_EXPIRY][..], &vec![0xff; length]].concat();
        let hashed = [&own[..], &[5, SUBPACKET_CREATED, 0, 0, 0, 1], &expiry].concat();
        let body = [&[4, 0x13, 1, 10, 0, hashed.len() as u8], &hashed[..], &[0, 0, 0, 0]].concat();
        let signature = [&[0xc2, body.len() as u8], &body[..]].concat();
        keys(&[&LASTING[..LASTING.len() - rest.len()], &signature].concat()).unwrap()[0].expires
    };
    assert_eq!(expires(4), Some(key.created + u64::from(u32::MAX)));
    for length in [0, 3, 5, 8, 9] {
        assert_eq!(expires(length), None, "{length} octets");
    }
}

#[test]
fn several_keys_in_one_file() {
    let both = [dearmor(EXPIRING).unwrap(), LASTING.to_vec()].concat();
    assert_eq!(fingerprints(&both).unwrap().len(), 2);
    let twice = [EXPIRING, EXPIRING].concat();
    assert_eq!(fingerprints(&twice).unwrap().len(), 2);
}

#[test]
fn a_key_is_selected_with_its_subkeys_and_nothing_else() {
    let (lasting, expiring) = (fingerprints(LASTING).unwrap()[0], fingerprints(EXPIRING).unwrap()[0]);
    let packet = |tag: u8, body: &[u8]| [&[0xc0 | tag, body.len() as u8], body].concat();
    let subkey = [packet(TAG_PUBLIC_SUBKEY, &[4; 20]), packet(TAG_SIGNATURE, &[4; 20])].concat();
    // Trust and marker packets are no part of a key.
    let (trust, marker) = (packet(12, &[1, 2]), packet(10, b"PGP"));
    let other = dearmor(EXPIRING).unwrap();
    let file = [&marker[..], &other, LASTING, &trust, &subkey, &other, &subkey].concat();
    let own = [LASTING, &subkey[..]].concat();
    assert_eq!(select(&file, &[lasting]).unwrap(), own);
    assert_eq!(select(&own, &[lasting]).unwrap(), own, "what was selected stays as it is");
    assert_eq!(select(&file, &[expiring, lasting]).unwrap(), [&other[..], &own, &other, &subkey].concat());
    assert!(select(EXPIRING, &[lasting]).unwrap().is_empty());
    assert_eq!(select(&file[..file.len() - 1], &[lasting]), Err(Error::Truncated));
}

#[test]
fn tells_what_is_no_public_key() {
    let private = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n";
    assert_eq!(keys(private), Err(Error::PrivateKey));
    assert_eq!(keys(&[0xc5, 1, 4]), Err(Error::PrivateKey));
    for data in [&b""[..], b"<html>", b"\xff\xd8\xff\xe0", b"\xef\xbb\xbfhello", &[0xcd, 1, b'a']] {
        assert!(matches!(keys(data), Err(Error::NotAKey | Error::Truncated)), "{data:?}");
    }
    assert_eq!(keys(&[0xc6, 6, 6, 0, 0, 0, 0, 0]), Err(Error::Version(6)));
}

#[test]
fn damage_is_seen() {
    let text = String::from_utf8(EXPIRING.to_vec()).unwrap();
    let (body, tail) = text.split_at(text.len() / 2);
    let swapped = if tail.starts_with('A') { "B" } else { "A" };
    assert_eq!(keys(format!("{body}{swapped}{}", &tail[1..]).as_bytes()), Err(Error::Armor("its checksum is wrong")));
    assert_eq!(keys(body.as_bytes()), Err(Error::Unfinished));
    for length in 1..LASTING.len() {
        // Never a panic; a cut inside the first packet is an error.
        let _ = keys(&LASTING[..length]);
    }
    assert_eq!(keys(&LASTING[..20]), Err(Error::Truncated));
}

#[test]
fn fingerprints_are_read_and_shown() {
    let text = "DE15B14486CD377B9E876E1A234654DA9A296436";
    assert_eq!(text.to_lowercase().parse::<Fingerprint>().unwrap().to_string(), text);
    for bad in ["", "DE15", "DE15 B144 86CD 377B 9E87 6E1A 2346 54DA 9A29", "+E15B14486CD377B9E876E1A234654DA9A296436"]
    {
        assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintError), "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(data: Vec<u8>) {
        let _ = keys(&data);
    }
}
