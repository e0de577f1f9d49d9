//! hearthd, the home agent daemon: where the dataplane and the sans-I/O home agent meet.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads and checks `hearthd.yaml`; [`tunnel_config`] its packet sizes and ICMP errors |
//! | [`home_agent_config`], [`crypto_config`], [`directory_config`], [`api_config`], `paths_config` | its home agent and policy; its crypto device; its SA directory; its API; the files it names |
//! | [`log_filter`] | what is logged |
//! | [`daemon`] | puts the daemon together and takes it apart |
//! | [`control`] | the control thread; `decisions` carries out what the home agent decided, `tunnels` hands bindings to the dataplane |
//! | [`neighbours`] | packets that wait for a link-layer address |
//! | [`sa_limits`] | SAs that have carried too much |
//! | [`directory`], `directory_merge` | watches the SA directory of the HAC, or of all its replicas |
//! | [`directory_tls`] | the same from another machine |
//! | [`lookups`] | asks the directory for SAs that are missing |
//! | [`home_link_config`], `home_link` | home prefixes and links: their YAML, and what is seen there |
//! | `reload` | home prefixes read anew on SIGHUP |
//! | [`host_path`] | the TAP of each port, and the TUN to mobile nodes |
//! | [`kernel`] | neighbours by `netlink`; [`kernel_routes`] what the kernel is given |
//! | [`routes`], `route_watch` | the kernel's routes on their way into the FIB; `given_watch` those that it was given |
//! | [`server`] | the API on a Unix socket, and by TLS for other machines; `answers` makes its rows, `home_link_rows` those of home links, `pages` those of which there are many, `drops` the words for those of drops, [`outlet`] answers that go on |
//! | [`chronicle`] | what happened, and to which mobile node; `event_stream` hands it to listeners |
//! | `follow` | traces and captures that run: `trace`, `capture`, [`target`] |
//! | [`operate`] | operators' commands, and the shutdown that SIGTERM begins |
//! | [`membership`] | multicast groups that the kernel is in |
//! | [`silence`] | SAs under which nothing comes |
//! | [`watchdog`] | workers that are stuck; [`load`] how busy they are |
//! | [`persist`] | what survives a restart; [`state_config`] how |
//! | [`spi_horizon`] | which SPIs must not be used again after a restart |
//! | [`notices`] | what the home agent noticed, as log lines; [`journal`] how many a second |
//! | [`service_manager`] | tells systemd that it is ready, turns, reloads, ends |
//! | [`wake`] | wakes the control thread |
#![forbid(unsafe_code)]

mod alarms;
mod answers;
pub mod api_config;
mod capture;
pub mod chronicle;
mod clear;
pub mod config;
pub mod control;
pub mod crypto_config;
pub mod daemon;
mod dashboard;
mod decisions;
pub mod directory;
pub mod directory_config;
mod directory_merge;
pub mod directory_tls;
mod drops;
mod event_stream;
mod follow;
mod forwarding;
mod from_worker;
mod given_watch;
pub mod home_agent_config;
mod home_link;
pub mod home_link_config;
mod home_link_rows;
pub mod host_path;
pub mod journal;
pub mod kernel;
pub mod kernel_neighbour;
pub mod kernel_routes;
pub mod load;
pub mod lookups;
pub mod membership;
mod metrics;
pub mod neighbours;
mod netlink;
pub mod notices;
pub mod operate;
pub mod operations_config;
pub mod outlet;
mod pages;
mod paths_config;
pub mod persist;
#[cfg(test)]
mod reasons_page;
mod reload;
mod restore;
mod route_watch;
pub mod routes;
pub mod sa_limits;
pub mod server;
pub mod service_manager;
pub mod silence;
pub mod spi_horizon;
pub mod state_config;
pub mod target;
mod trace;
pub mod tunnel_config;
mod tunnels;
pub mod wake;
pub mod watchdog;
