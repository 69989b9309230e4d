//! Files of credentials in all three forms: no input panics, and no error or `Debug` shows what they hold.
#![allow(unreachable_pub)]

use composefs_oci::credentials::{
    Credentials,
    auth_file::{AuthFile, Form, Found},
};

/// What may be in a file and never be shown.
const MARK: &str = "geheim";

/// Runs one input.
pub fn run(data: &[u8]) {
    for form in [Form::Containers, Form::Docker, Form::DockerOld] {
        let file = match AuthFile::parse(data, form) {
            Ok(file) => file,
            Err(error) => {
                assert!(!format!("{error} {error:?}").contains(MARK));
                continue;
            }
        };
        for name in ["h.io", "h.io:5000/a/b", "docker.io/library/debian", "", "/", "a//b/"] {
            match file.find(name) {
                Ok(Some(Found::Credentials(credentials))) => {
                    let (Credentials::Basic { password: secret, .. } | Credentials::IdentityToken(secret)) =
                        &credentials;
                    // A user of that name may be shown.
                    if secret.expose().contains("geheim-secret") {
                        assert!(!format!("{credentials:?}").contains("geheim-secret"));
                    }
                    if let Some(header) = credentials.authorization() {
                        assert!(header.expose().starts_with("Basic "));
                    }
                }
                Ok(_) => {}
                // Keys are named, and they are no secrets.
                Err(error) => drop(error.to_string()),
            }
        }
    }
}
