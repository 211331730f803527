//! All that an admin needs of a node in maintenance, as one URL for a QR code:
//! `CAIRN://<address>/<fingerprint>/<code>`, the code only where there is one.
//!
//! In upper case and without `?`, `=` and `&` it is of the characters that a QR code packs two into eleven bits
//! (ISO/IEC 18004, alphanumeric mode): with an IPv4 address 33 modules a side are enough.

use zeroize::Zeroizing;

use crate::{Code, CodeError, Fingerprint, FingerprintError};

const SCHEME: &str = "CAIRN://";

/// Why a text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another form.
    #[error("the URL of a node reads cairn://ADDRESS/FINGERPRINT/CODE; its console shows it as a QR code")]
    Form,
    /// Its fingerprint is none.
    #[error("the fingerprint in the URL is of no use")]
    Fingerprint(#[source] FingerprintError),
    /// Its code is none.
    #[error("the code in the URL is of no use")]
    Code(#[source] CodeError),
}

/// Where a node is, and how both sides know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host, or host and port.
    pub address: String,
    /// Of the node's key.
    pub fingerprint: Fingerprint,
    /// The pairing code, unless the node knows its admin by a certificate.
    pub code: Option<Code>,
}

impl Url {
    /// For the console only, as it holds the code.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let code = self.code.as_ref().map(Code::to_text);
        let end = code.iter().map(|code| ["/", code.as_str()].concat());
        let end = Zeroizing::new(end.collect::<String>());
        let start = Zeroizing::new(format!("{SCHEME}{}/{}", self.address, self.fingerprint));
        Zeroizing::new([start.to_uppercase().as_str(), end.as_str()].concat())
    }

    /// Reads it, in any case.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.trim().split_at_checked(SCHEME.len()).ok_or(UrlError::Form)?;
        let mut parts = rest.trim_end_matches('/').split('/');
        let address = parts.next().filter(|address| !address.is_empty()).ok_or(UrlError::Form)?;
        let fingerprint = parts.next().ok_or(UrlError::Form)?;
        let code = parts.next();
        if !scheme.eq_ignore_ascii_case(SCHEME) || parts.next().is_some() {
            return Err(UrlError::Form);
        }
        Ok(Self {
            address: address.to_lowercase(),
            fingerprint: Fingerprint::parse(fingerprint).map_err(UrlError::Fingerprint)?,
            code: code.map(Code::parse).transpose().map_err(UrlError::Code)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Table 5 of ISO/IEC 18004.
    const ALPHANUMERIC: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

    proptest! {
        #[test]
        fn it_is_read_as_it_is_written(address: std::net::SocketAddrV4, key: [u8; 32], random: Option<[u8; 8]>) {
            let url = Url {
                address: address.to_string(),
                fingerprint: Fingerprint::parse(&key.map(|byte| format!("{byte:02x}")).concat()).unwrap(),
                code: random.map(Code::from_random),
            };
            let text = url.to_text();
            prop_assert!(text.chars().all(|c| ALPHANUMERIC.contains(c)), "{}", text.as_str());
            prop_assert!(text.len() <= 114, "more than version 4 holds at level L: {}", text.as_str());
            prop_assert_eq!(Url::parse(&text), Ok(url.clone()));
            prop_assert_eq!(Url::parse(&text.to_lowercase()), Ok(url.clone()));
            if let Some(code) = &url.code {
                let shown = format!("{url:?}");
                prop_assert!(!shown.contains(code.to_text().as_str()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            Url::parse(&text).ok();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let key = "ab".repeat(32);
        for form in [
            "",
            "cairn://",
            "https://h/x",
            "cairn://h",
            &format!("cairn:///{key}"),
            &format!("cairn://h/{key}/a/b"),
        ] {
            assert_eq!(Url::parse(form), Err(UrlError::Form), "{form}");
        }
        assert!(matches!(Url::parse("cairn://h/12/0000-0000-0000"), Err(UrlError::Fingerprint(_))));
        assert!(matches!(Url::parse(&format!("cairn://h/{key}/12")), Err(UrlError::Code(_))));
        assert_eq!(Url::parse(&format!(" cairn://[fe80::1]:7/{key}/\n")).unwrap().address, "[fe80::1]:7");
    }
}
