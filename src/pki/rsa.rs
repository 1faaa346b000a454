//! RSA key generation, which the signer (ring) has not got.
//!
//! Only primes and arithmetic: the key never signs or decrypts here, and ring checks the components against each other
//! (FIPS 186-5's pairwise tests among them) when it loads the result.

use crypto_bigint::{BoxedUint, ConcatenatingMul, Gcd, Odd, Resize};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use zeroize::{Zeroize, Zeroizing};

use super::der;

const PUBLIC_EXPONENT: u64 = 65_537;
/// FIPS 186-5, A.1.1: the primes differ within their first 100 bits, so that n can't be factored from its square root.
const DIFFERENT_WITHIN: u32 = 100;

/// A new key as PKCS#1 (RFC 8017, A.1.2). `bits` is the modulus' length: 2048, 3072 or 4096.
pub(super) fn generate(bits: u32) -> Result<Zeroizing<Vec<u8>>, String> {
    loop {
        let (a, b) = (prime(bits / 2)?, prime(bits / 2)?);
        let (p, q) = if a > b { (a, b) } else { (b, a) };
        if p.wrapping_sub(&q).bits_vartime() <= bits / 2 - DIFFERENT_WITHIN {
            continue;
        }
        // None is about one pair in 30,000: the public exponent divides p − 1 or q − 1.
        if let Some(key) = encode(p, q) {
            return Ok(key);
        }
    }
}

/// A random prime of exactly `bits` bits with the two highest set, so that two of them make a modulus of full length.
fn prime(bits: u32) -> Result<BoxedUint, String> {
    let candidates =
        SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb).map_err(|error| error.to_string())?;
    sieve_and_find(&mut rand::rng(), candidates, |_, candidate| is_prime(Flavor::Any, candidate))
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "no prime found".into())
}

/// Derives the other components from the primes p > q.
fn encode(mut p: BoxedUint, mut q: BoxedUint) -> Option<Zeroizing<Vec<u8>>> {
    let one = BoxedUint::one();
    let p_less_one = p.wrapping_sub(&one).to_nz().into_option()?;
    let q_less_one = q.wrapping_sub(&one).to_nz().into_option()?;
    let common = p_less_one.as_ref().gcd(q_less_one.as_ref()).to_nz().into_option()?;
    let mut product = p_less_one.as_ref().concatenating_mul(q_less_one.as_ref());
    let lambda = product.div_rem(&common).0.to_nz().into_option()?;

    let n = p.concatenating_mul(&q);
    let e = BoxedUint::from(PUBLIC_EXPONENT).resize(lambda.bits_precision());
    let mut d = e.invert_mod(&lambda).into_option()?;
    let mut d_p = d.rem(&p_less_one);
    let mut d_q = d.rem(&q_less_one);
    let mut q_inverse = q.invert_odd_mod(&Odd::new(p.clone()).into_option()?).into_option()?;

    let integer = |number: &BoxedUint| der::integer(&Zeroizing::new(number.to_be_bytes()));
    let parts = [&n, &e, &d, &p, &q, &d_p, &d_q, &q_inverse].map(integer);
    let version = der::integer(&[]);
    let mut fields: Vec<&[u8]> = vec![&version];
    fields.extend(parts.iter().map(|part| part.as_slice()));
    let key = der::sequence(&fields);
    for secret in [&mut p, &mut q, &mut product, &mut d, &mut d_p, &mut d_q, &mut q_inverse] {
        secret.zeroize();
    }
    Some(key)
}
