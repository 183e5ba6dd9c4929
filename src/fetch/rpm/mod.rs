//! Archives of Fedora's kind: install trees with a `.treeinfo`, images named in a signed `CHECKSUM`, signed RPMs.

mod basis;
mod checksum;
mod frame;
mod iso;
mod package;
mod tree;
mod treeinfo;

pub use tree::{InstallTree, PackageAt, Packages};
