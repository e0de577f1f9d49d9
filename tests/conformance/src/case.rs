//! A case: what comes in and what is expected, line by line.
//!
//! ```text
//! REG-03  M  RFC 6275 s.6.2.5; R-36
//! Alternate Care-of Address option: the care-of address over IPv6
//!
//! given sa 1 a
//!
//! > BU(seq=1 lt=100 AH) HaO AltCoA(2001:db8:9::9)  from [2001:db8:1::c]:5000 under 1
//!         60: 8702 0102 ...
//! < bind a at [2001:db8:9::9]:5000 under 1
//! < BA(status=0 seq=1 lt=100) RH2  to [2001:db8:1::c]:5000 under 1
//!         43: 8702 0201 ...
//! = a at [2001:db8:9::9]:5000 seq 1
//! ```

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// One case file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub path: PathBuf,
    /// The file's name without its extension.
    pub name: String,
    /// The rows that it shows.
    pub rows: Vec<String>,
    /// What it shows, in a line.
    pub title: String,
    /// What happens, in this order.
    pub steps: Vec<Step>,
}

/// One line of a case, and the octets under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The number of the line in its file.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
    /// What stands behind the sign, white space squeezed.
    pub text: String,
    /// The octets of a packet.
    pub octets: Option<Octets>,
}

/// What a line of a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `given`: what is so at the start.
    Given,
    /// `>`: an authentic packet reaches the home agent.
    Packet,
    /// `!`: something else happens.
    Event,
    /// `@`: time passes, up to so many seconds from the start.
    Time(Duration),
    /// `<`: what the home agent does.
    Action,
    /// `=`: what it holds now.
    State,
}

/// The octets of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Octets {
    /// What they begin with.
    pub head: Head,
    /// The octets.
    pub payload: Vec<u8>,
}

/// What the octets of a packet begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The header that the envelope's trailer names: extension headers and Mobility Header.
    Next(u8),
    /// An IPv6 header.
    Ip,
    /// An Ethernet header.
    Ethernet,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "ip" => Some(Self::Ip),
            "eth" => Some(Self::Ethernet),
            next_header => next_header.parse().ok().map(Self::Next),
        }
    }
}

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Head::Next(next_header) => write!(f, "{next_header}: ")?,
            Head::Ip => f.write_str("ip: ")?,
            Head::Ethernet => f.write_str("eth: ")?,
        }
        f.write_str(&hex(&self.payload))
    }
}

/// A line that is no line of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The file and the line's number.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl core::error::Error for Malformed {}

/// All case files below a folder, in the order of their paths.
///
/// # Errors
/// A folder that can't be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "case") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Case {
    /// Reads a case file.
    ///
    /// # Errors
    /// A file that can't be read, and the first line that is wrong.
    pub fn read(path: &Path) -> Result<Self, Malformed> {
        let place = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| Malformed { place: place.clone(), what: error.to_string() })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a case file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Malformed> {
        let wrong = |line: usize, what: &str| Malformed {
            place: format!("{}:{line}", path.display()),
            what: what.to_owned(),
        };
        let mut lines =
            (1..).zip(text.lines().map(without_comment)).filter(|line| !line.1.is_empty());
        let (line, head) = lines.next().ok_or_else(|| wrong(1, "an empty case"))?;
        let rows = rows_of(head).ok_or_else(|| wrong(line, "not ROWS LEVEL CLAUSE"))?;
        let (_, title) = lines.next().ok_or_else(|| wrong(line, "no title"))?;
        let mut steps: Vec<Step> = Vec::new();
        for (number, line) in lines {
            if line.starts_with([' ', '\t']) {
                let under = steps.last_mut().filter(|step| step.takes_octets());
                let under = under.ok_or_else(|| wrong(number, "octets of nothing"))?;
                append(&mut under.octets, line).ok_or_else(|| wrong(number, "not octets"))?;
                continue;
            }
            steps.push(Step::parse(number, line).ok_or_else(|| wrong(number, "not a step"))?);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (path, title) = (path.to_owned(), title.trim().to_owned());
        Ok(Self { path, name, rows, title, steps })
    }
}

impl Step {
    fn parse(line: usize, text: &str) -> Option<Self> {
        let (sign, rest) = text.split_once(char::is_whitespace)?;
        let text = squeezed(rest);
        let kind = match sign {
            "given" => Kind::Given,
            ">" => Kind::Packet,
            "!" => Kind::Event,
            "@" => Kind::Time(duration(&text)?),
            "<" => Kind::Action,
            "=" => Kind::State,
            _ => return None,
        };
        Some(Self { line, kind, text, octets: None })
    }

