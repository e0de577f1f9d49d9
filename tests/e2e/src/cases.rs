//! Conformance cases as they can be played over the wire: addresses and SPIs of the lab in the place
//! of those that the cases have, packets built by Scapy.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hearth_conformance::{
    case::{Case, Kind, Octets, Step},
    notation,
    plan::{self, Node},
    scapy::{self, Wanted},
};
use hearth_lab::plan::HA6;
use hearth_wire::directory::Services;

/// SPIs and home addresses of one case.
const SHARE: u32 = 8;

/// A case with the lab's addresses.
pub struct Wired {
    /// Its name.
    pub name: String,
    /// Its SAs.
    pub sas: Vec<WiredSa>,
    /// What happens.
    pub steps: Vec<WiredStep>,
}

/// An SA of a case.
pub struct WiredSa {
    /// SPI, and number of the issue.
    pub spi: u32,
    /// Whose it is.
    pub mn_id: String,
    /// Home address.
    pub home: Ipv6Addr,
    /// IPv4 home address.
    pub home4: Option<Ipv4Addr>,
    /// What the subscriber may.
    pub services: Services,
}

/// A step of a case.
pub enum WiredStep {
    /// A packet to the home agent, and what comes of it.
    Packet {
        /// The line of the case.
        line: usize,
        /// Where it is sent from.
        from: SocketAddr,
        /// Under which SA.
        spi: u32,
        /// What it is.
        octets: Octets,
        /// The answer, if there is one: its words and octets.
        answer: Option<(String, Octets)>,
        /// Why it is discarded, if it is.
        refused: Option<String>,
    },
    /// What is bound: the home address, and the care-of address and sequence number where these
    /// are said; nothing is bound where it is `None`.
    State {
        /// The line of the case.
        line: usize,
        /// The home address.
        home: Ipv6Addr,
        /// What is bound.
        bound: Option<(Option<SocketAddr>, Option<u16>)>,
    },
}

/// Whether nothing in a case takes time, another policy or an IPv4 network.
#[must_use]
pub fn is_playable(case: &Case) -> bool {
    case.steps.iter().all(|step| match step.kind {
        Kind::Given if step.text.starts_with("sa ") => step.after("home").is_none(),
        Kind::Given if step.text.starts_with("binding ") => is_ipv6(step.after("at")),
        Kind::Packet => step.after("from").is_some_and(|_| is_ipv6(step.after("from"))),
        // Data into a tunnel would stand between the answers.
        Kind::Action => !step.text.starts_with("data "),
        Kind::State => true,
        _ => false,
    })
}

/// A unicast IPv6 address of a visited network, and its port.
fn is_ipv6(address: Option<&str>) -> bool {
    let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
    address.is_some_and(|address| {
        // Neither at home nor in a mobile network.
        matches!(address.ip(), IpAddr::V6(ip) if ip.segments()[..2] == [0x2001, 0xdb8]
            && ip.segments()[2] < 7)
    })
}

/// The lab's addresses for those of the cases.
pub struct Wiring {
    care_of: HashMap<Ipv6Addr, Ipv6Addr>,
}

impl Wiring {
    /// Care-of addresses get host numbers from 0x200 in the mobile node's visited network.
    #[must_use]
    pub fn new(cases: &[Case]) -> Self {
        let mut care_of = HashMap::new();
        for step in cases.iter().flat_map(|case| &case.steps) {
            let word = if step.kind == Kind::Packet { "from" } else { "at" };
            let address = step.after(word).and_then(|text| text.parse::<SocketAddr>().ok());
            if let Some(IpAddr::V6(address)) = address.map(|address| address.ip())
                && matches!(step.kind, Kind::Packet | Kind::Given)
            {
                let host = 0x200 + u16::try_from(care_of.len()).expect("few care-of addresses");
                let own = Ipv6Addr::new(0x2001, 0xdb8, 6, 0, 0, 0, 0, host);
                care_of.entry(address).or_insert(own);
            }
        }
        Self { care_of }
    }

