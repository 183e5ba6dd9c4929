//! Fedora and its family: who has the release, and which state of its repositories is the right one.
//!
//! ```text
//! metalink (https) ─ sha256 ─▶ repomd.xml ─ sha256 ─▶ primary.xml ─ sha256 ─▶ every package
//! ```
//!
//! `repomd.xml` is not signed, and Anaconda checks neither digests that we could alter nor signatures: this chain is the check.

pub(super) mod metalink;
pub(super) mod mirrors;
mod primary;
pub(super) mod releases;
mod repomd;
mod snapshot;
mod version;
mod xml;

pub use snapshot::{RpmEntry, Snapshot, SnapshotRequest, Voucher};
