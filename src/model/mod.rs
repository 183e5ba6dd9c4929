//! The values and nouns of provisioning. This room imports no other.
//!
//! Two kinds of noun, never mixed: *declared* (what the operator wants: [`Host`], [`InstallRecipe`]) and *observed* (what
//! machines did: [`BootRequest`], [`Event`], [`Machine`]).

/// Derives from a type's `Display` and `FromStr` the forms that are no other: for debugging, and in files.
macro_rules! as_text {
    ($name:ty) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

mod arch;
mod boot_plan;
mod boot_request;
mod bytes;
mod digest;
mod disk;
mod encryption;
mod endpoints;
mod event;
mod firmware;
mod handoff;
mod hinted;
mod host;
mod known;
mod mac;
mod machine;
mod recipe;
mod system_uuid;
mod trust;
mod upkeep;

pub use arch::Arch;
pub use boot_plan::{BootPlan, BootSpec, Reason};
pub use boot_request::BootRequest;
pub use bytes::Bytes;
pub use digest::{Expected, Sha256Digest};
pub use disk::Disk;
pub use encryption::{Encryption, Passphrase};
pub use endpoints::Endpoints;
pub use event::{Event, EventKind, Unverified};
pub use firmware::{Firmware, Stage};
pub use handoff::Handoff;
pub use hinted::Hinted;
pub use host::Host;
pub use known::Known;
pub use mac::Mac;
pub use machine::{Machine, Progress};
pub use recipe::{InstallRecipe, Layout, PasswordHash};
pub use system_uuid::SystemUuid;
pub use trust::Trust;
pub use upkeep::{Condition, Intent, Removal};

/// A value that could not be read from its text form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseError {
    /// What was given.
    pub text: String,
    /// What would have been right, with an example.
    pub expected: &'static str,
}

impl ParseError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }
}
