/// An error that also knows what to do next. `main` prints the hint on a line of its own, after the chain of causes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Hinted {
    /// What went wrong, and which thing it was about.
    pub what: String,
    /// What the operator can do.
    pub hint: String,
}

impl Hinted {
    /// An error and its remedy.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}
