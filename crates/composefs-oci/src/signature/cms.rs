//! The CMS: SignedData of version 1, detached, without signed attributes.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::{
    certificate::{Certificate, KeyKind, RSA},
    der::{self, DerError, Reader, write},
    key::{KeyError, SigningKey},
};
use crate::seal::annotation::SIGNATURE_MAX;

/// `id-signedData`
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `id-data`
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// The most signers of one signature.
const SIGNERS_MAX: usize = 16;

/// The hash of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

impl Hash {
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            Self::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            Self::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        }
    }

    /// `ecdsa-with-SHA…`
    const fn ecdsa(self) -> &'static [u8] {
        match self {
            Self::Sha256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
            Self::Sha384 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
            Self::Sha512 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        }
    }

    /// `sha…WithRSAEncryption`
    const fn rsa(self) -> &'static [u8] {
        match self {
            Self::Sha256 => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
            Self::Sha384 => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
            Self::Sha512 => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        }
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CmsError {
    /// It is not one.
    #[error("no signature: {0}")]
    Der(#[from] DerError),
    /// It is larger than the kernel takes.
    #[error("a signature of {0} bytes, more than {SIGNATURE_MAX}")]
    TooLarge(usize),
    /// It is more than a detached signature of bytes: contents or signed attributes are in it.
    #[error("{0} in the signature, which the kernel does not take")]
    Surplus(&'static str),
    /// A hash or an algorithm that is not known, or does not go with the key.
    #[error("the signature's algorithm is not known or not that of its key")]
    Algorithm,
    /// It has no signer, or more than anybody needs.
    #[error("{0} signers")]
    Signers(usize),
    /// None of the certificates is the signer's.
    #[error("signed by a key that is not among the certificates")]
    Stranger,
    /// It is of something else.
    #[error("the signature is not of this digest")]
    Wrong,
    /// The key does not belong to the certificate.
    #[error("the key is not that of the certificate {0}")]
    OtherKey(String),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Signs a message; of SHA-512 with `sha512`, else of SHA-256, where the key leaves that choice. The certificate is
/// named, not included, as by `fsverity sign`, whose bytes these are for RSA.
///
/// # Errors
/// [`CmsError::OtherKey`], [`CmsError::Key`].
pub fn sign(
    message: &[u8],
    key: &SigningKey,
    certificate: &Certificate,
    sha512: bool,
) -> Result<Vec<u8>, CmsError> {
    sign_all(message, &[(key, certificate)], sha512)
}

/// Signs a message as [`sign`], with several keys: whoever checks it, the kernel too, asks all of them to be known.
///
/// # Errors
/// [`CmsError::OtherKey`], [`CmsError::Key`]; [`CmsError::Signers`] for none or too many; [`CmsError::TooLarge`].
pub fn sign_all(
    message: &[u8],
    signers: &[(&SigningKey, &Certificate)],
    sha512: bool,
) -> Result<Vec<u8>, CmsError> {
    if signers.is_empty() || signers.len() > SIGNERS_MAX {
        return Err(CmsError::Signers(signers.len()));
    }
    let version: &[u8] = &[der::INTEGER, 1, 1];
    let null: &[u8] = &[der::NULL, 0];
    let oid = |oid: &[u8]| write(der::OID, &[oid]);
    let (mut hashes, mut infos) = (Vec::new(), Vec::new());
    for (key, certificate) in signers {
        if !key.is_of(&certificate.key) {
            return Err(CmsError::OtherKey(certificate.subject()));
        }
        let hash = key.hash(if sha512 { Hash::Sha512 } else { Hash::Sha256 });
        let value = key.sign(message, hash)?;
        let digest_algorithm = write(der::SEQUENCE, &[&oid(hash.oid()), null]);
        let algorithm = match certificate.key.kind {
            KeyKind::Rsa => write(der::SEQUENCE, &[&oid(RSA), null]),
            KeyKind::P256 | KeyKind::P384 => write(der::SEQUENCE, &[&oid(hash.ecdsa())]),
        };
        infos.push(write(
            der::SEQUENCE,
            &[
                version,
                &write(der::SEQUENCE, &[&certificate.issuer, &certificate.serial]),
                &digest_algorithm,
                &algorithm,
                &write(der::OCTET_STRING, &[&value]),
            ],
        ));
        hashes.push(digest_algorithm);
    }
    // The members of a set stand in the order of their bytes.
    hashes.sort();
    hashes.dedup();
    infos.sort();
    let signed = write(
        der::SEQUENCE,
        &[
            version,
            &write(der::SET, &[&hashes.concat()]),
            &write(der::SEQUENCE, &[&oid(DATA)]),
            &write(der::SET, &[&infos.concat()]),
        ],
    );
    let whole = write(der::SEQUENCE, &[&oid(SIGNED_DATA), &write(der::context(0), &[&signed])]);
    if whole.len() > SIGNATURE_MAX { Err(CmsError::TooLarge(whole.len())) } else { Ok(whole) }
}

/// Checks a signature of a message, and returns the certificates of its signers: all of them must be among those given,
/// as the kernel asks it. Certificates in the signature are not looked at.
///
/// # Errors
/// [`CmsError`].
pub fn signers<'c>(
    signature: &[u8],
    message: &[u8],
    certificates: &'c [Certificate],
) -> Result<Vec<&'c Certificate>, CmsError> {
    let infos = parse(signature)?;
    infos.iter().map(|info| info.check(message, certificates)).collect()
}

/// One signer.
struct SignerInfo<'a> {
    /// Issuer and serial number, or the identifier of the key.
    who: Who<'a>,
    hash: Hash,
    algorithm: &'a [u8],
    value: &'a [u8],
}

