//! The same plan against a throw-away virtual machine: `provisioner rehearse`.
//!
//! The machine's network card is a TAP interface in a private network namespace, and the servers listen on that interface
//! as they would on an ethernet port: real firmware does real DHCP, TFTP and HTTP, and nothing of it reaches this host's
//! network. Downloads leave from outside ([`Place`](crate::net::Place)).
//!
//! Power-on → the firmware boots from the network → the installer runs → the machine restarts by itself → the firmware asks
//! the network *first* again → our answer sends it to its own disk → it asks for an address → it shows a login prompt.
//! [`follow()`] sees all of it; [`run()`] makes the place for it and leaves nothing behind.

mod accel;
mod console;
mod follow;
mod hardware;
mod options;
mod qmp;
mod rehearsal;
mod report;
mod run;
mod tap;
mod timeline;
mod tools;
mod transcript;
mod vm;
mod work;

pub use accel::Accel;
pub use follow::follow;
pub use hardware::{Hardware, Medium};
pub use options::Options;
pub use rehearsal::Rehearsal;
pub use report::{Access, Report, StageTime};
pub use run::{Interrupted, run};
pub use tap::Tap;
pub use tools::{Images, Tools};
pub use vm::Vm;
pub use work::WorkDir;
