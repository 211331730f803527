//! Certificates in PEM (RFC 7468): their frame and base64; what is inside is judged by who uses them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Checks for exactly one certificate. The message never quotes the text.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.contains("PRIVATE KEY-----") {
        return Err("holds a private key; it must not leave its owner, and here belongs a certificate".into());
    }
    let (_, rest) = text
        .split_once(BEGIN)
        .ok_or_else(|| format!("is no PEM certificate; it must begin with {BEGIN} on a line of its own"))?;
    let (body, after) = rest.split_once(END).ok_or_else(|| format!("was cut off: {END} is missing"))?;
    if body.contains("-----") || after.contains(BEGIN) {
        return Err("holds more than one certificate; give each an item of its own".into());
    }
    let body: String = body.split_ascii_whitespace().collect();
    match STANDARD.decode(body) {
        Ok(bytes) if !bytes.is_empty() => Ok(()),
        Ok(_) => Err("is an empty PEM certificate".into()),
        Err(_) => Err("is damaged: between BEGIN and END stands something that is no base64".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_certificate_is_taken() {
        let good = format!("{BEGIN}\nAAAA\nBBBB\n{END}\n");
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&format!("subject=a\r\n{}", good.replace('\n', "\r\n"))), Ok(()));
        for (bad, why) in [
            ("nothing".to_owned(), "no PEM"),
            (good.replace(END, ""), "cut off"),
            (good.replace("AAAA", "A*AA"), "damaged"),
            (good.replace("AAAA\nBBBB\n", ""), "empty"),
            (good.repeat(2), "more than one"),
            (good.replace("CERTIFICATE", "PRIVATE KEY"), "private key"),
        ] {
            assert!(check(&bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
