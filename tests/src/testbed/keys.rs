//! The secrets of one control plane: the key pair that signs service account tokens, and random tokens.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use uuid::Uuid;

/// What comes before the point in the SubjectPublicKeyInfo of an uncompressed P-256 key (RFC 5480).
const P256_PUBLIC_KEY_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Writes a new key pair in PEM: the private key as PKCS#8, the public key as SubjectPublicKeyInfo.
pub(super) fn write_signing_keys(private: &Path, public: &Path) -> anyhow::Result<()> {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
        .map_err(|_| anyhow!("no random numbers for the service account key"))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
        .map_err(|error| anyhow!("reading the service account key back: {error}"))?;
    let public_key = [&P256_PUBLIC_KEY_PREFIX, pair.public_key().as_ref()].concat();
    write(private, &pem("PRIVATE KEY", document.as_ref()))?;
    write(public, &pem("PUBLIC KEY", &public_key))
}

pub(crate) fn random_token() -> String {
    Uuid::new_v4().simple().to_string()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, remainder) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = remainder;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The last certificate of a PEM bundle, in DER: the authority, where the bundle starts with the server's.
pub(super) fn last_certificate(bundle: &str) -> anyhow::Result<Vec<u8>> {
    let (_, rest) = bundle.rsplit_once("-----BEGIN CERTIFICATE-----").context("no certificate")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").context("a certificate without its end")?;
    BASE64_STANDARD.decode(body.split_whitespace().collect::<String>()).context("a certificate not in base64")
}

pub(super) fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_certificate_of_a_bundle_is_taken() {
        let bundle = [certificate_pem(b"server"), certificate_pem(b"authority")].concat();
        assert_eq!(last_certificate(&bundle).expect("well-formed"), b"authority");
    }
}