    /// All care-of addresses of the lab.
    pub fn care_of_addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.care_of.values().copied()
    }

    /// Puts the lab's addresses into cases.
    ///
    /// # Errors
    /// What Scapy does not build.
    pub fn wire(&self, cases: &[Case]) -> Result<Vec<Wired>, String> {
        let mut wanted = Vec::new();
        let drafts: Result<Vec<_>, String> =
            (0..).zip(cases).map(|(number, case)| self.draft(number, case, &mut wanted)).collect();
        let mut drafts = drafts?;
        // All at once: Scapy takes its time to start.
        let mut built = scapy::build(&wanted)?.into_iter().zip(wanted);
        for draft in drafts.iter_mut().flat_map(|case| &mut case.steps) {
            if let WiredStep::Packet { octets, answer, .. } = draft {
                *octets = built.next().ok_or("too few packets")?.0;
                if let Some((words, octets)) = answer {
                    let (payload, wanted) = built.next().ok_or("too few packets")?;
                    (*words, *octets) = (wanted.words, payload);
                }
            }
        }
        Ok(drafts)
    }

    /// A case without octets; what they are to be is added to `wanted`.
    fn draft(&self, number: u32, case: &Case, wanted: &mut Vec<Wanted>) -> Result<Wired, String> {
        let addresses = Addresses { wiring: self, number };
        let mut sas: Vec<WiredSa> = Vec::new();
        let mut drafts: Vec<WiredStep> = Vec::new();
        for step in &case.steps {
            match step.kind {
                Kind::Given if step.text.starts_with("sa ") => sas.push(addresses.sa(step)),
                Kind::Given => {
                    let words = first_update(step);
                    wanted.push(addresses.wanted(step, &words, &sas));
                    wanted.push(addresses.wanted(step, &acceptance(step), &sas));
                    drafts.push(addresses.packet(step, "at", true));
                }
                Kind::Packet => {
                    let words = step.text.split(" from ").next().unwrap_or_default();
                    wanted.push(addresses.wanted(step, words, &sas));
                    drafts.push(addresses.packet(step, "from", false));
                }
                Kind::Action => addresses.action(step, &sas, drafts.last_mut(), wanted),
                Kind::State => drafts.extend(addresses.state(step)),
                Kind::Event | Kind::Time(_) => return Err("not playable".into()),
            }
        }
        Ok(Wired { name: case.name.clone(), sas, steps: drafts })
    }
}

/// The addresses of one case.
struct Addresses<'a> {
    wiring: &'a Wiring,
    number: u32,
}

