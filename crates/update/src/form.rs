//! The state as a file: JSON with a version, and a checksum over the content as it stands there.

use crc::{CRC_64_XZ, Crc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Upgrade;

/// Version of the form. It rises only when an older release would misread the file, because the OS may roll back to
/// that release; fields that it does not know are no reason.
pub const FORM_VERSION: u32 = 1;
const CHECKSUM: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// Why a file is no state.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// Not the JSON that it should be.
    #[error("the state of upgrades is damaged or cut off")]
    Json {
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Made by a newer release.
    #[error("the state of upgrades has form {version}; this release reads form {FORM_VERSION}")]
    Version {
        /// The file's version.
        version: u32,
    },
    /// Bit rot.
    #[error("the state of upgrades is damaged: its checksum is {actual}, but {expected} is written")]
    Checksum {
        /// What the file says.
        expected: String,
        /// What its content gives.
        actual: String,
    },
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    version: u32,
    checksum: String,
    #[serde(borrow)]
    upgrade: &'a RawValue,
}

impl Upgrade {
    /// The content of `update/state.json`.
    pub fn encode(&self) -> Result<String, FormError> {
        let json = |source| FormError::Json { source };
        let upgrade = serde_json::value::to_raw_value(self).map_err(json)?;
        let file = File { version: FORM_VERSION, checksum: checksum(upgrade.get()), upgrade: &upgrade };
        Ok(serde_json::to_string(&file).map_err(json)? + "\n")
    }

    /// Reads `update/state.json`.
    pub fn decode(text: &str) -> Result<Self, FormError> {
        let json = |source| FormError::Json { source };
        let file: File<'_> = serde_json::from_str(text).map_err(json)?;
        if file.version != FORM_VERSION {
            return Err(FormError::Version { version: file.version });
        }
        let actual = checksum(file.upgrade.get());
        if file.checksum != actual {
            return Err(FormError::Checksum { expected: file.checksum, actual });
        }
        serde_json::from_str(file.upgrade.get()).map_err(json)
    }
}

fn checksum(content: &str) -> String {
    format!("{:016x}", CHECKSUM.checksum(content.as_bytes()))
}
