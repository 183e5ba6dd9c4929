//! Getting into an installed machine over SSH.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::TcpSocket, time::timeout};

use super::known_hosts;
use crate::{
    model::{InstallRecipe, Machine},
    net::Place,
    plan::Plan,
};

/// How long a machine may take to answer; it is one cable away.
const PATIENCE: Duration = Duration::from_secs(2);

/// The port of SSH (RFC 4253 §4.1).
const PORT: u16 = 22;

/// How one logs in to the machines of a plan.
#[derive(Debug, Clone)]
pub struct Login {
    user: String,
    known_hosts: PathBuf,
}

impl Login {
    /// As the administrator, if the plan makes one.
    pub fn of(plan: &Plan) -> Self {
        Self { user: user(&plan.recipe).to_owned(), known_hosts: known_hosts::path_beside(&plan.journal) }
    }

    /// Who logs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The file of the machines' host keys.
    pub fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }

    /// The command that logs in to a machine; `None` as long as it has no address. ssh(1) asks nothing when the machine has
    /// told its host keys.
    pub fn command(&self, machine: &Machine) -> Option<String> {
        let (address, user) = (machine.address?, &self.user);
        let file = self.known_hosts.display().to_string();
        Some(if machine.host_keys.is_empty() {
            format!("ssh {user}@{address}")
        } else if file.contains(' ') {
            // ssh_config(5) splits at blanks outside of double quotes.
            format!("ssh -o 'UserKnownHostsFile=\"{file}\"' {user}@{address}")
        } else {
            format!("ssh -o UserKnownHostsFile={file} {user}@{address}")
        })
    }
}

/// The account for people: the administrator, else root.
fn user(recipe: &InstallRecipe) -> &str {
    recipe.user.as_deref().unwrap_or("root")
}

/// Whether something listens on the SSH port there.
pub async fn takes_logins(place: &Place, address: Ipv4Addr) -> bool {
    let Ok(socket) = place.run(TcpSocket::new_v4) else { return false };
    let connected = timeout(PATIENCE, socket.connect(SocketAddr::from((address, PORT)))).await;
    matches!(connected, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{model::Mac, plan::tests::plan};

    #[test]
    fn the_command_names_the_user_and_the_file_of_host_keys() {
        let mut plan = plan();
        plan.recipe.user = Some("ada".to_owned());
        let mut machine = Machine::new(Mac([2, 0, 0, 0, 0, 1]), Timestamp::UNIX_EPOCH);
        assert_eq!(Login::of(&plan).command(&machine), None);
        machine.address = Some(Ipv4Addr::new(192, 168, 42, 7));
        assert_eq!(Login::of(&plan).command(&machine).as_deref(), Some("ssh ada@192.168.42.7"));
        machine.host_keys = vec!["a key".to_owned()];
        let expected = "ssh -o UserKnownHostsFile=/nonexistent/prefix/known_hosts ada@192.168.42.7";
        assert_eq!(Login::of(&plan).command(&machine).as_deref(), Some(expected));
        (plan.recipe.user, plan.journal) = (None, "/a b/journal.jsonl".into());
        let expected = "ssh -o 'UserKnownHostsFile=\"/a b/known_hosts\"' root@192.168.42.7";
        assert_eq!(Login::of(&plan).command(&machine).as_deref(), Some(expected));
    }
}
