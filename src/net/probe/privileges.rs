use std::{fs, path::Path};

use anyhow::Context;

use crate::model::Hinted;

/// What this process may do, from capabilities(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Change links and addresses, answer machines that have no address yet.
    net_admin: bool,
    /// Bind ports 67 and 69.
    net_bind_service: bool,
    /// Hear other DHCP servers; tie a socket to an interface on kernels before 5.7.
    net_raw: bool,
}

/// What this process may do now.
pub fn privileges() -> anyhow::Result<Privileges> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    parse(&status).context("reading /proc/self/status: it has no CapEff line")
}

impl Privileges {
    /// Whether provisioning can work; the hint has the exact command that would make it so.
    pub fn check(&self) -> Result<(), Hinted> {
        let missing: Vec<_> = [
            (self.net_admin, "cap_net_admin"),
            (self.net_bind_service, "cap_net_bind_service"),
            (self.net_raw, "cap_net_raw"),
        ]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Hinted::new(
            format!(
                "this user may not set up a network interface and serve DHCP on it ({} missing)",
                missing.join(", ")
            ),
            how_to_be_allowed(),
        ))
    }
}

/// What the operator does when this user may not provision, for a hint: the exact command for this program.
pub fn how_to_be_allowed() -> String {
    allowing(&std::env::current_exe().unwrap_or_else(|_| "provisioner".into()))
}

fn allowing(program: &Path) -> String {
    format!(
        "run it with sudo, or allow it once with: sudo setcap cap_net_admin,cap_net_bind_service,cap_net_raw+ep {}",
        quoted(program)
    )
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Reads proc_pid_status(5): `CapEff` is a hexadecimal mask.
fn parse(status: &str) -> Option<Privileges> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    // Bit numbers from <linux/capability.h>.
    let has = |bit: u32| mask >> bit & 1 == 1;
    Some(Privileges { net_bind_service: has(10), net_admin: has(12), net_raw: has(13) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(mask: &str) -> String {
        format!("Name:\tprovisioner\nCapInh:\tffffffffffffffff\nCapEff:\t{mask}\nCapBnd:\tffffffffffffffff\n")
    }

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let none = Privileges::default();
        let net = Privileges { net_admin: true, net_bind_service: true, net_raw: true };
        for (mask, expected) in [
            ("0000000000000000", none),
            ("0000000000003400", net),
            ("000001ffffffffff", net),
            ("0000000000001000", Privileges { net_admin: true, ..none }),
        ] {
            assert_eq!(parse(&status(mask)), Some(expected), "{mask}");
        }
        assert_eq!(parse("Name:\tprovisioner\n"), None);
        assert_eq!(parse(&status("many")), None);
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_grants_it() {
        let allowed = Privileges { net_admin: true, net_bind_service: true, net_raw: true };
        assert_eq!(allowed.check(), Ok(()));

        let refused = Privileges { net_admin: false, ..allowed };
        let error = refused.check().expect_err("not enough");
        assert!(error.what.contains("(cap_net_admin missing)"), "{error}");
        let command = "sudo setcap cap_net_admin,cap_net_bind_service,cap_net_raw+ep '/home/you/my tools/provisioner'";
        assert_eq!(error.hint, how_to_be_allowed());
        let hint = allowing(Path::new("/home/you/my tools/provisioner"));
        assert!(hint.ends_with(command), "{hint}");
    }

    #[test]
    fn this_process_has_a_status() {
        assert!(privileges().is_ok());
    }
}
