//! The status screen on the first virtual terminal, for whoever stands before the machine.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// The terminal shown at boot; a machine without a screen has none.
const TERMINAL: &str = "/dev/tty1";
/// Lines of machined's that are kept.
const LINES_MAX: usize = 6;
/// Longest line shown.
const LINE_MAX_CHARS: usize = 120;
/// Cursor home, clear the screen.
const CLEAR: &str = "\x1b[H\x1b[J";

/// What the screen shows besides the services.
#[derive(Debug, Default)]
pub struct Console {
    lines: VecDeque<String>,
}

impl Console {
    /// Adds a line; the oldest goes when there are too many. The same line again is not added.
    pub fn add(&mut self, line: &str) {
        let line: String =
            line.chars().take(LINE_MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.lines.contains(&line) {
            return;
        }
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Draws the screen. `services` are names and states.
    pub fn draw<'a>(&self, services: impl Iterator<Item = (&'a str, &'a str)>) {
        let screen = self.render(services);
        let terminal =
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(TERMINAL);
        if let Ok(mut terminal) = terminal {
            // The kernel's log has it all; a screen that takes nothing is no loss.
            let _ = terminal.write_all(screen.as_bytes());
        }
    }

    fn render<'a>(&self, services: impl Iterator<Item = (&'a str, &'a str)>) -> String {
        let mut screen = format!("{CLEAR}Cairn OS\r\n\r\n");
        for (name, state) in services {
            screen.push_str(&format!("  {name:<12} {state}\r\n"));
        }
        screen.push_str("\r\n");
        for line in &self.lines {
            screen.push_str(&format!("  {line}\r\n"));
        }
        screen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_shows_services_and_the_latest_lines() {
        let mut console = Console::default();
        for index in 0..10 {
            console.add(&format!("line {index}\x1b[31m"));
            console.add(&format!("line {index}\x1b[31m"));
        }
        let screen = console.render([("machined", "running"), ("apid", "backoff")].into_iter());
        assert!(screen.contains("  machined     running\r\n  apid         backoff\r\n"));
        assert!(!screen.contains("line 3") && screen.contains("line 4 [31m\r\n"));
        assert_eq!(screen.matches("line 9").count(), 1);
        assert_eq!(screen.matches('\x1b').count(), 2, "only the codes that clear the screen");
    }
}
