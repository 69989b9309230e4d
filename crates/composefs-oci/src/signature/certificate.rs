//! X.509 certificates, as much of them as checking a signature needs. No chain is followed: who is trusted is named.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::der::{self, DerError, Reader};

/// The most certificates of one file.
const CERTIFICATES_MAX: usize = 256;
/// Begins and ends a certificate in PEM.
const PEM: [&str; 2] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];
/// The extension with the identifier of the subject's key: 2.5.29.14.
const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 0x0e];
/// `rsaEncryption`
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `prime256v1`
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(super) der: Vec<u8>,
    /// The issuer's name, whole.
    pub(super) issuer: Vec<u8>,
    /// The serial number, whole.
    pub(super) serial: Vec<u8>,
    subject: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
    pub(super) key: PublicKey,
    /// The identifier of the key, if it is in the certificate.
    pub(super) key_id: Option<Vec<u8>>,
}

/// What a certificate is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    /// As ring takes it: of RSA modulus and exponent in DER, else the point.
    pub(super) bytes: Vec<u8>,
}

/// Which algorithm a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    P384,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is not one.
    #[error("no certificate: {0}")]
    Der(#[from] DerError),
    /// PEM that is none, or has no certificate in it.
    #[error("no certificate in PEM or DER")]
    Pem,
    /// More than anybody needs.
    #[error("more than {CERTIFICATES_MAX} certificates")]
    TooMany,
    /// A key of another kind than RSA and the curves P-256 and P-384.
    #[error("a key that is neither RSA nor of the curves P-256 and P-384")]
    Key,
}

impl Certificate {
    /// Reads the certificates of a file, in PEM or one in DER; at least one.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if bytes.first() == Some(&der::SEQUENCE) {
            return Self::parse_der(bytes).map(|one| vec![one]);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| CertificateError::Pem)?;
        let [begin, end] = PEM;
        let mut all = Vec::new();
        for part in text.split(begin).skip(1) {
            let (base64, _) = part.split_once(end).ok_or(CertificateError::Pem)?;
            let base64: String = base64.split_ascii_whitespace().collect();
            if all.len() == CERTIFICATES_MAX {
                return Err(CertificateError::TooMany);
            }
            let der = STANDARD.decode(base64).map_err(|_| CertificateError::Pem)?;
            all.push(Self::parse_der(&der)?);
        }
        if all.is_empty() { Err(CertificateError::Pem) } else { Ok(all) }
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut file = Reader::new(bytes);
        let mut whole = file.inside(der::SEQUENCE, "certificate")?;
        file.finish("what follows the certificate")?;
        let mut fields = whole.inside(der::SEQUENCE, "signed part of the certificate")?;
        fields.optional(der::context(0), "version")?;
        let serial = fields.expect(der::INTEGER, "serial number")?.whole.to_vec();
        fields.expect(der::SEQUENCE, "algorithm")?;
        let issuer = fields.expect(der::SEQUENCE, "issuer")?.whole.to_vec();
        let mut validity = fields.inside(der::SEQUENCE, "validity")?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = fields.expect(der::SEQUENCE, "subject")?.whole.to_vec();
        let key = PublicKey::read(fields.inside(der::SEQUENCE, "public key")?)?;
        fields.optional(0x81, "issuer's identifier")?;
        fields.optional(0x82, "subject's identifier")?;
        let extensions = fields.optional(der::context(3), "extensions")?;
        let key_id = extensions.map(|value| key_id(value.contents)).transpose()?.flatten();
        let der = bytes.to_vec();
        Ok(Self { der, issuer, serial, subject, not_before, not_after, key, key_id })
    }

    /// Returns the bytes, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Tells whether it counts at a moment.
    #[must_use]
    pub fn is_valid_at(&self, moment: SystemTime) -> bool {
        self.not_before <= moment && moment <= self.not_after
    }

    /// Returns the SHA-256 of its bytes, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        crate::digest::Digest::sha256(&self.der).encoded().to_owned()
    }

    /// Returns the subject's names in words: the values of its name, without their types.
    #[must_use]
    pub fn subject(&self) -> String {
        names(&self.subject).unwrap_or_default().join(", ")
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("subject", &self.subject()).finish_non_exhaustive()
    }
}

