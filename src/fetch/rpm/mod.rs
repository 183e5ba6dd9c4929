//! Archives of Fedora's kind: install trees with a `.treeinfo`, images named in a signed `CHECKSUM`, signed RPMs, and
//! repositories of which one state is the right one.
//!
//! ```text
//! metalink (https) ─ sha256 ─▶ repomd.xml ─ sha256 ─▶ primary.xml ─ sha256 ─▶ every package
//! ```
//!
//! `repomd.xml` is not signed, and Anaconda checks neither digests that we could alter nor signatures: this chain is the check.

mod basis;
mod checksum;
mod comps;
mod dependency;
mod frame;
mod iso;
pub(super) mod metalink;
pub(super) mod mirrors;
mod package;
mod pool;
pub(super) mod primary;
pub(super) mod releases;
pub(super) mod repomd;
mod resolve;
mod snapshot;
mod tree;
pub(super) mod treeinfo;
mod version;
mod xml;

pub use resolve::{Asked, Resolved, resolve};
pub use snapshot::{RpmEntry, Snapshot, SnapshotRequest, Voucher};
pub use tree::{InstallTree, PackageAt, Packages};
