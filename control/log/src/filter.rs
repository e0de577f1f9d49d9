//! `--log` and RUST_LOG: what is logged.

use std::env;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What a filter may look like.
const FORMS: &str = "give a level (error, warn, info, debug, trace, off), or directives with commas \
                     between them as in info,hearthd=debug";

/// The filter of `--log`; without it RUST_LOG's, else `info`.
///
/// # Errors
/// What is wrong, and what would be right. A word that is no level is an error: the library would
/// take it for the name of a module and log nothing of all others.
pub fn filter(argument: Option<&str>) -> Result<EnvFilter, String> {
    match (argument, env::var(EnvFilter::DEFAULT_ENV)) {
        (Some(text), _) => read("--log", text),
        (None, Ok(text)) if !text.is_empty() => read(EnvFilter::DEFAULT_ENV, &text),
        (None, _) => Ok(EnvFilter::new("info")),
    }
}

fn read(source: &str, text: &str) -> Result<EnvFilter, String> {
    let bare = |directive: &&str| !directive.contains(['=', '[']);
    let no_level = |word: &&str| word.is_empty() || word.parse::<LevelFilter>().is_err();
    match text.split(',').filter(bare).find(no_level) {
        Some("") => Err(format!("{source} {text}: a directive is empty; {FORMS}")),
        Some(word) => Err(format!("{source} {text}: '{word}' is no level; {FORMS}")),
        None => {
            EnvFilter::try_new(text).map_err(|error| format!("{source} {text}: {error}; {FORMS}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for right in ["info", "OFF", "hearthd=debug", "warn,hearthd=trace", "info,[span]=debug"] {
            assert!(filter(Some(right)).is_ok(), "{right}");
        }
        for wrong in ["nonsense", "", "info,", "info,hearth", "hearthd=loud", "=== =,"] {
            let error = filter(Some(wrong)).unwrap_err();
            assert!(
                error.starts_with(&format!("--log {wrong}: ")) && error.contains("hearthd=debug"),
                "{error}"
            );
        }
    }
}
