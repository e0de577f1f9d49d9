//! Certificates for one lab: made afresh at every `up`, worth nothing outside it.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::error::{Result, file};

/// A certificate authority that exists for one lab (ECDSA P-256).
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// What a server certificate says.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// The subject's common name, which no mobile node looks at.
    pub common_name: &'a str,
    /// dNSName and iPAddress entries; empty for a certificate that R-1 refuses.
    pub alt_names: &'a [&'a str],
}

impl Authority {
    /// A new authority of this common name.
    ///
    /// # Errors
    /// Where the generator of keys fails.
    pub fn new(common_name: &str) -> Result<Self> {
        let mut params = parameters(common_name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Writes the authority's certificate as PEM.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_certificate(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.certificate).map_err(file(path))
    }

    /// Issues a server certificate and writes it and its key as PEM.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_server(&self, server: Server<'_>, certificate: &Path, key: &Path) -> Result<()> {
        self.write(server, ExtendedKeyUsagePurpose::ServerAuth, (certificate, key))
    }

    /// Issues the certificate of a client with this dNSName and writes it and its key as PEM.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_client(&self, name: &str, certificate: &Path, key: &Path) -> Result<()> {
        let client = Server { common_name: "x", alt_names: &[name] };
        self.write(client, ExtendedKeyUsagePurpose::ClientAuth, (certificate, key))
    }

    fn write(
        &self,
        who: Server<'_>,
        usage: ExtendedKeyUsagePurpose,
        (certificate, key): (&Path, &Path),
    ) -> Result<()> {
        let mut params = parameters(who.common_name, who.alt_names)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let pair = KeyPair::generate()?;
        let signed = params.signed_by(&pair, &self.issuer)?;
        fs::write(certificate, signed.pem()).map_err(file(certificate))?;
        crate::config::write(key, &pair.serialize_pem())
    }
}

fn parameters(common_name: &str, alt_names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = alt_names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // Wide enough for any machine's idea of the date.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::netns::run;

    /// openssl, not rcgen, says whether the chain and the name are right.
    #[test]
    fn openssl_verifies_the_chain_and_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let authority = Authority::new("Lab CA").unwrap();
        authority.write_certificate(&path("ca.pem")).unwrap();
        let server = Server { common_name: "x", alt_names: &["hac.example.net"] };
        authority.write_server(server, &path("hac.pem"), &path("hac.key")).unwrap();

        let verify = |name: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(["verify", "-verify_hostname", name, "-CAfile"]);
            run(openssl.arg(path("ca.pem")).arg(path("hac.pem")))
        };
        assert!(verify("hac.example.net").unwrap().contains("OK"));
        assert!(verify("x").is_err());
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("hac.key");
        // One that an earlier lab left to everybody.
        fs::write(&key, "older").unwrap();
        let server = Server { common_name: "x", alt_names: &["hac.example.net"] };
        let authority = Authority::new("Lab CA").unwrap();
        authority.write_server(server, &dir.path().join("hac.pem"), &key).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