impl PublicKey {
    fn read(mut fields: Reader<'_>) -> Result<Self, CertificateError> {
        let mut algorithm = fields.inside(der::SEQUENCE, "algorithm of the key")?;
        let oid = algorithm.expect(der::OID, "algorithm of the key")?.contents;
        let kind = if oid == RSA {
            KeyKind::Rsa
        } else if oid == EC {
            match algorithm.expect(der::OID, "curve")?.contents {
                P256 => KeyKind::P256,
                P384 => KeyKind::P384,
                _ => return Err(CertificateError::Key),
            }
        } else {
            return Err(CertificateError::Key);
        };
        match fields.expect(der::BIT_STRING, "key")?.contents {
            [0, bytes @ ..] => Ok(Self { kind, bytes: bytes.to_vec() }),
            _ => Err(DerError("key").into()),
        }
    }
}

/// Finds the identifier of the subject's key.
fn key_id(extensions: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    let mut all = Reader::new(extensions).inside(der::SEQUENCE, "extensions")?;
    while !all.is_empty() {
        let mut extension = all.inside(der::SEQUENCE, "extension")?;
        let oid = extension.expect(der::OID, "extension")?.contents;
        extension.optional(der::BOOLEAN, "extension")?;
        let value = extension.expect(der::OCTET_STRING, "extension")?.contents;
        if oid == SUBJECT_KEY {
            let id = Reader::new(value).expect(der::OCTET_STRING, "identifier of the key")?;
            return Ok(Some(id.contents.to_vec()));
        }
    }
    Ok(None)
}

/// The values of a name.
fn names(name: &[u8]) -> Result<Vec<String>, DerError> {
    let mut sets = Reader::new(name).inside(der::SEQUENCE, "name")?;
    let mut all = Vec::new();
    while !sets.is_empty() {
        let mut set = sets.inside(der::SET, "name")?;
        while !set.is_empty() {
            let mut pair = set.inside(der::SEQUENCE, "name")?;
            pair.expect(der::OID, "name")?;
            let text = String::from_utf8_lossy(pair.any("name")?.contents);
            // It goes to a terminal.
            all.push(text.chars().filter(|c| !c.is_control()).collect());
        }
    }
    Ok(all)
}

/// Reads `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time(fields: &mut Reader<'_>) -> Result<SystemTime, DerError> {
    let error = DerError("time");
    let value = fields.any("time")?;
    let digits = value.contents.strip_suffix(b"Z").ok_or(error)?;
    let expected = match value.tag {
        der::UTC_TIME => 12,
        der::GENERALIZED_TIME => 14,
        _ => return Err(error),
    };
    if digits.len() != expected || !digits.iter().all(u8::is_ascii_digit) {
        return Err(error);
    }
    let two = |at: usize| -> Option<i64> {
        let [high, low] = digits.get(at..at + 2)?.try_into().ok()?;
        Some(i64::from(high - b'0') * 10 + i64::from(low - b'0'))
    };
    let year = match expected {
        12 => two(0).map(|year| if year < 50 { 2000 + year } else { 1900 + year }),
        _ => two(0).zip(two(2)).map(|(high, low)| high * 100 + low),
    };
    let [month, day, hour, minute, second] =
        [10, 8, 6, 4, 2].map(|before_end| two(expected - before_end).unwrap_or_default());
    let in_range =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    let days = days_since_1970(year.filter(|_| in_range).ok_or(error)?, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.ok_or(error)
}

/// Counts days in the Gregorian calendar; years begin with March, so that a leap day is their last.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (century_cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    century_cycle * 146_097 + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year
        - 719_468
}
