//! Unquoted values (YAML 1.2, core schema), and the parser's errors in plain words.

use granit_parser::ErrorKind;
use serde_json::Number;

use crate::tree::Content;

/// What an unquoted value means.
///
/// # Errors
/// A number that readers of YAML disagree about, or that JSON cannot hold.
pub(crate) fn resolve(text: &str) -> Result<Content, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Content::Null),
        "true" | "True" | "TRUE" => return Ok(Content::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Content::Bool(false)),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "-.inf" | "-.Inf" | "-.INF" | "+.inf"
        | "+.Inf" | "+.INF" => {
            return Err(format!("{text} is no number that a setting can have; quote it if it is a text"));
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(number) = radix(text, "0x", 16).or_else(|| radix(text, "0o", 8)) {
        return number;
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return decimal(text, digits);
    }
    if is_float(digits) { float(text) } else { Ok(Content::Text(text.to_owned())) }
}

fn radix(text: &str, prefix: &str, radix: u32) -> Option<Result<Content, String>> {
    let digits = text.strip_prefix(prefix)?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).map_err(|_| too_large(text));
    Some(number.map(|number| Content::Number(number.into())))
}

fn decimal(text: &str, digits: &str) -> Result<Content, String> {
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(format!(
            "{text} is octal to some readers of YAML and decimal to others; quote it, or write a number without leading zeros (0o{} is octal)",
            digits.trim_start_matches('0')
        ));
    }
    let number = match text.strip_prefix('+').unwrap_or(text).parse::<u64>() {
        Ok(number) => Number::from(number),
        Err(_) => Number::from(text.parse::<i64>().map_err(|_| too_large(text))?),
    };
    Ok(Content::Number(number))
}

fn float(text: &str) -> Result<Content, String> {
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    number.map(Content::Number).ok_or_else(|| too_large(text))
}

/// `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_fine = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    !(whole.is_empty() && fraction.is_empty())
        && all_digits(whole)
        && all_digits(fraction)
        && exponent_is_fine
}

fn too_large(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("the number {shown} is too large; quote it if it is a text")
}

/// A parser's error as a user needs it: what to do, where that is known.
pub(crate) fn explain(kind: &ErrorKind) -> String {
    match kind {
        kind if is_tab(kind) => "a tab stands here; YAML is indented with spaces".into(),
        ErrorKind::DirectiveDisallowed => "directives (lines that begin with %) are not allowed here".into(),
        ErrorKind::UnclosedQuotedScalar => "a quote that is opened here is not closed".into(),
        ErrorKind::MappingValueNotAllowed => {
            "a ':' stands where no field may begin; quote the value, or indent the line as its neighbours"
                .into()
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "a field is expected here, as in \"name: value\"".into()
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation => "the line is not indented as its neighbours".into(),
        ErrorKind::RecursionLimitExceeded => {
            format!("the nesting is deeper than {} levels", crate::tree::DEPTH_MAX)
        }
        other => format!("it is no YAML: {other}"),
    }
}

/// Whether a tab is the fault.
pub(crate) fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn json(text: &str) -> Option<Value> {
        let node = crate::tree::Node { bytes: 0..0, content: resolve(text).ok()? };
        Some(node.to_json())
    }

    #[test]
    fn unquoted_values_mean_what_the_core_schema_says() {
        for (text, expected) in [
            ("", "null"),
            ("~", "null"),
            ("True", "true"),
            ("yes", "\"yes\""),
            ("12", "12"),
            ("-3", "-3"),
            ("+3", "3"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0x", "\"0x\""),
            ("1.5", "1.5"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("-1e3", "-1000.0"),
            (".", "\".\""),
            ("e5", "\"e5\""),
            ("1e", "\"1e\""),
            ("1_000", "\"1_000\""),
            ("10.0.0.5", "\"10.0.0.5\""),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(json(text), Some(serde_json::from_str(expected).unwrap()), "{text}");
        }
        for bad in ["0644", "-007", ".inf", ".NaN", "1e999", "18446744073709551616", "-9223372036854775809"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }
}
