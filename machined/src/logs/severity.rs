//! How severe a line of a service is, where the service says so. Pure.

/// Names of syslog's severities (RFC 5424, section 6.2.1), by number.
const NAMES: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];
/// A severity takes the lowest bits of a priority.
const MASK: u16 = 7;
const CRITICAL: u16 = 2;
const ERROR: u16 = 3;
const WARNING: u16 = 4;
const NOTICE: u16 = 5;
const INFO: u16 = 6;
const DEBUG: u16 = 7;

/// The name of a priority's severity.
pub fn name(priority: u16) -> Option<&'static str> {
    NAMES.get(usize::from(priority & MASK)).copied()
}

/// Whether it is worth a write to flash of its own.
pub fn is_urgent(priority: Option<u16>) -> bool {
    priority.is_some_and(|priority| priority & MASK <= ERROR)
}

/// What a line says of itself, in one of the forms in which the services of a node write: JSON of tracing, klog of
/// Kubernetes, logfmt of containerd.
pub fn of_line(line: &str) -> Option<u16> {
    json(line).or_else(|| klog(line)).or_else(|| logfmt(line))
}

fn json(line: &str) -> Option<u16> {
    let (_, level) = line.starts_with('{').then(|| line.split_once("\"level\":\""))??;
    named(level.split('"').next()?)
}

/// `I0102 03:04:05.678901       1 file.go:12] text`
fn klog(line: &str) -> Option<u16> {
    let (level, rest) = line.split_at_checked(1)?;
    let date = rest.get(..5)?;
    let is_date = date.ends_with(' ') && date.trim_end().bytes().all(|byte| byte.is_ascii_digit());
    match (is_date, level) {
        (true, "I") => Some(INFO),
        (true, "W") => Some(WARNING),
        (true, "E") => Some(ERROR),
        (true, "F") => Some(CRITICAL),
        _ => None,
    }
}

/// `time="…" level=info msg="…"`
fn logfmt(line: &str) -> Option<u16> {
    let level = line.split(' ').find_map(|word| word.strip_prefix("level="))?;
    named(level.trim_matches('"'))
}

fn named(level: &str) -> Option<u16> {
    match level.to_ascii_lowercase().as_str() {
        "trace" | "debug" => Some(DEBUG),
        "info" => Some(INFO),
        "notice" => Some(NOTICE),
        "warn" | "warning" => Some(WARNING),
        "err" | "error" => Some(ERROR),
        "fatal" | "panic" => Some(CRITICAL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn services_say_how_severe_a_line_is() {
        for (line, severity) in [
            (
                r#"{"timestamp":"2026-01-02T03:04:05Z","level":"WARN","fields":{"message":"x"}}"#,
                Some(WARNING),
            ),
            (r#"{"msg":"\"level\":\"error\""}"#, None),
            ("I0102 03:04:05.678901       1 server.go:12] \"Started\" level=error", Some(INFO)),
            ("E0102 03:04:05.678901       1 server.go:12] x", Some(ERROR)),
            ("F0102 ", Some(CRITICAL)),
            ("Info: level=", None),
            ("E0x02 03:04:05 x", None),
            ("time=\"2026-01-02T03:04:05Z\" level=warning msg=\"cleaning up\"", Some(WARNING)),
            ("level=\"info\" x", Some(INFO)),
            ("Äpfel", None),
            ("", None),
        ] {
            assert_eq!(of_line(line), severity, "{line}");
        }
        assert_eq!((name(3), name(8 + 7)), (Some("error"), Some("debug")));
        assert!(is_urgent(Some(8 + 3)) && !is_urgent(Some(4)) && !is_urgent(None));
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in any::<String>()) {
            of_line(&line);
        }
    }
}
