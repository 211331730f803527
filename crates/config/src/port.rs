//! Ports of rules: a number, or a range as a text.

use firewall::Ports;
use serde_json::Value;

use crate::report::quote;

/// A regular expression that holds for all texts that are let pass.
pub(crate) const PATTERN: &str = "^[0-9]{1,5}(-[0-9]{1,5})?$";

/// Reads a port or a range.
pub(crate) fn parse(value: &Value) -> Result<Ports, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let ports = port(first).zip(port(last)).map(|(first, last)| Ports { first, last });
    let ports = ports.ok_or_else(|| {
        format!("{} must be a port from 1 to 65535, or a range such as 8000-8010", quote(&text))
    })?;
    if ports.first > ports.last {
        return Err(format!("{} must be a range whose first port is not the larger one", quote(&text)));
    }
    Ok(ports)
}

fn port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| plain && *port > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_is_a_number_or_a_range() {
        assert_eq!(parse(&json!(443)), Ok(Ports::one(443)));
        assert_eq!(parse(&json!("443")), Ok(Ports::one(443)));
        assert_eq!(parse(&json!("1-65535")), Ok(Ports { first: 1, last: 65_535 }));
        for bad in [
            json!(0),
            json!(65_536),
            json!(-1),
            json!(1.5),
            json!("a"),
            json!("1-"),
            json!("+1-2"),
            json!(""),
        ] {
            assert!(parse(&bad).unwrap_err().contains("from 1 to 65535"), "{bad}");
        }
        assert!(parse(&json!("9-8")).unwrap_err().contains("not the larger"));
    }
}
