//! What machines report, from the text they send. Pure.

use super::host_keys;
use crate::model::EventKind;

/// Longest text of a machine that is shown: it goes to terminals and to the journal.
const LINE: usize = 300;

/// Why a callback is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// No answers of ours make a machine call this.
    #[error("there is no such callback")]
    Unknown,
    /// Its body is not what it should be.
    #[error("{0}")]
    Malformed(&'static str),
}

/// The event that a callback by this `name` reports. `hostname` is the name that the machine was given.
pub fn event(name: &str, body: &str, hostname: Option<&str>) -> Result<EventKind, Unheard> {
    Ok(match name {
        "started" => EventKind::InstallerStarted,
        "partitioned" => EventKind::Partitioned,
        "finishing" => EventKind::Finishing,
        "installed" => EventKind::Installed,
        "failed" => EventKind::Failed { what: or_none(one_line(body), "the installer gave no reason") },
        "host-keys" => {
            let keys = host_keys::parse(body).map_err(Unheard::Malformed)?;
            EventKind::HostKeys { keys, hostname: hostname.map(str::to_owned) }
        }
        "handed-off" => {
            let (status, said) = body.split_once('\n').unwrap_or((body, ""));
            let status = status.trim().parse().map_err(|_| Unheard::Malformed("its first line is no exit status"))?;
            EventKind::HandedOff { status, said: or_none(one_line(said), "nothing") }
        }
        _ => return Err(Unheard::Unknown),
    })
}

/// As one line of printable text.
fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE).collect();
    clean.trim().to_owned()
}

fn or_none(text: String, none: &str) -> String {
    if text.is_empty() { none.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_become_events_and_nothing_else_does() {
        let failed = |what: &str| Ok(EventKind::Failed { what: what.to_owned() });
        let handed_off = |status, said: &str| Ok(EventKind::HandedOff { status, said: said.to_owned() });
        let no_status = Err(Unheard::Malformed("its first line is no exit status"));
        for (name, body, expected) in [
            ("started", "", Ok(EventKind::InstallerStarted)),
            ("installed", "whatever", Ok(EventKind::Installed)),
            ("failed", "no\ndisk\x1b[2J ", failed("no disk [2J")),
            ("failed", " \n", failed("the installer gave no reason")),
            ("handed-off", "0\nall is well\n", handed_off(0, "all is well")),
            ("handed-off", "137", handed_off(137, "nothing")),
            ("handed-off", "256\nx", no_status.clone()),
            ("handed-off", "", no_status),
            ("host-keys", "", Err(Unheard::Malformed("there is no key in it"))),
            ("reboot", "", Err(Unheard::Unknown)),
        ] {
            assert_eq!(event(name, body, None), expected, "{name} {body:?}");
        }
    }
}
