//! Private keys: read, and used for nothing but signing.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pkcs8::EncryptedPrivateKeyInfoRef;
use ring::{
    rand::SystemRandom,
    signature::{
        self as ring_signature, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
    },
};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::retry_on_intr,
};
use zeroize::Zeroizing;

use super::{
    certificate::{Certificate, KeyKind, PublicKey},
    cms::Hash,
};
use crate::credentials::Secret;

/// The largest file with a key, in bytes.
const FILE_MAX: usize = 64 << 10;

/// A private key.
pub struct SigningKey {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
}

/// Why a key cannot be used. Nothing of a key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file that cannot be read.
    #[error("{0}")]
    Read(String),
    /// No private key in PEM.
    #[error("no private key in PEM (PKCS#8, or RSA's own form)")]
    Form,
    /// It is encrypted, and there was no password.
    #[error("the key is protected by a password")]
    NeedsPassword,
    /// The password does not open it, or it is encrypted in a way that is not known.
    #[error("the key cannot be decrypted: the password is wrong, or the encryption unknown")]
    Decrypt,
    /// A key of another kind, too short or too long.
    #[error("the key is neither RSA of 2048 to 4096 bits nor of the curves P-256 and P-384")]
    Kind,
    /// Signing did not work.
    #[error("the key does not sign")]
    Sign,
}

impl SigningKey {
    /// Reads a key in PEM; `password` opens one that is encrypted.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(pem: &[u8], password: Option<&Secret>) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(pem).map_err(|_| KeyError::Form)?;
        let (label, der) = first_key(text)?;
        match label {
            "PRIVATE KEY" => Self::of_pkcs8(&der),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der)
                .map(|pair| Self::of(Pair::Rsa(Box::new(pair))))
                .map_err(|_| KeyError::Kind),
            "ENCRYPTED PRIVATE KEY" => {
                let password = password.ok_or(KeyError::NeedsPassword)?;
                let info = EncryptedPrivateKeyInfoRef::try_from(&der[..]).map_err(|_| KeyError::Form)?;
                let document = info.decrypt(password.expose()).map_err(|_| KeyError::Decrypt)?;
                // With padding that fits by chance a wrong password gives bytes that are no key.
                Self::of_pkcs8(document.as_bytes()).map_err(|_| KeyError::Decrypt)
            }
            _ => Err(KeyError::Form),
        }
    }

    /// Reads a key from a file, in PEM; `password` opens one that is encrypted.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::Read`] also for a file of more than 64 KiB.
    pub fn read(path: &Path, password: Option<&Secret>) -> Result<Self, KeyError> {
        let read = |error: io::Error| KeyError::Read(error.to_string());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd =
            retry_on_intr(|| openat(CWD, path, flags, Mode::empty())).map_err(|errno| read(errno.into()))?;
        // Of one size from the beginning: what grows leaves copies behind.
        let mut room = Zeroizing::new(vec![0_u8; FILE_MAX + 1]);
        let (mut file, mut size) = (File::from(fd), 0);
        while let Some(rest) = room.get_mut(size..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(got) => size += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read(error)),
            }
        }
        match room.get(..size) {
            Some(pem) if size <= FILE_MAX => Self::parse(pem, password),
            _ => Err(KeyError::Read(format!("more than {FILE_MAX} bytes"))),
        }
    }

    fn of(pair: Pair) -> Self {
        Self { pair, random: SystemRandom::new() }
    }

    fn of_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
            return Ok(Self::of(Pair::Rsa(Box::new(pair))));
        }
        let random = SystemRandom::new();
        let curve = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &random).map(Box::new);
        if let Ok(pair) = curve(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            return Ok(Self::of(Pair::P256(pair)));
        }
        let pair = curve(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(|_| KeyError::Kind)?;
        Ok(Self::of(Pair::P384(pair)))
    }

    /// Tells whether a certificate is of this key.
    #[must_use]
    pub fn has(&self, certificate: &Certificate) -> bool {
        self.is_of(&certificate.key)
    }

    pub(super) fn is_of(&self, public: &PublicKey) -> bool {
        let (kind, bytes) = match &self.pair {
            Pair::Rsa(pair) => (KeyKind::Rsa, pair.public_key().as_ref()),
            Pair::P256(pair) => (KeyKind::P256, pair.public_key().as_ref()),
            Pair::P384(pair) => (KeyKind::P384, pair.public_key().as_ref()),
        };
        kind == public.kind && bytes == public.bytes
    }

    /// Returns the hash that its signatures are over: the wanted one where the key leaves a choice.
    pub(super) const fn hash(&self, wanted: Hash) -> Hash {
        match self.pair {
            Pair::Rsa(_) => wanted,
            Pair::P256(_) => Hash::Sha256,
            Pair::P384(_) => Hash::Sha384,
        }
    }

    pub(super) fn sign(&self, message: &[u8], hash: Hash) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn ring_signature::RsaEncoding = match hash {
                    Hash::Sha256 => &RSA_PKCS1_SHA256,
                    Hash::Sha512 => &RSA_PKCS1_SHA512,
                    Hash::Sha384 => return Err(KeyError::Sign),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &self.random, message, &mut signature).map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
            Pair::P256(pair) | Pair::P384(pair) => {
                let signature = pair.sign(&self.random, message).map_err(|_| KeyError::Sign)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// The kind alone.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.pair {
            Pair::Rsa(_) => "SigningKey(RSA)",
            Pair::P256(_) => "SigningKey(P-256)",
            Pair::P384(_) => "SigningKey(P-384)",
        })
    }
}

/// Finds the first private key: its label and its bytes. Parameters of curves may stand before it.
fn first_key(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), KeyError> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyError::Form)?;
        if label.ends_with("PRIVATE KEY") {
            let (body, _) = after.split_once("-----END ").ok_or(KeyError::Form)?;
            let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
            base64.extend(body.split_ascii_whitespace());
            let der = STANDARD.decode(base64.as_bytes()).map_err(|_| KeyError::Form)?;
            return Ok((label, Zeroizing::new(der)));
        }
        rest = after;
    }
    Err(KeyError::Form)
}
