//! The pairing code of a node without configuration: how it is written, how either side proves that it knows it, and
//! how often a wrong one may be tried; and the fingerprint of the node's key as people pass it on.
//!
//! The code never travels. Its 60 bits could be guessed offline by whoever hears a proof, but not within the half hour
//! for which it is valid; proofs name the node's key, so one made for a man in the middle is of no use to him.
//!
//! This crate must never do I/O, read a clock, make randomness, or show a code but by [`Code::to_text`] and
//! [`Url::to_text`]. Start reading at [`Code`], then [`proof`] and [`Limiter`].

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod code;
mod fingerprint;
mod limiter;
pub mod proof;
mod url;

pub use code::{Code, CodeError, RANDOM_BYTES};
pub use fingerprint::{Fingerprint, FingerprintError, WORDS, words};
pub use limiter::{Exhausted, Limiter, TRIES, VALID_MS};
pub use proof::KeyHash;
pub use url::{Url, UrlError};
