//! Arguments of `logs`, `dmesg` and `crashes`.

use std::str::FromStr;

use clap::Args;
use prost_types::Timestamp;

use crate::duration;
use crate::log_source::LogSource;

const LOGS_EXAMPLES: &str = "\
Examples:
  osctl logs                                      whose lines are kept
  osctl logs -f kubelet --tail 20
  osctl logs default/hello                        of a pod
  osctl logs machined --previous-boot             what it said before the node went down
  osctl logs --boot list                          boots of which there are lines
  osctl logs kubelet --since 2h --grep '^E'       errors of the last two hours, over reboots
  osctl logs audit --since 2026-01-02T03:04:05Z -o json";

/// Arguments of `logs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOGS_EXAMPLES)]
pub struct Logs {
    /// SERVICE, kernel, audit, POD/CONTAINER, NAMESPACE/POD or NAMESPACE/POD/CONTAINER; without it the logs that are
    /// kept are listed
    #[arg(value_name = "SOURCE")]
    pub source: Option<LogSource>,
    /// How much to print.
    #[command(flatten)]
    pub follow: Follow,
    /// Which boot.
    #[command(flatten)]
    pub boot: Boot,
    /// Only lines of this time and later: an age such as 2h, or a time such as 2026-01-02T03:04:05Z. Over all boots,
    /// unless one is named
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// Only lines that match this regular expression; the node looks for them
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
}

impl Logs {
    /// Whether it prints lines, rather than what there is to print.
    pub fn prints_lines(&self) -> bool {
        self.source.is_some() && self.boot.which() != WhichBoot::List
    }
}

/// Arguments of `dmesg`.
#[derive(Clone, Debug, Args)]
pub struct Dmesg {
    /// How much to print.
    #[command(flatten)]
    pub follow: Follow,
    /// Which boot.
    #[command(flatten)]
    pub boot: Boot,
}

/// Arguments of `crashes`.
#[derive(Clone, Debug, Args)]
pub struct Crashes {
    /// Print the last words of this crash instead of the list
    pub id: Option<u64>,
}

/// How much of a log to print.
#[derive(Clone, Copy, Debug, Args)]
pub struct Follow {
    /// Keep printing what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with the last N lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
}

/// Of which boot.
#[derive(Clone, Debug, Args)]
pub struct Boot {
    /// Boot: 0 for this one, -1 for the one before, or the beginning of its id; "list" lists them
    #[arg(long, value_name = "BOOT", allow_hyphen_values = true, conflicts_with = "previous_boot")]
    boot: Option<String>,
    /// The boot before this one; short for --boot -1
    #[arg(long)]
    previous_boot: bool,
}

/// What `--boot` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichBoot {
    /// Nothing was said.
    Unsaid,
    /// All of them are to be listed.
    List,
    /// This one.
    One(String),
}

impl Boot {
    /// Which boot is meant.
    pub fn which(&self) -> WhichBoot {
        match self.boot.as_deref() {
            _ if self.previous_boot => WhichBoot::One("-1".to_owned()),
            None => WhichBoot::Unsaid,
            Some("list") => WhichBoot::List,
            Some(boot) => WhichBoot::One(boot.to_owned()),
        }
    }
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// So many seconds ago, by the node's clock.
    Ago(u64),
    /// At this time.
    At(Timestamp),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        if let Ok(ago) = duration::parse(text) {
            return Ok(When::Ago(ago.as_secs()));
        }
        let wrong = || {
            format!(
                "{text:?} is no time; write an age like 30s, 2h or 1d12h, or a time like 2026-01-02T03:04:05Z"
            )
        };
        text.parse().map(When::At).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ages_or_times() {
        assert_eq!("2h".parse(), Ok(When::Ago(7200)));
        let at = Timestamp { seconds: 1_767_323_045, nanos: 0 };
        assert_eq!("2026-01-02T03:04:05Z".parse(), Ok(When::At(at)));
        assert_eq!("2026-01-02T04:04:05+01:00".parse(), Ok(When::At(at)));
        for text in ["", "yesterday", "2026-13-02T03:04:05Z", "-5"] {
            assert!(text.parse::<When>().unwrap_err().contains("is no time"), "{text}");
        }
    }
}
