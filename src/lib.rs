//! **provisioner** network-installs bare machines from one binary.
//!
//! # The boot story
//!
//! 1. The operator states what is wanted (flags, environment). [`plan`] turns it into one validated, immutable
//!    [`plan::Plan`].
//! 2. [`distro`] (data under `templates/`) turns distro × version × arch into archive paths, loaders, kernel arguments and
//!    the answer file.
//! 3. [`fetch`] brings loader, kernel and initrd into the cache and verifies them. Nothing unverified is bootable.
//! 4. [`net`] brings the interface up; every change to this host is listed first, reversible, and reverted on exit.
//! 5. A machine asks: [`dhcp`] decodes → [`boot::decide`] decides → [`dhcp`] composes the reply → the socket sends it.
//! 6. The firmware loads over [`tftp`] or HTTP; the kernel gets its arguments; the installer asks [`http`] for its answers.
//! 7. The installer pulls its packages through [`mirror`] (one upstream fetch, many readers, kept).
//! 8. It calls back; [`events`] folds what happened into a [`model::Machine`]; the next boot goes to the local disk.
//!
//! [`serve`] composes all of it; [`rehearse`] runs the same plan against a throw-away virtual machine. Under [`sudo`] the files
//! are those of whoever called it.
//!
//! # The dependency rule
//!
//! Dependencies point down only: `model` → `plan`, `distro`, packets → decisions → one kind of I/O each → servers →
//! `serve` → `cli`. `dhcp`, `tftp` and `http` never import each other. clap lives only in `cli`; tokio, the environment, the
//! wall clock and child processes only where I/O lives: pure code is given `now`.

pub mod boot;
pub mod cli;
pub mod dhcp;
pub mod distro;
pub mod events;
pub mod fetch;
pub mod http;
pub mod mirror;
pub mod model;
pub mod net;
pub mod plan;
pub mod publish;
pub mod random;
pub mod rehearse;
pub mod serve;
pub mod sudo;
pub mod tftp;
