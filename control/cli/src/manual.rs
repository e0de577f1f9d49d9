//! Manual pages of the commands, from what the command line takes.

use std::fs;
use std::path::Path;

use clap_mangen::Man;

use crate::client::Error;

/// Writes `hearth.1` and a page for each command, such as `hearth-show.1`, into `folder`.
///
/// # Errors
/// [`Error::Io`] where the folder or a page can't be written.
pub fn write(command: &clap::Command, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    let mut command = command.clone().disable_help_subcommand(true);
    // Gives each command its name with those above it, as in hearth-show.
    command.build();
    pages(&command, folder)
}

fn pages(command: &clap::Command, folder: &Path) -> Result<(), Error> {
    let source = format!("Hearth {}", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).source(source).manual("Hearth");
    page.generate_to(folder)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, folder)?;
    }
    Ok(())
}
