//! QEMU microVMs.
