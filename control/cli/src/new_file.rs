//! Files that the command line makes, which only their owner may read.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What went wrong, with the file's name.
pub fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether [`open`] would find a file in its way: to be asked before work is done for nothing.
///
/// # Errors
/// There is one, and `force` is not given.
pub fn check(path: &Path, force: bool) -> io::Result<()> {
    if !force && is_regular(path) { Err(named(path, &exists())) } else { Ok(()) }
}

/// Opens a file to write, mode 0600, or standard output for `-`. It is always a new one: an older one
/// might have readers already, whatever its mode is made. Pipes and devices are taken as they are.
///
/// # Errors
/// The file is there and `force` is not given, or it can't be made.
pub fn open(path: &Path, force: bool) -> io::Result<Box<dyn Write>> {
    open_unnamed(path, force).map_err(|error| named(path, &error))
}

fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn exists() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "is there already; replace it with --force")
}

fn open_unnamed(path: &Path, force: bool) -> io::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "is a symbolic link; name the file itself, or - for standard output",
        )),
        Ok(metadata) if metadata.is_file() && force => {
            fs::remove_file(path)?;
            create(path)
        }
        Ok(metadata) if metadata.is_file() => Err(exists()),
        Ok(_) => {
            let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
            // It may have become another file between the look at it and this.
            if file.metadata()?.is_file() { Err(exists()) } else { Ok(Box::new(file)) }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => create(path),
        Err(error) => Err(error),
    }
}

/// Makes the file; never opens one that has come to be there in the meantime.
fn create(path: &Path) -> io::Result<Box<dyn Write>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    Ok(Box::new(file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(),
        _ => error,
    })?))
}
