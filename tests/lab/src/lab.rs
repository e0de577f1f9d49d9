//! The lab as a whole: namespaces, certificates, YAML, daemons.

use std::{net::IpAddr, path::PathBuf, process::Command, time::Duration};

use hearth_api::{BindingRow, CounterRow, DropRow, SaRow};
use serde::de::DeserializeOwned;

use crate::{
    config::{self, Files, NodeTuning, Tuning},
    describe,
    error::{LabError, Result, file},
    netns::run,
    network::{Network, check_privileges},
    node::MobileNode,
    pki::{Authority, Server},
    plan::{HAC_NAME, HAC_PORT, Subscriber},
    program::{Program, Programs},
    wait,
};

/// How long a daemon may take to serve. EAL's start is most of it.
const START: Duration = Duration::from_secs(30);

/// What tells one lab from another on the same machine.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// What the namespaces' names begin with.
    pub prefix: String,
    /// Its files.
    pub files: Files,
    /// The programs under test.
    pub programs: Programs,
    /// How many mobile nodes it has room for.
    pub mobile_nodes: u8,
    /// What the daemons are told otherwise.
    pub tuning: Tuning,
}

impl LabOptions {
    /// The lab of `make lab`: namespaces `hearth-*`, files in the current folder's `target/lab`.
    ///
    /// # Errors
    /// Where the current folder or this program's is unknown.
    pub fn standard() -> Result<Self> {
        let here = std::env::current_dir().map_err(file("."))?;
        let dir = here.join("target/lab");
        Ok(Self {
            prefix: "hearth".into(),
            files: Files { dir, run: PathBuf::from("/run/hearth-lab") },
            programs: Programs::find()?,
            mobile_nodes: 1,
            tuning: Tuning::default(),
        })
    }
}

/// A lab that is up.
pub struct Lab {
    /// What it was made with.
    pub options: LabOptions,
    /// Its namespaces.
    pub network: Network,
    /// Who may bootstrap.
    pub subscribers: Vec<Subscriber>,
    /// The lab's certificate authority.
    pub authority: Authority,
    /// `hearth-hac`, where it runs.
    pub hac: Option<Program>,
    /// `hearthd`, where it runs.
    pub hearthd: Option<Program>,
}

impl Lab {
    /// Brings everything up; what an earlier lab of this name left is taken down first.
    ///
    /// # Errors
    /// The step that failed. What is up by then stays, for [`Lab::down`].
    pub fn up(options: LabOptions) -> Result<Self> {
        let mut lab = Self::prepare(options)?;
        lab.start_hac()?;
        lab.start_hearthd()?;
        describe::write(&lab)?;
        Ok(lab)
    }

    /// Namespaces, certificates and YAML, without any daemon.
    ///
    /// # Errors
    /// The step that failed.
    pub fn prepare(options: LabOptions) -> Result<Self> {
        check_privileges()?;
        Self::down(&options)?;
        let network = Network::named(&options.prefix, options.mobile_nodes);
        network.create()?;
        if options.tuning.home_on_link {
            network.share_home_link()?;
        }
        let files = &options.files;
        files.create()?;
        let authority = Authority::new("Hearth lab CA")?;
        authority.write_certificate(&files.ca())?;
        let server = Server { common_name: HAC_NAME, alt_names: &[HAC_NAME] };
        authority.write_server(server, &files.certificate(), &files.key())?;
        let mut subscribers = Subscriber::all().map_err(file("random numbers"))?;
        subscribers.extend(options.tuning.more_subscribers.clone());
        let hac = config::hac(files, &options.tuning, &subscribers);
        config::write(&files.config("hac"), &hac)?;
        let hearthd = config::hearthd(files, &options.tuning, &options.prefix);
        config::write(&files.config("hearthd"), &hearthd)?;
        for subscriber in &subscribers {
            let text = config::mobile_node(files, subscriber, &NodeTuning::default());
            config::write(&files.config(&format!("mn-{}", subscriber.label())), &text)?;
        }
        Ok(Self { options, network, subscribers, authority, hac: None, hearthd: None })
    }

