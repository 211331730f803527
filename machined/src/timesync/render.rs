//! What ntpd-rs reads (its ntp.toml(5)). Pure.

use std::fmt::Write as _;

use config::{TimeProtocol, TimeServer};

/// With fewer there is nobody to agree with.
const MAJORITY_FROM: usize = 3;
/// A clock that was right once is not moved by more than this at a time, in seconds: somebody is wrong, and the daemon
/// ends so that it is begun anew. At its start any step is taken: boards without a clock say 1970, others say anything.
const STEP_MAX_S: u32 = 1800;

/// The daemon's configuration. `ca` names CAs that are trusted besides the image's.
pub fn config(servers: &[TimeServer], ca: Option<&str>) -> String {
    let mut text = String::new();
    for server in servers {
        let mode = match server.protocol {
            TimeProtocol::Nts => "nts",
            TimeProtocol::Ntp => "server",
        };
        // Writing to a String cannot fail. Hosts have no character that means anything in TOML.
        let _ = write!(text, "[[source]]\nmode = \"{mode}\"\naddress = \"{}\"\n", server.authority());
        if let (TimeProtocol::Nts, Some(ca)) = (server.protocol, ca) {
            let _ = writeln!(text, "certificate-authority = \"{ca}\"");
        }
        text.push('\n');
    }
    let agreeing = match servers.len() {
        count if count >= MAJORITY_FROM => count / 2 + 1,
        _ => 1,
    };
    let _ = write!(
        text,
        "[synchronization]\n\
         minimum-agreeing-sources = {agreeing}\n\
         single-step-panic-threshold = {STEP_MAX_S}\n\
         startup-step-panic-threshold = \"inf\"\n\n\
         [observability]\n\
         log-level = \"info\"\n\
         observation-path = \"{}\"\n\
         observation-permissions = 0o600\n",
        layout::path::NTP_OBSERVE
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_asked_as_they_want_to_be() {
        let nts = TimeServer { protocol: TimeProtocol::Nts, host: "time.example.com".into(), port: 4460 };
        let text = config(&[nts, TimeServer::plain("2001:db8::1")], Some("/run/ca.pem"));
        let sources = "[[source]]\nmode = \"nts\"\naddress = \"time.example.com:4460\"\ncertificate-authority = \"/run/ca.pem\"\n\n\
                       [[source]]\nmode = \"server\"\naddress = \"[2001:db8::1]:123\"\n\n";
        assert!(text.starts_with(sources), "{text}");
        assert!(text.contains("minimum-agreeing-sources = 1\n"), "{text}");
    }

    #[test]
    fn of_three_and_more_most_must_agree() {
        for (count, agreeing) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (8, 5)] {
            let servers = vec![TimeServer::plain("192.0.2.1"); count];
            let line = format!("minimum-agreeing-sources = {agreeing}\n");
            assert!(config(&servers, None).contains(&line), "{count}");
        }
    }
}
