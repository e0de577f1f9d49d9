//! `hearth top`: throughput, drops, workers and bindings, live.

mod model;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::model::{Look, Model};
use self::view::{Page, Screen, draw};
use crate::client::{self, Daemon, Error};

/// How long a key or a signal may wait.
const TURN: Duration = Duration::from_millis(100);

/// The longest text that is searched for.
const LONGEST_SEARCH: usize = 64;

/// Columns and lines of what is printed once.
const ONCE: (u16, u16) = (100, 40);

/// What `hearth top` takes.
#[derive(Debug, Clone, Args)]
pub struct TopArguments {
    /// Seconds from one look to the next.
    #[arg(
        long, value_name = "S", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=60)
    )]
    interval: u64,
    /// Print one screen as text and end; so it does too where standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// With --once: print it as JSON: what the daemon says, and rates of a second.
    #[arg(long, requires = "once")]
    json: bool,
    /// Bindings with this text in their mn-id or addresses.
    #[arg(long, value_name = "TEXT", default_value = "")]
    search: String,
}

/// Shows all until the user has seen enough.
///
/// # Errors
/// The daemon can't be asked at the first time, or the terminal can't be used.
pub fn top(daemon: &Daemon, arguments: &TopArguments) -> Result<(), Error> {
    let TopArguments { interval, once, json, search } = arguments;
    let interval = Duration::from_secs(*interval);
    let mut model = Model::default();
    let screen = Screen { search: search.clone(), ..Screen::default() };
    model.take(Ok(Look::take(daemon, search)?));
    if *once || !io::stdout().is_terminal() {
        thread::sleep(interval);
        model.take(Ok(Look::take(daemon, search)?));
        return print_once(&model, &screen, *json);
    }
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stopping))?;
    }
    // Puts the terminal back when this thread panics, too.
    let mut terminal = ratatui::try_init()?;
    let ended = live(&mut terminal, daemon, (model, screen), interval, &stopping);
    ratatui::try_restore()?;
    ended
}

fn print_once(model: &Model, screen: &Screen, json: bool) -> Result<(), Error> {
    if json {
        let text = json!({ "now": model.last, "per_second": model.rates });
        client::print(&(serde_json::to_string_pretty(&text)? + "\n"));
        return Ok(());
    }
    let (columns, lines) = ONCE;
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).map_err(io::Error::other)?;
    terminal.draw(|frame| draw(frame, model, screen)).map_err(io::Error::other)?;
    client::print(&text_of(terminal.backend().buffer()));
    Ok(())
}

/// The lines of a screen but the last, which says what keys do.
fn text_of(buffer: &Buffer) -> String {
    let wide = usize::from(buffer.area.width).max(1);
    let lines = buffer.content.chunks(wide).map(|cells| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    });
    let mut lines: Vec<String> = lines.collect();
    lines.pop();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

fn live(
    terminal: &mut DefaultTerminal,
    daemon: &Daemon,
    (mut model, mut screen): (Model, Screen),
    interval: Duration,
    stopping: &AtomicBool,
) -> Result<(), Error> {
    let (mut looked, mut changed) = (Instant::now(), true);
    loop {
        if std::mem::take(&mut changed) {
            terminal.draw(|frame| draw(frame, &model, &screen))?;
        }
        let left = interval.saturating_sub(looked.elapsed()).min(TURN);
        let had = screen.search.clone();
        if event::poll(left)? {
            changed = true;
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    if press(&mut screen, key.code, control) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        if stopping.load(Ordering::Relaxed) {
            return Ok(());
        }
        if looked.elapsed() >= interval || had != screen.search {
            (looked, changed) = (Instant::now(), true);
            model.take(Look::take(daemon, &screen.search));
        }
    }
}

/// Does what a key asks for; whether that is to end.
fn press(screen: &mut Screen, key: KeyCode, control: bool) -> bool {
    let to = |screen: &mut Screen, page| (screen.page, screen.scroll) = (page, 0);
    match key {
        KeyCode::Char('c') if control => return true,
        KeyCode::Enter if screen.typing => screen.typing = false,
        KeyCode::Esc if screen.typing => (screen.typing, screen.search) = (false, String::new()),
        KeyCode::Backspace if screen.typing => drop(screen.search.pop()),
        KeyCode::Char(letter) if screen.typing => {
            let has_room = screen.search.len() < LONGEST_SEARCH;
            screen.search.extend(Some(letter).filter(|letter| has_room && !letter.is_control()));
        }
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('b') => to(screen, Page::Bindings),
        KeyCode::Char('w') => to(screen, Page::Workers),
        KeyCode::Char('p') => to(screen, Page::Ports),
        KeyCode::Char('d') => to(screen, Page::Drops),
        KeyCode::Char('/') => {
            to(screen, Page::Bindings);
            screen.typing = true;
        }
        KeyCode::Up => screen.scroll = screen.scroll.saturating_sub(1),
        KeyCode::Down => screen.scroll = screen.scroll.saturating_add(1),
        KeyCode::PageUp => screen.scroll = screen.scroll.saturating_sub(10),
        KeyCode::PageDown => screen.scroll = screen.scroll.saturating_add(10),
        KeyCode::Home => screen.scroll = 0,
        _ => {}
    }
    false
}
