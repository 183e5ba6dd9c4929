use std::{fmt, path::PathBuf};

/// Declared: what a new machine is given to do when it starts for the first time, once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handoff {
    /// A command line for `/bin/sh -c`, run as root in the folder of the code. Without one, the code's own entry script
    /// (`./run`) is run.
    pub exec: Option<String>,
    /// A tree that is delivered to `/var/lib/provisioner/handoff/` of the new machine.
    pub code: Option<PathBuf>,
}

impl Handoff {
    /// Whether there is anything to do.
    pub fn is_wanted(&self) -> bool {
        self.exec.is_some() || self.code.is_some()
    }

    /// The command line that is run on the new machine, if any.
    pub fn command(&self) -> Option<&str> {
        self.exec.as_deref().or_else(|| self.code.as_ref().map(|_| "./run"))
    }
}

impl fmt::Display for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.command(), &self.code) {
            (None, _) => f.write_str("none"),
            (Some(command), None) => f.write_str(command),
            (Some(command), Some(code)) => write!(f, "{command} in {}", code.display()),
        }
    }
}
