//! dm-verity hash trees