impl Addresses<'_> {
    fn home(&self, node: Node) -> Ipv6Addr {
        let share = u16::try_from(self.number).expect("few cases") << 4;
        let letter = u16::from(u8::try_from(node.letter()).expect("a letter"));
        Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 1, share | (letter - 0x57))
    }

    /// Two of each case: the lab has 126.
    fn home4(&self, node: Node) -> Ipv4Addr {
        let letter = u32::from(node.letter()) - u32::from('a');
        Ipv4Addr::from_bits(
            Ipv4Addr::new(203, 0, 113, 129).to_bits() + self.number * 2 + letter % 2,
        )
    }

    fn map(&self, address: IpAddr) -> IpAddr {
        let node = |is: &dyn Fn(Node) -> bool| Node::all().find(|node| is(*node));
        match address {
            IpAddr::V4(v4) => node(&|node| node.ipv4_home_address() == v4)
                .map_or(address, |node| self.home4(node).into()),
            IpAddr::V6(plan::HA) => HA6.into(),
            IpAddr::V6(v6) => {
                if let Some(node) = node(&|node| node.home_address() == v6) {
                    return self.home(node).into();
                }
                let segments = v6.segments();
                // Mobile networks, so that no two cases share one.
                if segments[..3] == [0x2001, 0xdb8, 7] && segments[3] != 0 {
                    let share = u16::try_from(self.number).expect("few cases") << 4;
                    let [a, b, c, d, e, f, g, h] = segments;
                    return Ipv6Addr::new(a, b, c, share | d, e, f, g, h).into();
                }
                self.wiring.care_of.get(&v6).copied().map_or(address, IpAddr::V6)
            }
        }
    }

    fn mn_id(&self, node: Node) -> String {
        format!("case{}-{}@example.net", self.number, node.letter())
    }

    /// Every name and address in a text, mapped.
    fn text(&self, text: &str) -> String {
        let mut named = text.to_owned();
        for node in Node::all() {
            named = named.replace(&node.nai(), &self.mn_id(node));
        }
        let text = &named[..];
        let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
        let mut mapped = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
            let (word, behind) = from.split_at(end);
            mapped.push_str(before);
            match word.parse::<IpAddr>() {
                Ok(address) => mapped.push_str(&self.map(address).to_string()),
                Err(_) => mapped.push_str(word),
            }
            rest = behind;
        }
        mapped + rest
    }

    fn socket(&self, text: Option<&str>) -> SocketAddr {
        let text = text.unwrap_or("[2001:db8:1::c]:5000");
        let address: SocketAddr = text.parse().expect("a care-of address");
        SocketAddr::new(self.map(address.ip()), address.port())
    }

    fn spi(&self, step: &Step) -> u32 {
        let spi: u32 = step.after("under").unwrap_or("1").parse().expect("an SPI");
        assert!(spi < SHARE, "{}", step.text);
        self.number * SHARE + spi
    }

    /// `sa SPI NODE ...`
    fn sa(&self, step: &Step) -> WiredSa {
        let words: Vec<_> = step.words().collect();
        let node = Node::named(words[2]).expect("a mobile node");
        let spi: u32 = words[1].parse().expect("an SPI");
        let yes = |word: &str| step.after(word) == Some("yes");
        let count = |word: &str| step.after(word).map(|n| n.parse().expect("a number"));
        let prefixes = step.after("prefixes").map(|list| self.text(list)).unwrap_or_default();
        let prefixes = prefixes.split(',').filter(|text| !text.is_empty());
        WiredSa {
            spi: self.number * SHARE + spi,
            mn_id: self.mn_id(node),
            home: self.home(node),
            home4: (step.after("ipv4") != Some("none")).then(|| self.home4(node)),
            services: Services {
                mobile_router: yes("router"),
                bulk: yes("bulk"),
                care_of_addresses: count("care_of").unwrap_or(1),
                flows: count("flows").unwrap_or(0),
                prefixes: prefixes.map(|prefix| prefix.parse().expect("a prefix")).collect(),
                ..Services::default()
            },
        }
    }

    fn wanted(&self, step: &Step, words: &str, sas: &[WiredSa]) -> Wanted {
        let spi = self.spi(step);
        let home = sas.iter().find(|sa| sa.spi == spi).expect("an SA of this case").home;
        let words = self.text(words);
        // With its address, for the names of the cases are not the lab's.
        let explicit = |word: &str| match word {
            "HaO" | "RH2" => format!("{word}({home})"),
            word => word.to_owned(),
        };
        let words: Vec<_> = words.split(' ').map(explicit).collect();
        Wanted { ha: HA6, home, words: words.join(" ") }
    }

    fn packet(&self, step: &Step, from: &str, is_accepted: bool) -> WiredStep {
        let (line, spi, from) = (step.line, self.spi(step), self.socket(step.after(from)));
        let answer = is_accepted.then(|| (String::new(), nothing()));
        WiredStep::Packet { line, from, spi, octets: nothing(), answer, refused: None }
    }

    /// What comes back, or why nothing does; the dataplane's part is not to be seen here.
    fn action(
        &self,
        step: &Step,
        sas: &[WiredSa],
        of: Option<&mut WiredStep>,
        wanted: &mut Vec<Wanted>,
    ) {
        let Some(WiredStep::Packet { answer, refused, .. }) = of else { return };
        if let Some(reason) = step.text.strip_prefix("refused ") {
            *refused = Some(reason.to_owned());
        } else if let Some((words, _)) = step.text.split_once(" to [") {
            *answer = Some((String::new(), nothing()));
            wanted.push(self.wanted(step, words, sas));
        }
    }

    /// `NODE none`, `NODE at ADDRESS seq N`; what else is said of a case's end is not shown.
    fn state(&self, step: &Step) -> Option<WiredStep> {
        let node = Node::named(step.words().next()?)?;
        let (line, home) = (step.line, self.home(node));
        if step.text.ends_with(" none") && step.words().count() == 2 {
            return Some(WiredStep::State { line, home, bound: None });
        }
        let at = step.after("at").map(|at| self.socket(Some(at)));
        let seq = step.after("seq").map(|seq| seq.parse().expect("a number"));
        Some(WiredStep::State { line, home, bound: Some((at, seq)) })
    }
}

const fn nothing() -> Octets {
    Octets { head: hearth_conformance::case::Head::Ip, payload: Vec::new() }
}

/// The Binding Update behind `binding NODE seq N ...`.
fn first_update(step: &Step) -> String {
    let seq = step.after("seq").expect("a sequence number");
    format!("BU(seq={seq} lt=100 AH) HaO{}", ipv4_option(step, "IPv4HoA", ""))
}

fn acceptance(step: &Step) -> String {
    let seq = step.after("seq").expect("a sequence number");
    format!("BA(status=0 seq={seq} lt=100) RH2{}", ipv4_option(step, "IPv4Ack", " status=0"))
}

fn ipv4_option(step: &Step, name: &str, fields: &str) -> String {
    let node = step.words().nth(1).and_then(Node::named).expect("a mobile node");
    let address = node.ipv4_home_address();
    let wanted = step.words().any(|word| word == "ipv4");
    if wanted { format!(" {name}({address}/32{fields})") } else { String::new() }
}

/// What our codec reads in a packet from the home agent, for a reader of a failure.
#[must_use]
pub fn words(octets: &Octets) -> String {
    let read = notation::describe(octets, (HA6, Ipv6Addr::UNSPECIFIED), notation::Way::Down);
    read.map_or_else(|error| error, |(words, _)| words)
}
