//! The guide speaks of lines that the node really says, and of keys that its YAML really has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text of every source file, with what a `\` at a line's end joins joined.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(&path).unwrap().lines() {
                match line.trim().strip_suffix('\\') {
                    Some(begun) => text.push_str(begun),
                    None => text.extend([line.trim(), "\n"]),
                }
            }
        }
    }
}

/// What stands between backticks in the first cell of each row, from `heading` on.
fn first_cells(guide: &str, heading: &str) -> Vec<String> {
    let (_, part) = guide.split_once(heading).expect("the heading");
    let cells = part.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.map(|cell| cell.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn every_line_of_the_guide_is_one_that_the_node_says() {
    let guide = fs::read_to_string(tree("docs/mobile-node.md")).unwrap();
    let mut said = String::new();
    sources(&tree("mn-tools/src"), &mut said);
    let lines = first_cells(&guide, "## When something is wrong");
    assert!(lines.len() > 25, "{lines:?}");
    for line in lines {
        // Numbers and names are filled in.
        let said = said.contains(&line) || said.contains(&line.replace("401)", "401): {}"));
        assert!(said, "nothing says: {line}");
    }
}

#[test]
fn every_key_of_the_guide_is_in_the_example() {
    let guide = fs::read_to_string(tree("docs/mobile-node.md")).unwrap();
    let example = fs::read_to_string(tree("configs/mn.yaml")).unwrap();
    let (_, table) = guide.split_once("| you want | key |").unwrap();
    let rows = table.lines().take_while(|line| !line.starts_with('W')).filter(|it| it.len() > 9);
    let keys = rows.flat_map(|row| row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let keys: Vec<_> = keys.map(|key| key.split(':').next().unwrap()).collect();
    assert!(keys.len() > 7, "{keys:?}");
    for key in keys {
        assert!(example.contains(&format!("{key}:")), "{key}");
    }
}
