//! `hearth-mn keygen`: a pre-shared key for this node, and what to tell the HAC.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hearth_wire::MobileNodeId;
use zeroize::Zeroizing;

use super::{Outcome, complain};

/// What `hearth-hac` recommends.
const LEN: usize = 32;

/// Makes a key and writes it to `file`, which must not be there yet, or to standard output; then
/// says what to do with it.
#[must_use]
pub fn keygen(mn_id: &str, file: Option<&Path>) -> Outcome {
    if let Err(error) = MobileNodeId::new(mn_id) {
        complain(&format!("{mn_id}: {error}"));
        return Outcome::WrongUse;
    }
    let Ok(digits) = digits() else {
        complain("no random numbers");
        return Outcome::Failed;
    };
    let Some(file) = file else {
        println!("{}", digits.as_str());
        return Outcome::Done;
    };
    if let Err(error) = write(file, &digits) {
        complain(&format!("{} can't be written: {error}{}", file.display(), remedy(file, &error)));
        return Outcome::Failed;
    }
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let path = path.display();
    println!("{path} holds the key; nobody but its owner can read it.");
    println!("At the Home Agent Controller, with a copy of it:");
    println!("  hearth subscriber add {mn_id} --psk-file {path}");
    println!("In this node's YAML file:");
    println!("  mn_id: {mn_id}");
    println!("  psk: {{file: {path}}}");
    Outcome::Done
}

/// What mends it, in words that end a sentence.
fn remedy(file: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => match file.parent() {
            Some(folder) => format!("; make the folder first: install -d {}", folder.display()),
            None => String::new(),
        },
        io::ErrorKind::AlreadyExists => {
            "; a key is never overwritten: remove it, or name another file".to_owned()
        }
        io::ErrorKind::PermissionDenied => "; root may, or whoever owns the folder".to_owned(),
        _ => String::new(),
    }
}

fn digits() -> io::Result<Zeroizing<String>> {
    let mut key = Zeroizing::new([0; LEN]);
    getrandom::fill(&mut *key).map_err(io::Error::other)?;
    let mut digits = Zeroizing::new(String::with_capacity(2 * LEN));
    for octet in key.iter() {
        for nibble in [octet >> 4, octet & 0xf] {
            digits.extend(char::from_digit(nibble.into(), 16));
        }
    }
    Ok(digits)
}

fn write(file: &Path, digits: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(digits.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
