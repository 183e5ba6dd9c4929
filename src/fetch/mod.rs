//! Brings boot files into the cache and verifies them. Nothing that this room did not verify is bootable.
//!
//! The chains of trust, each link checked before the next is read. Of a Debian archive:
//!
//! ```text
//! keyring ─ signature ─▶ InRelease ─ sha256 ─▶ SHA256SUMS ─ sha256 ─▶ file of the installer's images
//!                                  └ sha256 ─▶ Packages.xz ─ sha256 ─▶ .deb ──▶ file inside it
//! ```
//!
//! Of Fedora's family, where [`Level`] tells whether it is this one or a weaker one:
//!
//! ```text
//! keyring ─ signature ─▶ CHECKSUM ─ sha256 ─▶ installation image ──▶ kernel, initrd, install.img, UEFI loaders
//! keyring ─ signature ─▶ header of an RPM ─ sha256 ─▶ its payload ──▶ BIOS loader
//! ```
//!
//! What an installation takes packages from is one verified state from its beginning to its end: of Debian its [`Suites`], of
//! Fedora and its family (`rpm/`) a [`Snapshot`] of each repository. A run may take another one between installations.
//!
//! A file reaches its final name in `<prefix>/boot/<uid>/` by rename, after the verdict, together with its whole set. What
//! vouched for it stands in `manifest.json` beside it; every later start hashes it again. A source that is absent (404) gives
//! way to the next one; a source that does not verify is an error, never a reason to try another. Of one source several mirrors
//! may be asked, also when one serves other bytes: what they have to be stays the same.
//!
//! Everything is written as the user who runs the process; under sudo that is whoever called it ([`crate::sudo`]).

mod archive;
mod boot_set;
mod client;
mod debian;
mod digest;
mod discover;
mod download;
mod kept;
mod keyring;
mod level;
mod links;
mod lock;
mod manifest;
mod openpgp;
mod refresh;
mod remedy;
mod rpm;
mod store;

pub use boot_set::{BootSet, Request, VerifiedFile, hold, obtain};
pub use client::{Client, Outgoing, Unanswered, client};
pub use debian::{
    Index, Stable, Standing, Suites, SuitesRequest, kernel_version, newest_stable, resolve as debs, suite_files,
};
pub use digest::Expected;
pub use discover::{Question, Sources, check_mirror, discover, keyring};
pub use download::DownloadError;
pub use kept::{KeptFile, KeptSet, kept_sets};
pub use keyring::Keyring;
pub use level::Level;
pub(crate) use openpgp::day;
pub use openpgp::{SignatureError, Signed};
pub use remedy::with_remedy;
pub use rpm::{Asked, Resolved, resolve};
pub use rpm::{PackageAt, Packages};
pub use rpm::{RpmEntry, Snapshot, SnapshotRequest, Voucher};

/// Memory an xz stream may ask for, in KiB. `xz -9`, the most that distributions use, needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 128 * 1024;
