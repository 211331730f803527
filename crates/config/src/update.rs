//! Which releases the node follows, and when it installs them.

use std::{collections::BTreeSet, fmt};

use crate::{duration::Seconds, log_url::host_and_port};

/// Time that a release has to prove healthy, where none is given.
pub(crate) const GATE_DEADLINE: &str = "5m";
const GATE_DEADLINE_S: u64 = 5 * 60;

/// Updates. Nothing is installed unasked, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Channel that is followed.
    pub channel: Option<String>,
    /// URLs of release repositories, in the order in which they are tried. Not empty when `automatic`.
    pub sources: Vec<String>,
    /// Whether the node installs by itself what the channel says.
    pub automatic: bool,
    /// When it may; at any time where there is none.
    pub windows: Vec<Window>,
    /// Most that it waits, by chance, from the moment on at which it could begin.
    pub random_delay: Seconds,
    /// Most that it fetches in a second.
    pub bandwidth_limit_bytes: Option<u64>,
    /// URLs that answer 200 while it must not begin.
    pub not_while: Vec<String>,
    /// What a new release must prove.
    pub gate: Gate,
    /// What becomes of a repository whose metadata has expired.
    pub metadata_expiry: Expiry,
}

/// When updates may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Days on which it begins, in UTC.
    pub days: BTreeSet<Weekday>,
    /// Minute of the day at which it begins, in UTC.
    pub start_minute: u16,
    /// How long it is open, possibly beyond the end of the day.
    pub duration: Seconds,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    /// All, as configurations name them.
    pub(crate) const NAMES: [&'static str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    /// In the order of [`Self::NAMES`].
    const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    pub(crate) fn all() -> BTreeSet<Self> {
        Self::ALL.into()
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let named = Self::NAMES.into_iter().zip(Self::ALL).find(|(known, _)| *known == name);
        named.map(|(_, day)| day)
    }
}

/// What a new release must prove besides what every release must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Time for all of it, from the start of the kernel on.
    pub deadline: Seconds,
    /// What must answer.
    pub probes: Vec<Probe>,
}

/// Something that must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Takes a connection.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// Answers a GET with a status of 200 to 299.
    Http(String),
}

/// What becomes of a repository whose metadata has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing of it is installed.
    #[default]
    Enforce,
    /// It is taken all the same: a site without an uplink gets its releases when somebody brings them.
    Ignore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { deadline: Seconds(GATE_DEADLINE_S), probes: Vec::new() }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<String> = self.days.iter().map(|day| format!("{day:?}")).collect();
        let days = if self.days == Weekday::all() { "daily".to_owned() } else { days.join(" ") };
        let (hour, minute) = (self.start_minute / 60, self.start_minute % 60);
        write!(f, "{days} {hour:02}:{minute:02} for {}", self.duration)
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Http(url) => f.write_str(url),
        }
    }
}

/// Minute of the day of a time such as "02:00".
pub(crate) fn time_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| digits && *number < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

/// Takes a probe's URL apart.
pub(crate) fn probe(url: &str) -> Result<Probe, String> {
    let Some(authority) = url.strip_prefix("tcp://") else {
        return match url.starts_with("http://") || url.starts_with("https://") {
            true => crate::format::url(url).map(|()| Probe::Http(url.to_owned())),
            false => Err("must be a URL that begins with tcp://, http:// or https://".into()),
        };
    };
    let tcp = host_and_port(authority).map(|(host, port)| Probe::Tcp { host, port });
    tcp.ok_or_else(|| "must name a host and a port, as in tcp://192.0.2.1:443".into())
}

/// Whether a channel has a name that says which Kubernetes it holds, such as "stable-k1.37".
pub(crate) fn is_channel(text: &str) -> bool {
    let Some((name, minor)) = text.rsplit_once("-k1.") else { return false };
    let digits = (1..=3).contains(&minor.len()) && minor.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    digits
        && text.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(plain)
}
