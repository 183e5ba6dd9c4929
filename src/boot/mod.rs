//! What a machine that asks to boot shall do, which files that takes, and the scripts its loader runs. Pure.

mod decide;
mod names;
mod script;
mod token;

pub use decide::{OwnDisk, RETRIES, decide, own_disk};
pub use names::{BootFile, Names};
pub use script::{Carrier, Scripts};
pub use token::{MachineUrls, Secret};
