//! What this machine's network is. Nothing here changes anything.

mod choose;
mod interface;
mod privileges;
mod resolvers;

pub use choose::choose;
pub use interface::{Interface, Kind, has_carrier, interfaces};
pub use privileges::{Privileges, how_to_be_allowed, privileges};
pub use resolvers::resolvers;
