//! Image assembly: root, UKI, disk
