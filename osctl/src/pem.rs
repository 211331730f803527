//! PEM text in osctl's files: wiped from memory after use, and never shown by accident.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// One or more PEM blocks.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Zeroizing<String>);

impl Pem {
    /// Takes PEM text.
    pub fn new(text: impl Into<Zeroizing<String>>) -> Pem {
        Pem(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is wrong with the block's frame, when something is: tells a cut file from a wrong one.
    pub fn damage(&self) -> Option<&'static str> {
        let text = self.0.trim();
        if text.is_empty() {
            Some("is empty")
        } else if !text.starts_with("-----BEGIN ") {
            Some("does not begin with a BEGIN line")
        } else if !text.ends_with("-----") || !text.contains("-----END ") {
            Some("has no END line: the file was cut off")
        } else {
            None
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem(…)")
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_saphyr::LitStr(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pem {
    /// Takes PEM, or PEM in base64 as kubeconfig files hold it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pem, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        if text.is_empty() || text.contains("-----") {
            return Ok(Pem(text));
        }
        let bytes =
            STANDARD.decode(text.trim()).map_err(|_| de::Error::custom("neither PEM nor PEM in base64"))?;
        let decoded =
            String::from_utf8(bytes).map_err(|_| de::Error::custom("base64 of something that is no PEM"))?;
        Ok(Pem(Zeroizing::new(decoded)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn survives_yaml_as_a_readable_block() {
        let yaml = serde_saphyr::to_string(&[Pem::new(BLOCK.to_owned())]).unwrap();
        assert!(yaml.contains("- |\n  -----BEGIN CERTIFICATE-----\n"), "{yaml}");
        assert_eq!(serde_saphyr::from_str::<Vec<Pem>>(&yaml).unwrap(), [Pem::new(BLOCK.to_owned())]);
    }

    #[test]
    fn takes_base64_and_refuses_noise() {
        let encoded = STANDARD.encode(BLOCK);
        assert_eq!(serde_saphyr::from_str::<Pem>(&encoded).unwrap().as_str(), BLOCK);
        assert!(serde_saphyr::from_str::<Pem>("not base64!").is_err());
    }

    #[test]
    fn tells_how_it_is_damaged() {
        assert_eq!(Pem::new(BLOCK.to_owned()).damage(), None);
        assert_eq!(Pem::new(String::new()).damage(), Some("is empty"));
        assert_eq!(Pem::new(BLOCK[..40].to_owned()).damage(), Some("has no END line: the file was cut off"));
        assert_eq!(Pem::new(BLOCK[5..].to_owned()).damage(), Some("does not begin with a BEGIN line"));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Pem::new(BLOCK.to_owned())), "Pem(…)");
    }
}
