//! Real firmware in QEMU. These tests need root, QEMU and OVMF; they start one machine at a time.

mod boot;
mod disk;
mod fedora;
mod firmware;
mod following;
mod full_install;
mod lab;
mod plan;
mod running;
mod upstream;
