//! BOOTSTATE records and the decisions taken on them
