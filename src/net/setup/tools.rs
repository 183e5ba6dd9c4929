use std::{ffi::OsString, io, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{
    net::{Place, aside},
    sudo,
};

/// Runs the host's own network tools: the only child processes of this room.
#[derive(Debug, Clone)]
pub struct Tools {
    path: Option<OsString>,
    limit: Duration,
}

/// How one command ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    stderr: String,
}

impl Default for Tools {
    /// Those on this process's `PATH`. Ten seconds each: a D-Bus service that has hung must not hang us.
    fn default() -> Self {
        Self { path: None, limit: Duration::from_secs(10) }
    }
}

impl Tools {
    /// Those on another search path, in the form of `PATH`.
    pub fn on_path(path: impl Into<OsString>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// Runs a command to its end; `None` when there is no such program here, or none that this user may run.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Option<Answer>> {
        let run = || async {
            let mut command = Command::new(program);
            command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
            if let Some(path) = &self.path {
                command.env("PATH", path);
            }
            tokio::time::timeout(self.limit, command.output()).await.unwrap_or_else(|_| {
                let what = format!("{program} {} did not end within {:?}", arguments.join(" "), self.limit);
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            })
        };
        match sudo::with_own_files(|| aside::run(&Place::Here, run)) {
            Ok(output) => Ok(Some(Answer {
                code: output.status.code(),
                stdout: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            })),
            // The second also when it is nowhere and one folder of the search path may not be looked into (execvp(3)).
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Like [`Self::run`] for a command that changes something: ending with 0 or one of `fine` is success, and so is a
    /// program that is not here (any more).
    pub(super) fn must(&self, program: &str, arguments: &[&str], fine: &[i32]) -> io::Result<()> {
        match self.run(program, arguments)? {
            None => Ok(()),
            Some(Answer { code: Some(code), .. }) if code == 0 || fine.contains(&code) => Ok(()),
            Some(answer) => {
                let ended = answer.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
                Err(io::Error::other(format!("{program} {} {ended}: {}", arguments.join(" "), answer.stderr)))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn limited_to(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}
