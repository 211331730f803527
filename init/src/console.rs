//! The status screen on the first virtual terminal, for whoever stands before the machine. What machined wants to be
//! seen there and kept out of every log, the panel, is also written to the kernel's console, which may be a serial line.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// The terminal shown at boot; a machine without a screen has none.
const TERMINAL: &str = "/dev/tty1";
/// The console that the kernel command line names last.
const KERNEL_CONSOLE: &str = "/dev/console";
/// Lines of machined's that are kept.
const LINES_MAX: usize = 6;
/// Longest line shown.
const LINE_MAX_CHARS: usize = 120;
/// A text screen has 25 lines of 80 characters: the panel leaves room for the latest of the others below it.
const PANEL_LINES_MAX: usize = 21;
const LINES_BELOW_PANEL: usize = 2;
const SCREEN_CHARS: usize = 80;
/// Cursor home, clear the screen.
const CLEAR: &str = "\x1b[H\x1b[J";

/// What the screen shows besides the services.
#[derive(Debug, Default)]
pub struct Console {
    lines: VecDeque<String>,
    panel: Vec<String>,
}

impl Console {
    /// Adds a line; the oldest goes when there are too many. The same line again is not added.
    pub fn add(&mut self, line: &str) {
        let line = clean(line, LINE_MAX_CHARS);
        if self.lines.contains(&line) {
            return;
        }
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Shows lines in place of the services from now on. The kernel's console gets them once.
    pub fn show(&mut self, lines: &[String]) {
        let panel: Vec<_> =
            lines.iter().take(PANEL_LINES_MAX).map(|line| clean(line, SCREEN_CHARS)).collect();
        if panel != self.panel {
            write(KERNEL_CONSOLE, &text(panel.iter()));
            self.panel = panel;
        }
    }

    /// Draws the screen. `services` are names and states.
    pub fn draw<'a>(&self, services: impl Iterator<Item = (&'a str, &'a str)>) {
        write(TERMINAL, &self.render(services));
    }

    fn render<'a>(&self, services: impl Iterator<Item = (&'a str, &'a str)>) -> String {
        if !self.panel.is_empty() {
            return self.render_panel();
        }
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

    fn render_panel(&self) -> String {
        let from = self.lines.len().saturating_sub(LINES_BELOW_PANEL);
        let below: Vec<_> = self.lines.iter().skip(from).map(|line| clean(line, SCREEN_CHARS - 1)).collect();
        [CLEAR, &text(self.panel.iter()), "\r\n", &text(below.iter())].concat()
    }
}

fn clean(line: &str, max_chars: usize) -> String {
    line.chars().take(max_chars).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn text<'a>(lines: impl Iterator<Item = &'a String>) -> String {
    lines.flat_map(|line| [line.as_str(), "\r\n"]).collect()
}

/// A terminal that takes nothing is no loss, and PID 1 waits for none.
fn write(terminal: &str, text: &str) {
    let opened =
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(terminal);
    if let Ok(mut terminal) = opened {
        let _ = terminal.write_all(text.as_bytes());
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

    #[test]
    fn a_panel_takes_the_place_of_the_services_and_fits_the_screen() {
        let mut console = Console::default();
        for index in 0..10 {
            console.add(&format!("line {index} {}", "x".repeat(100)));
        }
        // Not shown: the test has no business on the console of its host.
        console.panel = vec!["█".repeat(80); PANEL_LINES_MAX];
        let screen = console.render([("machined", "running")].into_iter());
        assert!(!screen.contains("machined") && screen.contains("line 9") && !screen.contains("line 7"));
        let lines: Vec<_> = screen.trim_start_matches(CLEAR).split("\r\n").collect();
        assert!(lines.len() <= 25 && lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
        console.panel.clear();
        assert!(console.render([("machined", "running")].into_iter()).contains("machined"));
    }
}
