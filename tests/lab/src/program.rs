//! A program of Hearth, running in a namespace with its words in a log file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    error::{LabError, Result, file},
    netns::{Netns, line, tail},
    wait,
};

/// Where the programs under test are.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// The folder that the environment variable `HEARTH_BIN_DIR` names, else the folder of this
    /// program, as in `target/release`; for a test, the folder of the binaries of its own build.
    ///
    /// # Errors
    /// Where this program's own path is unknown.
    pub fn find() -> Result<Self> {
        if let Some(folder) = std::env::var_os("HEARTH_BIN_DIR") {
            return Ok(Self(folder.into()));
        }
        let own = std::env::current_exe().map_err(file("this program"))?;
        let folder = own.parent().unwrap_or(Path::new("/"));
        let tests = folder.ends_with("deps");
        Ok(Self(if tests { folder.parent().unwrap_or(folder) } else { folder }.to_owned()))
    }

    /// One of them.
    ///
    /// # Errors
    /// Where it is not there, with how to build it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        if path.exists() {
            return Ok(path);
        }
        Err(LabError::Wrong(format!(
            "{} is missing: run `cargo build --workspace --bins --tests`, or name its folder in HEARTH_BIN_DIR",
            path.display()
        )))
    }

    /// A command that runs one of them in this process's own namespace.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub fn command(&self, name: &str) -> Result<Command> {
        Ok(Command::new(self.path(name)?))
    }
}

/// A running program. Dropping it leaves it running: the lab outlives the command that made it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `program` in a namespace. What it says goes to `log`, which is begun anew.
    ///
    /// # Errors
    /// Where it cannot be started or the log cannot be written.
    pub fn start(
        namespace: &Netns,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Self> {
        let output = File::create(log).map_err(file(log))?;
        let errors = output.try_clone().map_err(file(log))?;
        let mut command = namespace.command(program);
        command.args(arguments).stdout(output).stderr(errors);
        // Ctrl-C on the lab's terminal is the lab's to handle.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = command.spawn();
        let child = child.map_err(|source| LabError::Start { command: line(&command), source })?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Its process identifier.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Where the operating system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(file(&self.name))
    }

    /// Waits until `condition` gives a value; gives up at once where the program ends before.
    ///
    /// # Errors
    /// A timeout naming `what`, or the program's last words.
    pub fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut condition: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let waited = wait::until(what, within, || {
            if let Some(value) = condition(self)? {
                return Ok(Some(value));
            }
            match self.ended()? {
                None => Ok(None),
                Some(status) => Err(LabError::Wrong(format!("{} ended with {status}", self.name))),
            }
        });
        waited.map_err(|error| self.with_last_words(error))
    }

    /// An error together with what the program said last.
    fn with_last_words(&self, error: LabError) -> LabError {
        if matches!(error, LabError::Interrupted) {
            return error;
        }
        LabError::Wrong(format!("{error}; {} said last:\n{}", self.name, tail(&self.log())))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // One that has ended by itself is reported by who waits for it.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// Where it does not end, or not with 0.
    pub fn stop(&mut self, within: Duration) -> Result<()> {
        self.signal(Signal::TERM);
        let name = format!("the end of {}", self.name);
        let status = wait::until(name, within, || self.ended());
        let status = status.map_err(|error| self.with_last_words(error))?;
        if status.success() {
            return Ok(());
        }
        let error = LabError::Wrong(format!("{} ended with {status} on SIGTERM", self.name));
        Err(self.with_last_words(error))
    }

    /// Ends it without asking, as a crash would, and waits for that.
    ///
    /// # Errors
    /// Where the operating system does not let go of it.
    pub fn crash(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        wait::until(format!("the end of {}", self.name), Duration::from_secs(5), || self.ended())
            .map(drop)
    }
}
