//! What the guides say is so: their commands are commands of the programs, their YAML passes the
//! programs' own checks, and their links lead somewhere.
//!
//! No namespaces: a command is parsed by its own program and not carried out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hearth_e2e::options;
use hearth_lab::{
    netns::output,
    pki::{Authority, Server},
    program::Programs,
};

const PROGRAMS: [&str; 6] =
    ["hearth", "hearthd", "hearth-hac", "hearth-mn", "hearth-lab", "hearth-perf"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Pages for people: README, docs, the notes beside the examples.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<_> = ["docs", "configs/roles", "configs/frr"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .chain([root().join("README.md"), root().join("CONTRIBUTING.md")])
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    pages.sort();
    assert!(pages.len() > 10);
    pages
}

/// Blocks between fences, each with the word behind its fence, and the code in running text.
fn code(page: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut blocks, mut spans) = (Vec::<(String, String)>::new(), Vec::new());
    let mut inside = false;
    for line in page.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push((kind.to_owned(), String::new()));
            }
        } else if inside {
            let (_, block) = blocks.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        } else if let Some(line) = line.strip_prefix("    ") {
            spans.push(line.to_owned());
        } else {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert!(!inside, "a fence is left open");
    (blocks, spans)
}

/// The words of each command in `text`, which are those of a shell without variables.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let line = line.split(" #").next().unwrap_or_default();
        for command in line.split(['|', ';', '>', '<', '(', ')']).flat_map(|it| it.split("&&")) {
            let words: Vec<_> = command
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'', '[', ']']).to_owned())
                .collect();
            // What stands in front of a program.
            let begin = match words.first().map(String::as_str) {
                Some("ip") => "ip netns exec NAMESPACE".split(' ').count(),
                Some("setpriv") => {
                    words.iter().position(|word| word == "--clear-groups").map_or(0, |at| at + 1)
                }
                _ => 0,
            };
            let program = words.get(begin).map_or("", String::as_str);
            if program == "make" || PROGRAMS.contains(&program) {
                commands.push(words[begin..].to_vec());
            }
        }
    }
    commands
}

/// Why the program does not take these words. It parses them itself: what it does not know it
/// refuses before it comes to `--help`, and then it does nothing else.
fn refusal(programs: &Programs, words: &[String]) -> Option<String> {
    let mut command = programs.command(&words[0]).unwrap();
    let said = output(command.args(&words[1..]).arg("--help")).unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    // N, SPI, ID: what a reader puts something in place of.
    let placeholder = |word: &String| word.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    let named = words
        .iter()
        .any(|word| placeholder(word) && text.contains(&format!("invalid value '{word}'")));
    (!said.status.success() && !named).then_some(text)
}

