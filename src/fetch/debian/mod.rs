//! Archives of Debian's kind: a signed `InRelease`, below it `SHA256SUMS` and `Packages.xz`.

mod archive;
mod deb;
mod packages;
mod release_file;
mod sums;

pub use archive::{DebianArchive, Stable, newest_stable};
