//! The few DER encodings that turn kubeadm's traditional key formats (RFC 8017, RFC 5915) into PKCS#8 (RFC 5958), which
//! is the only one that the signer reads.

use zeroize::Zeroizing;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// AlgorithmIdentifier of rsaEncryption, with the NULL parameters that RFC 8017 requires.
const RSA: &[u8] = &[0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0];
/// AlgorithmIdentifier of id-ecPublicKey on secp256r1.
const EC_P256: &[u8] =
    &[0x30, 19, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// AlgorithmIdentifier of id-ecPublicKey on secp384r1.
const EC_P384: &[u8] = &[0x30, 16, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 5, 0x2b, 0x81, 0x04, 0, 34];

/// What a private key is for; a PKCS#8 envelope names it outside of the key.
#[derive(Clone, Copy)]
pub(super) enum Algorithm {
    Rsa,
    EcP256,
    EcP384,
}

/// Wraps a PKCS#1 or SEC 1 private key into PKCS#8, version 1.
pub(super) fn pkcs8(algorithm: Algorithm, key: &[u8]) -> Zeroizing<Vec<u8>> {
    let identifier = match algorithm {
        Algorithm::Rsa => RSA,
        Algorithm::EcP256 => EC_P256,
        Algorithm::EcP384 => EC_P384,
    };
    let key = tagged(OCTET_STRING, key);
    sequence(&[&integer(&[]), identifier, &key])
}

/// A SEQUENCE of values that are encoded already.
pub(super) fn sequence(values: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let content = Zeroizing::new(values.concat());
    tagged(SEQUENCE, &content)
}

/// A non-negative INTEGER from its big-endian bytes; leading zeros are dropped, none at all means 0.
pub(super) fn integer(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let significant = &bytes[start..];
    let mut content = Zeroizing::new(Vec::with_capacity(significant.len() + 1));
    // A set top bit would make the number negative; zero itself takes one byte.
    if significant.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(significant);
    tagged(INTEGER, &content)
}

fn tagged(tag: u8, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(content.len() + 6));
    out.push(tag);
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        let length = content.len().to_be_bytes();
        let start = length.iter().position(|byte| *byte != 0).unwrap_or(0);
        out.push(0x80 | (length.len() - start) as u8);
        out.extend_from_slice(&length[start..]);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_never_negative() {
        assert_eq!(*integer(&[]), [2, 1, 0]);
        assert_eq!(*integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(*integer(&[0, 1]), [2, 1, 1]);
        assert_eq!(*integer(&[0x7f]), [2, 1, 0x7f]);
        assert_eq!(*integer(&[0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn lengths_take_the_long_form_from_128_on() {
        assert_eq!(tagged(OCTET_STRING, &[7; 127])[..2], [4, 127]);
        assert_eq!(tagged(OCTET_STRING, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tagged(OCTET_STRING, &[7; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }
}
