//! Brings boot files into the cache and verifies them. Nothing that this room did not verify is bootable.
//!
//! The chain of trust of a Debian archive, each link checked before the next is read:
//!
//! ```text
//! keyring ─ signature ─▶ InRelease ─ sha256 ─▶ SHA256SUMS ─ sha256 ─▶ file of the installer's images
//!                                  └ sha256 ─▶ Packages.xz ─ sha256 ─▶ .deb ──▶ file inside it
//! ```
//!
//! Of Fedora and its family (`rpm/`) the repositories are taken as one verified state for a whole run, a [`Snapshot`].
//!
//! A file reaches its final name in `<prefix>/boot/<uid>/` by rename, after the verdict, together with its whole set. What
//! vouched for it stands in `manifest.json` beside it; every later start hashes it again. A source that is absent (404) gives
//! way to the next one; a source that does not verify is an error, never a reason to try another.
//!
//! Everything is written as the user who runs the process; under sudo that is whoever called it ([`crate::sudo`]).

mod archive;
mod boot_set;
mod client;
mod deb;
mod digest;
mod discover;
mod download;
mod keyring;
mod manifest;
mod openpgp;
mod packages;
mod refresh;
mod release_file;
mod remedy;
mod rpm;
mod store;
mod sums;

pub use archive::{Stable, newest_stable};
pub use boot_set::{BootSet, Request, VerifiedFile, obtain};
pub use client::client;
pub use digest::Expected;
pub use discover::{Question, Sources, discover, keyring};
pub use download::DownloadError;
pub use keyring::Keyring;
pub use openpgp::{SignatureError, Signed};
pub use remedy::with_remedy;
pub use rpm::{RpmEntry, Snapshot, SnapshotRequest, Voucher};
