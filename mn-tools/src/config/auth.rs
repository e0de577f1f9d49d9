//! `auth`: how the node proves who it is, and where what it proves that with is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::{Psk, secret};
use crate::eap::aka_prime::Usim;
use crate::eap::{AkaCredentials, Credentials, Inner, TlsCredentials, TtlsCredentials};
use crate::tls::{IdentityFault, IdentityFiles, TrustAnchors};

mod read;

pub(super) use read::{RawAuth, auth};

/// How the node proves who it is.
#[derive(Debug)]
pub enum Auth {
    /// The pre-shared key as it is.
    Psk(Psk),
    /// The pre-shared key through EAP-GPSK.
    Gpsk(Psk),
    /// A certificate through EAP-TLS.
    Tls(TlsAuth),
    /// A password through EAP-TTLS.
    Ttls(TtlsAuth),
    /// A USIM through EAP-AKA'.
    AkaPrime(AkaAuth),
}

/// What EAP-AKA' needs.
#[derive(Debug)]
pub struct AkaAuth {
    usim: Usim,
    permanent: String,
    realm: String,
    network: Option<String>,
    pseudonyms: bool,
}

/// What EAP-TLS needs.
#[derive(Debug)]
pub struct TlsAuth {
    identity: String,
    files: IdentityFiles,
    anchors: TrustAnchors,
    server: Server,
}

/// What EAP-TTLS needs.
pub struct TtlsAuth {
    identity: String,
    config: Arc<ClientConfig>,
    server: Server,
    inner: Inner,
    user: String,
    password: Password,
}

/// Never printed; wiped on drop.
enum Password {
    Known(Zeroizing<Vec<u8>>),
    /// Its first line, read for each bootstrap.
    File(PathBuf),
}

impl fmt::Debug for TtlsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, server, inner, user, .. } = self;
        f.debug_struct("TtlsAuth")
            .field("identity", identity)
            .field("server", server)
            .field("inner", inner)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// Who the EAP server is.
#[derive(Debug)]
struct Server {
    name: ServerName<'static>,
    mtu: usize,
}

/// What keeps a bootstrap from starting, and the file that it is about.
#[derive(Debug)]
pub struct CredentialError {
    path: PathBuf,
    what: &'static str,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

impl std::error::Error for CredentialError {}

impl Auth {
    /// What the node proves who it is with, read anew where it is in files that may be replaced
    /// while it runs. `now` in Unix seconds.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn credentials(&self, now: u64) -> Result<Credentials<'_>, CredentialError> {
        match self {
            Self::Psk(psk) => Ok(Credentials::Psk(psk.octets())),
            Self::Gpsk(psk) => Ok(Credentials::Gpsk(psk.octets())),
            Self::Tls(tls) => tls.credentials(now).map_err(|fault| CredentialError {
                path: tls.files.blamed(fault).to_owned(),
                what: in_words(fault),
            }),
            Self::Ttls(ttls) => ttls.credentials().map(Credentials::Ttls),
            Self::AkaPrime(aka) => aka.credentials().map(Credentials::AkaPrime),
        }
    }
}

impl TlsAuth {
    fn credentials(&self, now: u64) -> Result<Credentials<'_>, IdentityFault> {
        let config = self.files.client(&self.anchors)?;
        self.files.check_validity(now)?;
        Ok(Credentials::Tls(TlsCredentials {
            identity: self.identity.clone(),
            config,
            server_name: self.server.name.clone(),
            mtu: self.server.mtu,
        }))
    }
}

impl TtlsAuth {
    fn credentials(&self) -> Result<TtlsCredentials, CredentialError> {
        let password = match &self.password {
            Password::Known(password) => password.clone(),
            Password::File(path) => secret::text_in(path).map_err(|_| CredentialError {
                path: path.clone(),
                what: "can't be read as a password",
            })?,
        };
        Ok(TtlsCredentials {
            identity: self.identity.clone(),
            config: Arc::clone(&self.config),
            server_name: self.server.name.clone(),
            mtu: self.server.mtu,
            inner: self.inner,
            user: self.user.clone(),
            password,
        })
    }
}

impl AkaAuth {
    fn credentials(&self) -> Result<AkaCredentials<'_>, CredentialError> {
        let pseudonym = match self.pseudonyms {
            true => self.usim.take_pseudonym(),
            false => self.usim.check().map(|()| None),
        };
        let pseudonym = pseudonym.map_err(|_| CredentialError {
            path: self.usim.state().to_owned(),
            what: "can't be read or written; without it the USIM begins anew",
        })?;
        let identity = pseudonym.map(|name| format!("{name}@{}", self.realm));
        Ok(AkaCredentials {
            usim: &self.usim,
            identity: identity.unwrap_or_else(|| self.permanent.clone()),
            permanent: self.permanent.clone(),
            network: self.network.clone(),
            pseudonyms: self.pseudonyms,
        })
    }
}

const fn in_words(fault: IdentityFault) -> &'static str {
    match fault {
        IdentityFault::Certificate => "can't be read as PEM certificates",
        IdentityFault::Key => "can't be read as a PEM private key",
        IdentityFault::KeyKind => "holds a key that TLS can't use; an RSA or ECDSA key would do",
        IdentityFault::Mismatch => "is not the certificate of the configured key",
        IdentityFault::Expired => "has expired; put a new certificate there",
        IdentityFault::NotYetValid => "is not valid yet (or the clock here is wrong)",
    }
}

#[cfg(test)]
mod tests;
