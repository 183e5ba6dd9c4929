//! Archives of Debian's kind: a signed `InRelease`, below it `SHA256SUMS` and `Packages.xz`.

mod archive;
mod deb;
mod kernel;
mod packages;
mod release_file;
pub mod resolve;
pub mod suite_files;
mod sums;

pub use archive::{DebianArchive, Stable, newest_stable};
pub use kernel::version as kernel_version;
