//! The block in front of a tree that tells tools how the tree was made. The kernel does not read it.

use crate::{BLOCK_BYTES, Block, Error, MAX_SALT_BYTES};

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const SUPERBLOCK_VERSION: u32 = 1;
/// The salt comes before the data, digests are padded to a power of two.
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8] = b"sha256";

/// What is chosen when a tree is made. The same choice for every release keeps the leaves of unchanged blocks equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    uuid: [u8; 16],
    salt: Vec<u8>,
}

impl Superblock {
    /// Takes the tree's UUID (in textual byte order) and the salt put before every hashed block.
    ///
    /// # Errors
    /// [`Error::SaltTooLong`].
    pub fn new(uuid: [u8; 16], salt: &[u8]) -> Result<Self, Error> {
        if salt.len() > MAX_SALT_BYTES {
            return Err(Error::SaltTooLong { len_bytes: salt.len() });
        }
        Ok(Self { uuid, salt: salt.to_vec() })
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Encodes the superblock for a device of `data_blocks` blocks, padded to a block. Integers are little-endian.
    #[must_use]
    pub fn encode(&self, data_blocks: u64) -> Block {
        let block_bytes = (BLOCK_BYTES as u32).to_le_bytes();
        let salt_bytes = self.salt.len() as u16;
        let fields: [(usize, &[u8]); 10] = [
            (0, SIGNATURE),
            (8, &SUPERBLOCK_VERSION.to_le_bytes()),
            (12, &HASH_TYPE.to_le_bytes()),
            (16, &self.uuid),
            (32, ALGORITHM),
            (64, &block_bytes),
            (68, &block_bytes),
            (72, &data_blocks.to_le_bytes()),
            (80, &salt_bytes.to_le_bytes()),
            (88, &self.salt),
        ];
        let mut block = [0; BLOCK_BYTES];
        for (offset, bytes) in fields {
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salt_is_bounded() {
        assert!(Superblock::new([0; 16], &[0; MAX_SALT_BYTES]).is_ok());
        assert_eq!(Superblock::new([0; 16], &[0; 257]), Err(Error::SaltTooLong { len_bytes: 257 }));
    }

    #[test]
    fn longest_salt_keeps_its_place() {
        let block = Superblock::new([7; 16], &[9; MAX_SALT_BYTES]).expect("fits").encode(3);
        assert_eq!(&block[80..82], &256u16.to_le_bytes());
        assert_eq!(&block[88..344], &[9; 256]);
        assert!(block[344..].iter().all(|byte| *byte == 0));
    }
}
