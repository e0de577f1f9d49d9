//! Certificates by openssl.

use std::{fs, path::Path, process::Command};

const EC: &str = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256";

/// A CA (`ca.pem`, `ca.key`), and a certificate for `aaa.example.net` (`server.pem`, `server.key`)
/// that will do for both ends of TLS.
pub fn certificates(folder: &Path) {
    openssl(
        folder,
        &format!(
            "req -x509 {EC} -days 2 -keyout ca.key -out ca.pem -subj /CN=ca \
             -addext basicConstraints=critical,CA:TRUE"
        ),
    );
    certificate(folder, "server", "DNS:aaa.example.net");
}

/// A certificate of the CA in `folder` with this subjectAltName.
pub fn certificate(folder: &Path, name: &str, san: &str) {
    let extensions = format!("subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n");
    fs::write(folder.join(format!("{name}.ext")), extensions).unwrap();
    openssl(folder, &format!("req {EC} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile {name}.ext -out {name}.pem"
        ),
    );
}

fn openssl(folder: &Path, arguments: &str) {
    let output =
        Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
