//! Manual pages of the programs, from what their command lines take.
#![forbid(unsafe_code)]

use std::path::Path;
use std::{fs, io};

use clap_mangen::Man;

/// Which section of the manual a program's pages belong to (man(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// 1: commands that anybody may run.
    User,
    /// 8: daemons, and what only an administrator runs.
    Administration,
}

impl Section {
    fn number(self) -> &'static str {
        match self {
            Self::User => "1",
            Self::Administration => "8",
        }
    }
}

/// Writes the page of `command`, such as `hearth.1`, and one for each command below it, such as
/// `hearth-show.1`, into `folder`, which it makes where there is none. What is hidden has no page.
///
/// # Errors
/// Where the folder or a page can't be written.
pub fn write(command: &clap::Command, section: Section, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = command.clone().disable_help_subcommand(true);
    // Gives each command its name with those above it, as in hearth-show.
    command.build();
    pages(&command, section, folder)
}

fn pages(command: &clap::Command, section: Section, folder: &Path) -> io::Result<()> {
    let source = format!("Hearth {}", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).section(section.number()).source(source).manual("Hearth");
    page.generate_to(folder)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, section, folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn man_reads_every_page_without_a_warning_and_what_is_hidden_has_none() {
        let command = Command::new("kiln")
            .version("1")
            .about("Burns bricks.")
            .after_help("Signals: SIGHUP burns again.\nExit codes: 0 burnt; 1 it went wrong.")
            .arg(Arg::new("heat").long("heat").value_name("DEGREES").default_value("900"))
            .arg(Arg::new("man").long("man").hide(true))
            .subcommand(Command::new("open").about("Opens it."))
            .subcommand(Command::new("secret").hide(true));
        let folder = tempfile::tempdir().unwrap();
        write(&command, Section::Administration, &folder.path().join("man8")).unwrap();
        let pages = fs::read_dir(folder.path().join("man8")).unwrap();
        let mut pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
        pages.sort();
        let names: Vec<_> = pages.iter().map(|page| page.file_name().unwrap()).collect();
        assert_eq!(names, ["kiln-open.8", "kiln.8"]);
        for page in &pages {
            let output = std::process::Command::new("man")
                .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
                .arg(page)
                .env("MAN_KEEP_STDERR", "1")
                .output()
                .expect("man of Debian's package man-db");
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && words.is_empty(), "{}: {words}", page.display());
        }
        let page = fs::read_to_string(&pages[1]).unwrap();
        for word in ["heat", "900", "SIGHUP", "Exit codes"] {
            assert!(page.contains(word), "{word}: {page}");
        }
        assert!(!page.contains("\\-\\-man"), "{page}");
    }
}