    /// Whether the home agent of a lab serves.
    #[must_use]
    pub fn is_up(options: &LabOptions) -> bool {
        std::os::unix::net::UnixStream::connect(options.files.api_socket()).is_ok()
    }

    /// Removes every trace of a lab, whoever made it.
    ///
    /// # Errors
    /// Where a process cannot be ended or a file not be removed.
    pub fn down(options: &LabOptions) -> Result<()> {
        Network::named(&options.prefix, options.mobile_nodes).delete()?;
        options.files.remove()?;
        let eal = PathBuf::from("/var/run/dpdk").join(&options.prefix);
        match std::fs::remove_dir_all(&eal) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(eal)(error)),
            _ => Ok(()),
        }
    }

    /// Starts `hearth-hac` and waits until its SA directory takes connections.
    ///
    /// # Errors
    /// Where it ends or does not serve.
    pub fn start_hac(&mut self) -> Result<()> {
        let socket = self.options.files.directory_socket();
        let mut hac = self.start("hearth-hac", "hac")?;
        hac.until("the SA directory of hearth-hac", START, |_| {
            Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(()))
        })?;
        self.hac = Some(hac);
        Ok(())
    }

    /// Starts `hearthd`, waits until it answers on its socket, and adds the routes of its kernel.
    ///
    /// # Errors
    /// Where it ends or does not serve.
    pub fn start_hearthd(&mut self) -> Result<()> {
        let mut hearthd = self.start("hearthd", "hearthd")?;
        hearthd.until("hearthd's answer on its socket", START, |_| {
            Ok(self.show::<serde_json::Value>("ports").ok().filter(|ports| !ports.is_empty()))
        })?;
        self.hearthd = Some(hearthd);
        let before = self.routes();
        self.network.route_home_agent(Duration::from_secs(5))?;
        // They are in use a moment later. A home agent that had them before has no more of them.
        let _had_them = wait::until("the routes in use", Duration::from_secs(2), || {
            Ok((self.routes() >= before + 2).then_some(()))
        });
        Ok(())
    }

    /// How many routes hearthd uses.
    fn routes(&self) -> u64 {
        let rows: Vec<CounterRow> = self.show("counters").unwrap_or_default();
        rows.iter().find(|row| row.counter == "routes").map_or(0, |row| row.count)
    }

    fn start(&self, program: &str, role: &str) -> Result<Program> {
        let files = &self.options.files;
        let config = files.config(role).display().to_string();
        let path = self.options.programs.path(program)?;
        Program::start(&self.network.ha, &path, &["--config", &config], &files.log_of(role))
    }

    /// Waits until something listens on the HAC's port in a namespace. Connects to nobody.
    ///
    /// # Errors
    /// Where nothing does.
    pub fn hac_listening(&self, namespace: &crate::netns::Netns) -> Result<()> {
        wait::until("a listener on the HAC's port", Duration::from_secs(10), || {
            let port = format!("sport = :{HAC_PORT}");
            let sockets = run(namespace.command("ss").args(["-Hltn", &port]))?;
            Ok((!sockets.is_empty()).then_some(()))
        })
    }

    /// Waits until a mobile node's namespace reaches the HAC by TCP.
    ///
    /// # Errors
    /// Where it stays silent.
    pub fn hac_reachable(&self, from: u8, address: IpAddr) -> Result<()> {
        let node = self.network.mobile_node(from)?;
        let what = format!("a TCP connection to the HAC at {address}");
        wait::until(what, Duration::from_secs(10), || {
            let to = (address, HAC_PORT).into();
            let second = Duration::from_secs(1);
            let connected = node.enter(|| std::net::TcpStream::connect_timeout(&to, second))?;
            Ok(connected.ok().map(drop))
        })
    }

    /// The subscriber whose `mn-id` begins with `label`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn subscriber(&self, label: &str) -> Result<&Subscriber> {
        let missing = || LabError::Wrong(format!("the lab has no subscriber {label}"));
        self.subscribers.iter().find(|other| other.label() == label).ok_or_else(missing)
    }

    /// Starts mobile node `index` as a subscriber.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_node(
        &self,
        index: u8,
        subscriber: &Subscriber,
        tuning: &NodeTuning,
    ) -> Result<MobileNode> {
        let namespace = self.network.mobile_node(index)?;
        self.start_node_in(namespace, index, subscriber, tuning)
    }

    /// The same in any namespace: behind a mobile router, say. Its log is that of number `index`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_node_in(
        &self,
        namespace: &crate::netns::Netns,
        index: u8,
        subscriber: &Subscriber,
        tuning: &NodeTuning,
    ) -> Result<MobileNode> {
        let files = &self.options.files;
        let role = format!("mn-{}", subscriber.label());
        let config = files.config(&role);
        config::write(&config, &config::mobile_node(files, subscriber, tuning))?;
        let status = files.run.join(format!("{role}.json"));
        // The status of an earlier run would answer for this one.
        match std::fs::remove_file(&status) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file(status)(error));
            }
            _ => {}
        }
        let path = self.options.programs.path("hearth-mn")?;
        let (config, place) = (config.display().to_string(), status.display().to_string());
        let arguments = ["up", "--config", &config, "--status-file", &place];
        let log = files.log_of(&node_role(index));
        let program = Program::start(namespace, &path, &arguments, &log)?;
        Ok(MobileNode::new(program, namespace.clone(), index, status))
    }

    /// Runs `hearth` on both daemons of the lab to its end, whatever its exit code.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn hearth(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let files = &self.options.files;
        let mut hearth: Command = self.options.programs.command("hearth")?;
        hearth.arg("--socket").arg(files.api_socket());
        hearth.arg("--hac-socket").arg(files.admin_socket());
        crate::netns::output(hearth.args(arguments))
    }

    /// What `hearth show WHAT --json` prints.
    ///
    /// # Errors
    /// Where hearthd does not answer.
    pub fn show<T: DeserializeOwned>(&self, what: &str) -> Result<Vec<T>> {
        let mut hearth: Command = self.options.programs.command("hearth")?;
        hearth.arg("--socket").arg(self.options.files.api_socket());
        let text = run(hearth.args(["show", what, "--json"]))?;
        let from = || format!("hearth show {what}");
        serde_json::from_str(&text).map_err(|source| LabError::Json { from: from(), source })
    }

    /// `hearth show bindings`.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn bindings(&self) -> Result<Vec<BindingRow>> {
        self.show("bindings")
    }

    /// `hearth show sas`.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn sas(&self) -> Result<Vec<SaRow>> {
        self.show("sas")
    }

    /// `hearth show drops`: the reasons that occurred.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn drops(&self) -> Result<Vec<DropRow>> {
        self.show("drops")
    }

    /// Pings from one namespace, by the system's own `ping`, and gives the answers of `count`.
    ///
    /// # Errors
    /// Where `ping` cannot run, as without the source address.
    pub fn ping(
        &self,
        from: &crate::netns::Netns,
        source: IpAddr,
        to: IpAddr,
        count: u32,
    ) -> Result<u32> {
        let mut ping = from.command("ping");
        ping.args(["-n", "-q", "-i", "0.05", "-W", "2", "-c", &count.to_string()]);
        let output = crate::netns::output(ping.args(["-I", &source.to_string(), &to.to_string()]))?;
        let text = String::from_utf8_lossy(&output.stdout);
        answers(&text).ok_or_else(|| LabError::Command {
            command: crate::netns::line(&ping),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// What the log of mobile node `index` is called: `mn`, `mn2`, ...
fn node_role(index: u8) -> String {
    if index == 0 { "mn".into() } else { format!("mn{}", index + 1) }
}

/// The count of answers in the closing words of `ping`.
fn answers(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    line.split(',').nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_reads_the_closing_words_of_ping() {
        let text = "--- 2001:db8:c::2 ping statistics ---\n\
                    3 packets transmitted, 2 received, 33% packet loss, time 403ms\n";
        assert_eq!(answers(text), Some(2));
        assert_eq!(answers("ping: bind: Cannot assign requested address"), None);
    }
}
