//! Where a secret comes from: the YAML itself, a file, a systemd credential, or a person.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hearth_config::{ConfigError, Document, Location, Spanned};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::Raw;

/// How a secret is written in YAML: `{file: /etc/hearth/mn1.psk}` and so on.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
#[schemars(rename = "Secret")]
pub(super) enum RawSecret {
    /// Hexadecimal digits.
    Hex(SecretText),
    /// The octets of this text.
    Text(SecretText),
    /// A file.
    File(PathBuf),
    /// A systemd credential (`LoadCredential=`), by its name.
    Credential(String),
    /// A person is asked when the node starts, for digits or for text.
    Prompt(Form),
}

/// What the octets of a secret are written as in a file, a credential, or on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// Hexadecimal digits: keys.
    Hex,
    /// The octets as they are, without the end of the line: passwords.
    Text,
}

/// Text of the file that is wiped once it has been read.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(super) struct SecretText(String);

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Whether a person is there to be asked for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asking {
    /// The file is only checked: a secret that would be asked for is taken for a good one.
    #[default]
    Never,
    /// A node starts.
    Person,
}

/// What is gathered while a file is read, beside its values.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) asking: Asking,
    pub(super) warnings: RefCell<Vec<ConfigError>>,
}

const NOT_HEX: &str = "not an even number of hexadecimal digits";
/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// A secret is a line, and no more.
const MAX_FILE: u64 = 64 << 10;

/// Reads the secret at `key`; `form` is that of files and credentials.
pub(super) fn read(
    file: &Document<Raw>,
    secret: &Spanned<RawSecret>,
    key: &str,
    form: Form,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let at = secret.referenced;
    let wrong = |of: &str, what: String| file.error(at, format!("{key}.{of}"), what);
    let octets = |of: &str, text: &str, form, before: &str| match form {
        Form::Text => Ok(Zeroizing::new(text.as_bytes().to_vec())),
        Form::Hex => unhex(text.trim()).ok_or_else(|| wrong(of, format!("{before}{NOT_HEX}"))),
    };
    match &secret.value {
        RawSecret::Text(text) => {
            warn_of_readers(file, at, key, file.path());
            octets("text", &text.0, Form::Text, "")
        }
        RawSecret::Hex(digits) => {
            warn_of_readers(file, at, key, file.path());
            octets("hex", &digits.0, Form::Hex, "")
        }
        RawSecret::File(path) => {
            let path = file.resolve(path);
            let text = line_of(&path).map_err(|error| wrong("file", unreadable(&path, &error)))?;
            warn_of_readers(file, at, key, &path);
            octets("file", &text, form, &format!("{}: ", path.display()))
        }
        RawSecret::Credential(name) => {
            let path = match credential(name).map_err(|what| wrong("credential", what))? {
                Some(path) => path,
                // A check by hand runs outside the unit that has the credentials.
                None if file.value.reading.asking == Asking::Never => return Ok(stand_in()),
                None => {
                    let what = "no credentials here: this is no systemd unit with LoadCredential=";
                    return Err(wrong("credential", what.to_owned()));
                }
            };
            let text =
                line_of(&path).map_err(|error| wrong("credential", unreadable(&path, &error)))?;
            octets("credential", &text, form, "")
        }
        RawSecret::Prompt(_) if file.value.reading.asking == Asking::Never => Ok(stand_in()),
        RawSecret::Prompt(form) => {
            let what = format!("{key} of {}", file.value.mn_id.value);
            let text = ask(&what).map_err(|error| wrong("prompt", format!("{error}")))?;
            octets("prompt", &text, *form, "")
        }
    }
}

/// The file that the secret is in, if it is in one that can change while the node runs.
pub(super) fn source(file: &Document<Raw>, secret: &RawSecret) -> Option<PathBuf> {
    match secret {
        RawSecret::File(path) => Some(file.resolve(path)),
        RawSecret::Credential(name) => credential(name).ok().flatten(),
        RawSecret::Hex(_) | RawSecret::Text(_) | RawSecret::Prompt(_) => None,
    }
}

/// The octets of a text secret in this file.
pub(super) fn text_in(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    line_of(path).map(|text| Zeroizing::new(text.as_bytes().to_vec()))
}

/// Takes the place of a secret that a check can't see.
fn stand_in() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; 32])
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} can't be read: {error}", path.display())
}

/// The path of a credential; `None` where there are none at all.
pub(super) fn credential(name: &str) -> Result<Option<PathBuf>, String> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(
            "not the name of a credential: a file name, as in LoadCredential=NAME:FILE".into()
        );
    }
    Ok(std::env::var_os(CREDENTIALS).map(|folder| Path::new(&folder).join(name)))
}

/// The text of a small file without the end of its line.
fn line_of(path: &Path) -> io::Result<Zeroizing<String>> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(io::Error::other(format!("{size} octets are no secret")));
    }
    let mut text = Zeroizing::new(std::fs::read_to_string(path)?);
    let len = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(len);
    Ok(text)
}

/// Notes that others than the owner can read a secret.
pub(super) fn warn_of_readers(file: &Document<Raw>, at: Location, key: &str, path: &Path) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        let what = format!("others can read {path} (mode {mode:04o}): chmod 600 {path}");
        file.value.reading.warnings.borrow_mut().push(file.error(at, key, what));
    }
}

pub(crate) fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut octets = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        octets.push(digit(*high)? << 4 | digit(*low)?);
    }
    rest.is_empty().then_some(octets)
}

/// Asks on the terminal; where there is none, through systemd (a boot's console, a desktop).
fn ask(what: &str) -> io::Result<Zeroizing<String>> {
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(terminal) => ask_on(&terminal, what),
        Err(_) => ask_systemd(what),
    }
}

fn ask_on(mut terminal: &File, what: &str) -> io::Result<Zeroizing<String>> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    // What is typed before the question is not taken, and what is typed after it not shown.
    tcsetattr(terminal, OptionalActions::Flush, &silent)?;
    write!(terminal, "{what}: ")?;
    let mut text = Zeroizing::new(String::new());
    let read = BufReader::new(terminal).read_line(&mut text);
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    read?;
    let len = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(len);
    Ok(text)
}

fn ask_systemd(what: &str) -> io::Result<Zeroizing<String>> {
    let asked = Command::new("systemd-ask-password")
        .args(["--timeout=120", "--no-tty", what])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(mut output) = asked else {
        return Err(io::Error::other("nobody can be asked: no terminal, no systemd-ask-password"));
    };
    let text = String::from_utf8(std::mem::take(&mut output.stdout)).map(Zeroizing::new);
    match text {
        Ok(mut text) if output.status.success() => {
            let len = text.trim_end_matches(['\n', '\r']).len();
            text.truncate(len);
            Ok(text)
        }
        _ => Err(io::Error::other("nobody answered")),
    }
}
