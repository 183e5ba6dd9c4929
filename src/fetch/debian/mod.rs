//! Archives of Debian's kind: a signed `InRelease`, below it `SHA256SUMS` and `Packages.xz`.

mod archive;
mod deb;
mod kernel;
mod metadata;
mod packages;
mod release_file;
pub mod resolve;
pub mod suite_files;
mod suites;
mod sums;
mod table;

pub use archive::{DebianArchive, Stable, newest_stable};
pub use kernel::version as kernel_version;
pub use suites::{Index, Standing, Suites, SuitesRequest};

/// Where a release's suites are kept, below `<prefix>/boot/<uid>/`.
pub const SUITES: &str = "suites";

#[cfg(test)]
#[path = "../../../tests/fixtures/package.rs"]
#[expect(dead_code, reason = "the miniature archive needs more of it than these tests")]
mod package;
