use super::Sha256Digest;

/// What a kept file was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// What it was when it was stored.
    Right,
    /// Something else.
    Damaged {
        /// Digest that it had when it was stored.
        expected: Sha256Digest,
        /// Digest that it has now.
        found: Sha256Digest,
    },
    /// Nothing says what it has to be.
    Undigested,
    /// Removed or replaced, while it was to be looked at.
    Gone,
}

/// Whether something is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Yes.
    Remove,
    /// Only tell what would come of it.
    Look,
}

/// What came of removing something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, or would be.
    Done,
    /// Somebody uses it, in this process or another: it stays.
    InUse,
    /// It was gone, or another has its name.
    Gone,
}
