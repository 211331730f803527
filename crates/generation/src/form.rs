//! The index as a file: JSON with a version, and a checksum over the content as it stands there.

use crc::{CRC_64_XZ, Crc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{GENERATIONS_MAX, Generation, Index};

/// Version of the form. It rises only when an older release would misread the file, because the OS may roll back to
/// that release; fields that it does not know are no reason.
pub const FORM_VERSION: u32 = 1;
const CHECKSUM: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// Why a file is no index.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// Not the JSON that it should be.
    #[error("the index of generations is damaged or cut off")]
    Json {
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Made by a newer release.
    #[error(
        "the index of generations has form {version}; this release reads form {FORM_VERSION} and none newer"
    )]
    Version {
        /// The file's version.
        version: u32,
    },
    /// Bit rot.
    #[error("the index of generations is damaged: its checksum is {actual}, but {expected} is written")]
    Checksum {
        /// What the file says.
        expected: String,
        /// What its content gives.
        actual: String,
    },
    /// Contradicts itself.
    #[error("the index of generations contradicts itself: {what}")]
    Inconsistent {
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    version: u32,
    checksum: String,
    #[serde(borrow)]
    index: &'a RawValue,
}

impl Index {
    /// The content of `config/index.json`.
    pub fn encode(&self) -> Result<String, FormError> {
        let json = |source| FormError::Json { source };
        let index = serde_json::value::to_raw_value(self).map_err(json)?;
        let file = File { version: FORM_VERSION, checksum: checksum(index.get()), index: &index };
        Ok(serde_json::to_string(&file).map_err(json)? + "\n")
    }

    /// Reads the content of `config/index.json`.
    pub fn decode(text: &str) -> Result<Self, FormError> {
        let json = |source| FormError::Json { source };
        let file: File = serde_json::from_str(text).map_err(json)?;
        if file.version != FORM_VERSION {
            return Err(FormError::Version { version: file.version });
        }
        let actual = checksum(file.index.get());
        if file.checksum != actual {
            return Err(FormError::Checksum { expected: file.checksum, actual });
        }
        let index: Self = serde_json::from_str(file.index.get()).map_err(json)?;
        match index.contradiction() {
            Some(what) => Err(FormError::Inconsistent { what }),
            None => Ok(index),
        }
    }

    /// What no index has; the checks of a faulty writer.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let missing = |generation: Option<Generation>| {
            generation.is_some_and(|generation| self.entry(generation).is_none())
        };
        let trial = self.trial.as_ref().map(|trial| trial.generation);
        if missing(Some(self.confirmed)) {
            return Some("the confirmed generation is not among those kept");
        }
        if missing(trial) {
            return Some("the generation on trial is not among those kept");
        }
        if missing(self.slots.a) || missing(self.slots.b) {
            return Some("a slot's generation is not among those kept");
        }
        if trial == Some(self.confirmed) {
            return Some("a generation is both confirmed and on trial");
        }
        if !self.entries.is_sorted_by(|one, other| one.number < other.number) {
            return Some("generations are not in order");
        }
        if self.entries.last().is_some_and(|entry| entry.number >= self.next) {
            return Some("the next number is already given");
        }
        (self.entries.len() > GENERATIONS_MAX).then_some("there are too many generations")
    }
}

fn checksum(content: &str) -> String {
    format!("{:016x}", CHECKSUM.checksum(content.as_bytes()))
}

/// An OS slot as its letter.
pub(crate) mod slot {
    use bootstate::Slot;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(slot: &Option<Slot>, serializer: S) -> Result<S::Ok, S::Error> {
        slot.map(Slot::letter).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Slot>, D::Error> {
        let Some(letter) = Option::<char>::deserialize(deserializer)? else { return Ok(None) };
        let slot = Slot::ALL.into_iter().find(|slot| slot.letter() == letter);
        slot.map(Some).ok_or_else(|| D::Error::custom("a slot is A or B"))
    }
}
