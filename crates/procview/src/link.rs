//! Counters of links.

use crate::text::text;

/// A line of /proc/net/dev, see proc_pid_net(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCounters {
    /// Name of the link.
    pub name: String,
    /// Received.
    pub received_bytes: u64,
    /// Received.
    pub received_packets: u64,
    /// Damaged ones.
    pub received_errors: u64,
    /// Thrown away.
    pub received_dropped: u64,
    /// Sent.
    pub sent_bytes: u64,
    /// Sent.
    pub sent_packets: u64,
    /// That could not be sent.
    pub sent_errors: u64,
    /// Thrown away.
    pub sent_dropped: u64,
}

impl LinkCounters {
    /// All links of the file; the two lines of its heading have no number where one belongs.
    #[must_use]
    pub fn parse_all(bytes: &[u8]) -> Vec<Self> {
        text(bytes).lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, counters) = line.rsplit_once(':')?;
        let counters: Vec<&str> = counters.split_ascii_whitespace().collect();
        let number = |at: usize| counters.get(at)?.parse::<u64>().ok();
        Some(Self {
            name: name.trim().to_owned(),
            received_bytes: number(0)?,
            received_packets: number(1)?,
            received_errors: number(2)?,
            received_dropped: number(3)?,
            sent_bytes: number(8)?,
            sent_packets: number(9)?,
            sent_errors: number(10)?,
            sent_dropped: number(11)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_without_the_heading() {
        let text = b"Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0\n \
            eth0: 9 8 7 6 5 4 3 2 19 18 17 16 15 14 13 12\n";
        let links = LinkCounters::parse_all(text);
        assert_eq!(links.len(), 2);
        let [loopback, ethernet] = [&links[0], &links[1]];
        assert_eq!((loopback.name.as_str(), loopback.received_bytes, loopback.sent_packets), ("lo", 100, 2));
        assert_eq!((ethernet.received_dropped, ethernet.sent_bytes, ethernet.sent_dropped), (6, 19, 16));
    }
}
