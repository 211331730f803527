//! How values stand in JSON: versions and slots as text, digests in hex.

/// A release version; empty for [`bootstate::ReleaseVersion::UNKNOWN`].
pub(crate) mod version {
    use bootstate::ReleaseVersion;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        version: &ReleaseVersion,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        version.as_str().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ReleaseVersion, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(ReleaseVersion::UNKNOWN);
        }
        ReleaseVersion::new(&text).map_err(D::Error::custom)
    }
}

/// 32 bytes as 64 lower-case hex digits.
pub(crate) mod digest {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        hex::encode(digest).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(&text, &mut digest).map_err(D::Error::custom)?;
        // One spelling only: what is signed has one meaning and one form.
        if hex::encode(digest) != text {
            return Err(D::Error::custom("hex digits are lower case"));
        }
        Ok(digest)
    }
}

/// An OS slot as its letter.
pub(crate) mod slot {
    use bootstate::Slot;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(slot: &Slot, serializer: S) -> Result<S::Ok, S::Error> {
        slot.letter().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slot, D::Error> {
        let letter = char::deserialize(deserializer)?;
        let slot = Slot::ALL.into_iter().find(|slot| slot.letter() == letter);
        slot.ok_or_else(|| D::Error::custom("a slot is A or B"))
    }
}