#[test]
fn every_command_of_the_guides_is_one() {
    let programs = Programs::find().unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut where_it_stands = BTreeMap::new();
    for (path, page) in pages() {
        let (blocks, spans) = code(&page);
        let texts = blocks.into_iter().map(|(_, text)| text).chain(spans);
        for words in texts.flat_map(|text| commands(&text)) {
            where_it_stands.entry(words).or_insert_with(|| path.clone());
        }
    }
    assert!(where_it_stands.len() > 100, "{}", where_it_stands.len());
    let mut wrong = Vec::new();
    for (words, path) in where_it_stands {
        let why = if words[0] == "make" {
            let target = words.get(1).filter(|word| !word.contains('='));
            let known = target.is_none_or(|it| makefile.contains(&format!("\n{it}:")));
            (!known).then(|| "no such target".to_owned())
        } else {
            refusal(&programs, &words)
        };
        wrong.extend(why.map(|why| format!("{}: {}\n{why}", path.display(), words.join(" "))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `yaml` with cores that this machine has: the check looks whether they exist.
fn on_this_machine(yaml: &str) -> String {
    let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let line = |line: &str| match line {
        _ if line.starts_with("workers:") => format!("workers: [{{core: {last}}}]\n"),
        _ if line.starts_with("eal:") => {
            let (before, core) = line.split_once("control_core: ").unwrap_or((line, ""));
            let rest = core.trim_start_matches(|c: char| c.is_ascii_digit());
            let key = if core.is_empty() { "" } else { "control_core: 0" };
            format!("{before}{key}{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    yaml.lines().map(line).collect()
}

/// A folder in the place of `/etc/hearth`, with every file that an example names.
struct Etc(PathBuf);

impl Etc {
    fn new(name: &str) -> Self {
        let folder = options(name).files.dir;
        fs::create_dir_all(&folder).unwrap();
        let etc = Self(folder);
        for (ca, names) in
            [("ca.pem", &["hac"][..]), ("directory-ca.pem", &["directory", "ha1"][..])]
        {
            let authority = Authority::new(ca).unwrap();
            authority.write_certificate(&etc.0.join(ca)).unwrap();
            for name in names {
                let alt_name = format!("{name}.example.net");
                let server = Server { common_name: &alt_name, alt_names: &[&alt_name] };
                let [certificate, key] =
                    ["pem", "key"].map(|it| etc.0.join(format!("{name}.{it}")));
                authority.write_server(server, &certificate, &key).unwrap();
            }
        }
        for key in ["mn1.psk", "subscribers.key"] {
            fs::write(etc.0.join(key), "5a".repeat(32)).unwrap();
        }
        etc
    }

    /// What the program says of this YAML where it does not pass.
    fn check(&self, programs: &Programs, program: &str, yaml: &str) -> Option<String> {
        let file = self.0.join("checked.yaml");
        let yaml = yaml.replace("/etc/hearth", &self.0.to_string_lossy());
        fs::write(&file, on_this_machine(&yaml)).unwrap();
        let mut command = programs.command(program).unwrap();
        if program == "hearth-mn" {
            command.arg("check").arg("--config").arg(&file);
        } else {
            command.arg("--config").arg(&file).arg("--check");
        }
        let said = output(&mut command).unwrap();
        let failed = !said.status.success();
        failed.then(|| format!("{program}: {}", String::from_utf8_lossy(&said.stderr)))
    }
}

#[test]
fn every_role_passes_its_programs_check() {
    let (programs, etc) = (Programs::find().unwrap(), Etc::new("guides-roles"));
    let (mut wrong, mut roles) = (Vec::new(), 0);
    for entry in fs::read_dir(root().join("configs/roles")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let program = match name.rsplit('.').nth(1) {
            Some("hearthd") => "hearthd",
            Some("hac") => "hearth-hac",
            Some("mn") => "hearth-mn",
            _ => continue,
        };
        roles += 1;
        let yaml = fs::read_to_string(&path).unwrap();
        wrong.extend(etc.check(&programs, program, &yaml).map(|why| format!("{name}: {why}")));
    }
    assert!(wrong.is_empty() && roles >= 10, "{roles} roles\n{}", wrong.join("\n"));
}

/// `base` with the sections of `part` in the place of its own.
fn with(base: &str, part: &str) -> String {
    let key = |line: &str| {
        let end = line.find(':').filter(|_| line.starts_with(|c: char| c.is_ascii_alphabetic()));
        end.map(|end| line[..end].to_owned())
    };
    let replaced: Vec<_> = part.lines().filter_map(key).collect();
    let mut left = true;
    let mut whole: String = base
        .lines()
        .filter(|line| {
            left = key(line).map_or(left, |key| !replaced.contains(&key));
            left
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    whole.push_str(part);
    whole
}

#[test]
fn yaml_in_the_guides_passes_its_programs_check() {
    let (programs, etc) = (Programs::find().unwrap(), Etc::new("guides-yaml"));
    let base = fs::read_to_string(root().join("configs/roles/single-box.hearthd.yaml")).unwrap();
    let (mut wrong, mut blocks) = (Vec::new(), 0);
    for (path, page) in pages() {
        for (kind, yaml) in code(&page).0 {
            if kind != "yaml" {
                continue;
            }
            blocks += 1;
            let why = if yaml.contains("mn_id:") {
                etc.check(&programs, "hearth-mn", &yaml)
            } else {
                etc.check(&programs, "hearthd", &with(&base, &yaml))
            };
            wrong.extend(why.map(|why| format!("{}: {yaml}{why}", path.display())));
        }
    }
    assert!(wrong.is_empty() && blocks >= 4, "{blocks} blocks\n{}", wrong.join("\n"));
}

#[test]
fn every_link_leads_to_a_file_and_every_page_is_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_guide = path.parent() == Some(&root().join("docs"));
        if is_guide && name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            wrong.push(format!("docs/{name} is not in docs/SUMMARY.md"));
        }
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.contains("://") && !path.parent().unwrap().join(file).exists() {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
