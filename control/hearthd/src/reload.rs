//! SIGHUP: what is said of home prefixes is read from the YAML again, for renumbering; and certificates
//! of the SA directory, which are renewed now and then.
//!
//! The connections to HACs that there are go on; the next ones go by the new certificates.
//!
//! Lifetimes change and prefixes go while the daemon runs, and mobile nodes are told
//! (RFC 6275 s.10.6). A prefix that is new, or on another link than before, needs a restart, which
//! bindings outlive.

use std::path::Path;
use std::sync::atomic::Ordering;

use hearth_config::{ConfigError, Spanned};
use ipnet::IpNet;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::control::Control;
use crate::directory::Source;
use crate::directory_config;
use crate::home_link_config::{self, HomePrefix};

impl Control {
    /// Reads the YAML again, where SIGHUP has come.
    pub(crate) fn reload_if_asked(&mut self) {
        if !self.reload.swap(false, Ordering::Relaxed) {
            return;
        }
        self.service_manager.reloading();
        match read(&self.parts.config.file) {
            Ok((read, sources)) => {
                if !directory_config::renew(&self.parts.config.sa_directory.sources, &sources) {
                    warn!("sa_directory names other HACs: they are watched from the next start on");
                }
                self.take_home_prefixes(read);
            }
            Err(error) => error!(%error, "not read again; what was read before holds"),
        }
        self.service_manager.ready();
    }

    fn take_home_prefixes(&mut self, read: Config) {
        let now = &mut self.parts.config.home_agent;
        let (prefixes, refused) = merged(&now.home_prefixes, read.home_agent.home_prefixes);
        for prefix in refused {
            warn!(%prefix, "a home prefix that is new or has moved is taken at the next start");
        }
        now.home_prefixes = prefixes;
        now.home_link = read.home_agent.home_link;
        now.mobile_prefixes = read.home_agent.mobile_prefixes;
        let count = now.home_prefixes.len();
        self.kernel_routes.set_home_prefixes(&self.parts.config);
        self.configure_links();
        info!(
            count,
            "home prefixes and certificates are read again; other keys are heeded at the next start"
        );
    }
}

/// The file, with the checks of what is taken from it. The others are for a start: this thread is
/// pinned, and sees one core only.
fn read(file: &Path) -> Result<(Config, Vec<Source>), ConfigError> {
    let document = hearth_config::load::<Config>(file)?;
    home_link_config::check(&document, &document.value)?;
    let sources = directory_config::check(&document, &document.value)?;
    Ok((document.value, sources))
}

/// What of `new` can take the place of `old` at once, and the prefixes of which it can't.
fn merged(
    old: &[Spanned<HomePrefix>],
    new: Vec<Spanned<HomePrefix>>,
) -> (Vec<Spanned<HomePrefix>>, Vec<IpNet>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for section in new {
        let HomePrefix { prefix, about } = &section.value;
        let before = old.iter().find(|before| before.value.prefix == *prefix);
        let stays = before.is_some_and(|before| {
            let port = |port: &Option<Spanned<String>>| port.as_ref().map(|p| p.value.clone());
            before.value.about.mode == about.mode
                && port(&before.value.about.port) == port(&about.port)
        });
        if stays {
            taken.push(section);
        } else {
            refused.push(*prefix);
            taken.extend(before.cloned());
        }
    }
    // None would mean that nothing has been said of any.
    if taken.is_empty() { (old.to_vec(), refused) } else { (taken, refused) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home_link_config::{About, Mode};
    use hearth_config::Location;

    fn section(prefix: &str, mode: Mode, autonomous: bool) -> Spanned<HomePrefix> {
        let about = About { mode, autonomous, ..About::default() };
        let at = Location::UNKNOWN;
        Spanned::new(HomePrefix { prefix: prefix.parse().unwrap(), about }, at, at)
    }

    #[test]
    fn what_changes_at_once_and_what_waits_for_a_start() {
        let (a, b, c) = ("2001:db8:a::/64", "2001:db8:b::/64", "2001:db8:c::/64");
        let old = [section(a, Mode::Routed, false), section(b, Mode::Routed, false)];
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let same = vec![section(a, Mode::Routed, true)];
        assert_eq!(merged(&old, same.clone()), (same, vec![]), "one is changed, one is gone");
        let moved = vec![section(a, Mode::Link, true), section(c, Mode::Routed, false)];
        assert_eq!(merged(&old, moved), (vec![old[0].clone()], vec![net(a), net(c)]));
        let other = vec![section(c, Mode::Routed, false)];
        assert_eq!(merged(&old, other), (old.to_vec(), vec![net(c)]));
    }
}
