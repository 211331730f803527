//! How severe a line of a service is, where the service says so. Pure.

/// Names of syslog's severities (RFC 5424), by number.
const NAMES: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

/// The name of a severity of the kernel.
pub fn of_kernel(severity: u32) -> Option<&'static str> {
    NAMES.get(usize::try_from(severity).ok()?).copied()
}

/// What a line says of itself, in one of the forms in which the services of a node write: JSON of tracing, klog of
/// Kubernetes, logfmt of containerd.
pub fn of_line(line: &str) -> Option<&'static str> {
    json(line).or_else(|| klog(line)).or_else(|| logfmt(line))
}

fn json(line: &str) -> Option<&'static str> {
    let (_, level) = line.starts_with('{').then(|| line.split_once("\"level\":\""))??;
    named(level.split('"').next()?)
}

/// `I0102 03:04:05.678901       1 file.go:12] text`
fn klog(line: &str) -> Option<&'static str> {
    let (level, rest) = line.split_at_checked(1)?;
    let date = rest.get(..5)?;
    let is_date = date.ends_with(' ') && date.trim_end().bytes().all(|byte| byte.is_ascii_digit());
    match (is_date, level) {
        (true, "I") => Some("info"),
        (true, "W") => Some("warning"),
        (true, "E") => Some("error"),
        (true, "F") => Some("critical"),
        _ => None,
    }
}

/// `time="…" level=info msg="…"`
fn logfmt(line: &str) -> Option<&'static str> {
    let level = line.split(' ').find_map(|word| word.strip_prefix("level="))?;
    named(level.trim_matches('"'))
}

fn named(level: &str) -> Option<&'static str> {
    match level.to_ascii_lowercase().as_str() {
        "trace" | "debug" => Some("debug"),
        "info" => Some("info"),
        "notice" => Some("notice"),
        "warn" | "warning" => Some("warning"),
        "err" | "error" => Some("error"),
        "fatal" | "panic" => Some("critical"),
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
                Some("warning"),
            ),
            (r#"{"msg":"\"level\":\"error\""}"#, None),
            ("I0102 03:04:05.678901       1 server.go:12] \"Started\" level=error", Some("info")),
            ("E0102 03:04:05.678901       1 server.go:12] x", Some("error")),
            ("F0102 ", Some("critical")),
            ("Info: level=", None),
            ("E0x02 03:04:05 x", None),
            ("time=\"2026-01-02T03:04:05Z\" level=warning msg=\"cleaning up\"", Some("warning")),
            ("level=\"info\" x", Some("info")),
            ("Äpfel", None),
            ("", None),
        ] {
            assert_eq!(of_line(line), severity, "{line}");
        }
        assert_eq!((of_kernel(3), of_kernel(7), of_kernel(8)), (Some("error"), Some("debug"), None));
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in any::<String>()) {
            of_line(&line);
        }
    }
}
