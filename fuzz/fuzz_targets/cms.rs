//! Signatures and certificates: no input panics, and none signs what nobody has signed.
#![allow(unreachable_pub)]

use std::time::SystemTime;

use composefs_oci::signature::{Certificate, signers};

/// Runs one input: as certificates, as a signature, and as both, one after the other in DER.
pub fn run(data: &[u8]) {
    let _ = signers(data, b"message", &[]);
    if let Ok(certificates) = Certificate::parse_all(data) {
        for certificate in &certificates {
            let _ = (certificate.subject(), certificate.is_valid_at(SystemTime::UNIX_EPOCH));
            assert!(Certificate::parse_der(certificate.der()).is_ok_and(|again| again == *certificate));
        }
    }
    // A length in two bytes, then the certificate, then the signature.
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let Some((certificate, signature)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else { return };
    if let Ok(certificate) = Certificate::parse_der(certificate) {
        let _ = signers(signature, b"message", &[certificate]);
    }
}