enum Who<'a> {
    Serial { issuer: &'a [u8], serial: &'a [u8] },
    Key(&'a [u8]),
}

fn parse(bytes: &[u8]) -> Result<Vec<SignerInfo<'_>>, CmsError> {
    if bytes.len() > SIGNATURE_MAX {
        return Err(CmsError::TooLarge(bytes.len()));
    }
    let mut file = Reader::new(bytes);
    let mut whole = file.inside(der::SEQUENCE, "signature")?;
    file.finish("what follows the signature")?;
    if whole.expect(der::OID, "type")?.contents != SIGNED_DATA {
        return Err(DerError("type").into());
    }
    let mut explicit = whole.inside(der::context(0), "signed data")?;
    whole.finish("what follows the signed data")?;
    let mut fields = explicit.inside(der::SEQUENCE, "signed data")?;
    fields.expect(der::INTEGER, "version")?;
    fields.expect(der::SET, "hashes")?;
    let mut content = fields.inside(der::SEQUENCE, "contents")?;
    if content.expect(der::OID, "contents")?.contents != DATA {
        return Err(DerError("type of the contents").into());
    }
    if !content.is_empty() {
        return Err(CmsError::Surplus("contents"));
    }
    fields.optional(der::context(0), "certificates")?;
    fields.optional(der::context(1), "revocations")?;
    let mut set = fields.inside(der::SET, "signers")?;
    fields.finish("what follows the signers")?;
    let mut infos = Vec::new();
    while !set.is_empty() {
        if infos.len() == SIGNERS_MAX {
            return Err(CmsError::Signers(SIGNERS_MAX + 1));
        }
        infos.push(SignerInfo::read(set.inside(der::SEQUENCE, "signer")?)?);
    }
    if infos.is_empty() { Err(CmsError::Signers(0)) } else { Ok(infos) }
}

impl<'a> SignerInfo<'a> {
    fn read(mut fields: Reader<'a>) -> Result<Self, CmsError> {
        fields.expect(der::INTEGER, "version of a signer")?;
        let who = match fields.optional(0x80, "signer's key")? {
            Some(id) => Who::Key(id.contents),
            None => {
                let mut who = fields.inside(der::SEQUENCE, "signer's name")?;
                let issuer = who.expect(der::SEQUENCE, "issuer")?.whole;
                Who::Serial { issuer, serial: who.expect(der::INTEGER, "serial number")?.whole }
            }
        };
        let mut hash = fields.inside(der::SEQUENCE, "hash")?;
        let oid = hash.expect(der::OID, "hash")?.contents;
        let hash = HASHES.into_iter().find(|hash| hash.oid() == oid).ok_or(CmsError::Algorithm)?;
        if fields.optional(der::context(0), "signed attributes")?.is_some() {
            return Err(CmsError::Surplus("signed attributes"));
        }
        let algorithm = fields.inside(der::SEQUENCE, "algorithm")?.expect(der::OID, "algorithm")?.contents;
        let value = fields.expect(der::OCTET_STRING, "value")?.contents;
        fields.optional(der::context(1), "unsigned attributes")?;
        fields.finish("what follows a signer")?;
        Ok(Self { who, hash, algorithm, value })
    }

    fn check<'c>(
        &self,
        message: &[u8],
        certificates: &'c [Certificate],
    ) -> Result<&'c Certificate, CmsError> {
        let mut named = certificates.iter().filter(|certificate| match self.who {
            Who::Serial { issuer, serial } => certificate.issuer == issuer && certificate.serial == serial,
            Who::Key(id) => certificate.key_id.as_deref() == Some(id),
        });
        // Somebody may have made another certificate of the same name and number.
        let mut error = CmsError::Stranger;
        let good = named.find(|certificate| match self.is_by(certificate, message) {
            Ok(()) => true,
            Err(reason) => {
                error = reason;
                false
            }
        });
        good.ok_or(error)
    }

    fn is_by(&self, certificate: &Certificate, message: &[u8]) -> Result<(), CmsError> {
        let key = &certificate.key;
        let (oids, algorithm): ([&[u8]; 2], &dyn VerificationAlgorithm) = match (key.kind, self.hash) {
            (KeyKind::Rsa, Hash::Sha256) => ([RSA, self.hash.rsa()], &RSA_PKCS1_2048_8192_SHA256),
            (KeyKind::Rsa, Hash::Sha384) => ([RSA, self.hash.rsa()], &RSA_PKCS1_2048_8192_SHA384),
            (KeyKind::Rsa, Hash::Sha512) => ([RSA, self.hash.rsa()], &RSA_PKCS1_2048_8192_SHA512),
            (KeyKind::P256, Hash::Sha256) => ([self.hash.ecdsa(); 2], &ECDSA_P256_SHA256_ASN1),
            (KeyKind::P256, Hash::Sha384) => ([self.hash.ecdsa(); 2], &ECDSA_P256_SHA384_ASN1),
            (KeyKind::P384, Hash::Sha256) => ([self.hash.ecdsa(); 2], &ECDSA_P384_SHA256_ASN1),
            (KeyKind::P384, Hash::Sha384) => ([self.hash.ecdsa(); 2], &ECDSA_P384_SHA384_ASN1),
            (KeyKind::P256 | KeyKind::P384, Hash::Sha512) => return Err(CmsError::Algorithm),
        };
        if !oids.contains(&self.algorithm) {
            return Err(CmsError::Algorithm);
        }
        let public = UnparsedPublicKey::new(algorithm, &key.bytes);
        public.verify(message, self.value).map_err(|_| CmsError::Wrong)
    }
}
