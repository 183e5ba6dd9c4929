//! NetworkManager and firewalld, where they are.
//!
//! Exit codes and words of firewall-cmd are those of firewalld 1.3.3 (`firewall/errors.py`), those of nmcli from its manual
//! page. The tests have scripts for both: no machine with the real services was at hand.

use std::{io, thread, time::Duration};

use super::Tools;
use crate::net::Place;

/// nmcli(1), "EXIT STATUS": NetworkManager is not running.
const NM_NOT_RUNNING: i32 = 8;
/// nmcli(1), "EXIT STATUS": connection, device or access point does not exist.
const NM_NO_DEVICE: i32 = 10;
/// NMDeviceState of NetworkManager's D-Bus interface: it knows the device and leaves it alone.
const NM_STATE_UNMANAGED: u32 = 10;

const FIREWALLD_UNKNOWN_INTERFACE: i32 = 17;
const FIREWALLD_ZONE_CONFLICT: i32 = 18;
const FIREWALLD_NOT_RUNNING: i32 = 252;

/// Which services of this host would interfere with an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Integrations {
    /// NetworkManager manages it: it would run its own DHCP client there and take our address away.
    pub network_manager: bool,
    /// firewalld runs, with the interface in this zone (`Some(None)`: in none): it would drop requests for boot files.
    pub firewalld_zone: Option<Option<String>>,
}

impl Integrations {
    /// Asks the services. What is not installed or does not run is silently not there, and so is everything in another
    /// namespace: these services look after their own.
    pub fn probe(place: &Place, tools: &Tools, interface: &str) -> io::Result<Self> {
        match place {
            Place::Here => Ok(Self {
                network_manager: is_managed(tools, interface)?,
                firewalld_zone: if firewalld_runs(tools)? { Some(zone_of(tools, interface)?) } else { None },
            }),
            Place::Namespace(_) => Ok(Self::default()),
        }
    }
}

/// The answer is a number and a word, such as `100 (connected)`.
fn is_managed(tools: &Tools, interface: &str) -> io::Result<bool> {
    let answer = tools.run("nmcli", &["-g", "GENERAL.STATE", "device", "show", interface])?;
    let state = answer
        .filter(|answer| answer.code == Some(0))
        .and_then(|answer| answer.stdout.split_ascii_whitespace().next()?.parse::<u32>().ok());
    Ok(state.is_some_and(|state| state > NM_STATE_UNMANAGED))
}

/// Makes NetworkManager let go of an interface, and waits until it has: it deactivates the connection after the command
/// has ended, and would take an address away that was added meanwhile.
#[expect(
    clippy::disallowed_methods,
    reason = "it holds up its caller, as every change to this host does (see `net`): nothing is served yet"
)]
pub(super) fn unmanage(tools: &Tools, interface: &str) -> io::Result<()> {
    tools.must("nmcli", &["device", "set", interface, "managed", "no"], &[NM_NOT_RUNNING])?;
    for _ in 0..50 {
        if !is_managed(tools, interface)? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "NetworkManager has not let go of it within 5 s"))
}

/// Undoes [`unmanage`].
pub(super) fn manage(tools: &Tools, interface: &str) -> io::Result<()> {
    tools.must("nmcli", &["device", "set", interface, "managed", "yes"], &[NM_NOT_RUNNING, NM_NO_DEVICE])
}

fn firewalld_runs(tools: &Tools) -> io::Result<bool> {
    let answer = tools.run("firewall-cmd", &["--state"])?;
    Ok(answer.is_some_and(|answer| answer.code == Some(0) && answer.stdout == "running"))
}

/// Ends with 2 and the words "no zone" when it is in none.
fn zone_of(tools: &Tools, interface: &str) -> io::Result<Option<String>> {
    let answer = tools.run("firewall-cmd", &[&format!("--get-zone-of-interface={interface}")])?;
    Ok(answer.filter(|answer| answer.code == Some(0)).map(|answer| answer.stdout).filter(|zone| !zone.is_empty()))
}

/// Puts an interface in firewalld's zone `trusted` until firewalld is reloaded (no `--permanent`).
pub(super) fn trust(tools: &Tools, interface: &str) -> io::Result<()> {
    let change = format!("--change-interface={interface}");
    tools.must("firewall-cmd", &["--zone=trusted", &change], &[FIREWALLD_NOT_RUNNING])
}

/// Undoes [`trust`].
pub(super) fn distrust(tools: &Tools, interface: &str, zone_before: Option<&str>) -> io::Result<()> {
    let Some(zone) = zone_before else {
        // NetworkManager, or a reload, may have moved it meanwhile: then it is not ours to remove.
        let gone = [FIREWALLD_NOT_RUNNING, FIREWALLD_UNKNOWN_INTERFACE, FIREWALLD_ZONE_CONFLICT];
        return tools.must("firewall-cmd", &["--zone=trusted", &format!("--remove-interface={interface}")], &gone);
    };
    let arguments = [format!("--zone={zone}"), format!("--change-interface={interface}")];
    tools.must("firewall-cmd", &[&arguments[0], &arguments[1]], &[FIREWALLD_NOT_RUNNING])
}

#[cfg(test)]
mod tests;