    fn takes_octets(&self) -> bool {
        matches!(self.kind, Kind::Packet | Kind::Action | Kind::Event)
    }

    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ')
    }

    /// The word behind this one.
    #[must_use]
    pub fn after(&self, word: &str) -> Option<&str> {
        self.words().skip_while(|other| *other != word).nth(1)
    }
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim_end()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `REG-01,REG-02 M CLAUSE`.
fn rows_of(head: &str) -> Option<Vec<String>> {
    let mut words = head.split_whitespace();
    let rows: Vec<_> = words.next()?.split(',').map(str::to_owned).collect();
    let levels = words.next()?.bytes().all(|level| b"MSYRP".contains(&level));
    let clause = words.next().is_some();
    let is_row = |row: &String| row.split_once('-').is_some_and(|(_, n)| n.parse::<u8>().is_ok());
    (levels && clause && rows.iter().all(is_row)).then_some(rows)
}

/// `400s`, `0.999s`, `10ms`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(millis.parse().ok()?));
    }
    let seconds = text.strip_suffix('s')?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let millis: u64 = format!("{fraction:0<3}").parse().ok().filter(|millis| *millis < 1000)?;
    Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(millis))
}

/// `60: 8702 0102` on the first line, words alone on those behind it.
fn append(octets: &mut Option<Octets>, line: &str) -> Option<()> {
    let line = line.trim();
    let words = if let Some((head, words)) = line.split_once(':') {
        if octets.is_some() {
            return None;
        }
        *octets = Some(Octets { head: Head::parse(head)?, payload: Vec::new() });
        words
    } else {
        line
    };
    let payload = &mut octets.as_mut()?.payload;
    for word in words.split_whitespace() {
        for at in (0..word.len()).step_by(2) {
            payload.push(u8::from_str_radix(word.get(at..at + 2)?, 16).ok()?);
        }
    }
    Some(())
}

/// Octets as a case has them.
#[must_use]
pub fn hex(payload: &[u8]) -> String {
    let word = |pair: &[u8]| pair.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    payload.chunks(2).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    const TEXT: &str = "\
REG-03,REG-04  M  RFC 6275 s.6.2.5; R-36
A title

given sa 1 a   # a comment
> BU(seq=1 lt=100 AH)   HaO  from [2001:db8:1::c]:5000 under 1
        60: 8702 01
            02ff
@ 399.5s
= a none
";

    #[test]
    fn a_case_is_read_line_by_line() {
        let case = Case::parse(Path::new("reg/REG-03-x.case"), TEXT).unwrap();
        assert_eq!((&case.name[..], &case.title[..]), ("REG-03-x", "A title"));
        assert_eq!(case.rows, ["REG-03", "REG-04"]);
        let kinds: Vec<_> = case.steps.iter().map(|step| (step.line, step.kind)).collect();
        let time = Kind::Time(Duration::from_millis(399_500));
        assert_eq!(kinds, [(4, Kind::Given), (5, Kind::Packet), (8, time), (9, Kind::State)]);
        let packet = &case.steps[1];
        assert_eq!(packet.text, "BU(seq=1 lt=100 AH) HaO from [2001:db8:1::c]:5000 under 1");
        assert_eq!(packet.after("under"), Some("1"));
        let payload = vec![0x87, 2, 1, 2, 0xff];
        assert_eq!(packet.octets, Some(Octets { head: Head::Next(60), payload }));
    }

    #[test]
    fn what_is_no_case_is_said_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("REG-03\nA title", 1),
            ("REG-03 X RFC\nA title", 1),
            ("REG-xx M RFC\nA title", 1),
            ("REG-03 M RFC\nA title\n? what", 3),
            ("REG-03 M RFC\nA title\n@ soon", 3),
            ("REG-03 M RFC\nA title\n  60: 00", 3),
            ("REG-03 M RFC\nA title\n> BU\n  60: 0g", 4),
            ("REG-03 M RFC\nA title\n> BU\n  60: 00\n  60: 00", 5),
        ] {
            let error = Case::parse(Path::new("x.case"), text).unwrap_err();
            assert_eq!(error.place, format!("x.case:{line}"), "{text}");
        }
    }

    #[test]
    fn durations() {
        let ms = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("400s"), Some(400_000));
        assert_eq!(ms("0.999s"), Some(999));
        assert_eq!(ms("1.5s"), Some(1500));
        assert_eq!(ms("10ms"), Some(10));
        for text in ["400", "s", "1.2345s", "x", ""] {
            assert_eq!(ms(text), None, "{text}");
        }
    }
}
