//! Boots the real image in QEMU and drives it with osctl
