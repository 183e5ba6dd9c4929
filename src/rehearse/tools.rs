//! What a rehearsal needs of this host: QEMU and firmware images.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::model::{Firmware, Hinted};

/// QEMU and the firmware it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// The program.
    pub qemu: PathBuf,
    /// The firmware.
    pub images: Images,
}

/// Firmware images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// SeaBIOS and the iPXE option ROM, which QEMU finds by itself.
    SeaBios,
    /// edk2's OVMF in two flash chips.
    Ovmf {
        /// The program, read-only.
        code: PathBuf,
        /// A fresh variable store; every machine writes to a copy of its own.
        vars: PathBuf,
    },
}

/// Where packages put OVMF: code and the variable store that belongs to it. 4 MiB builds first, the older 2 MiB ones after.
const OVMF: [(&str, &str); 7] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
];

/// A package manager and the command that installs all of it. The manager is the better key than a distribution's name:
/// every derivative has it too.
const INSTALL: [(&str, &str); 4] = [
    ("apt-get", "sudo apt-get install qemu-system-x86 ovmf ipxe-qemu"),
    ("dnf", "sudo dnf install qemu-kvm edk2-ovmf ipxe-roms-qemu"),
    ("pacman", "sudo pacman -S qemu-system-x86 qemu-system-x86-firmware edk2-ovmf"),
    ("zypper", "sudo zypper install qemu-x86 qemu-ovmf-x86_64 qemu-ipxe"),
];

impl Tools {
    /// Looks for everything that a machine with this firmware needs.
    ///
    /// # Errors
    /// [`Hinted`] with everything that is missing and the command that installs it.
    pub fn find(firmware: Firmware) -> anyhow::Result<Self> {
        let qemu = program("qemu-system-x86_64").or_else(|| existing("/usr/libexec/qemu-kvm"));
        let images = match firmware {
            Firmware::Uefi | Firmware::UefiHttp => ovmf(|path| path.is_file()),
            Firmware::Bios => match &qemu {
                Some(qemu) => has_bios(qemu)?.then_some(Images::SeaBios),
                None => None,
            },
        };
        match (qemu, images) {
            (Some(qemu), Some(images)) => Ok(Self { qemu, images }),
            (qemu, images) => {
                let missing = missing(qemu.is_none(), images.is_none(), firmware);
                Err(Hinted::new(missing, install_hint(|name| program(name).is_some())).into())
            }
        }
    }
}

fn missing(qemu: bool, images: bool, firmware: Firmware) -> String {
    let images = match firmware {
        Firmware::Bios => images.then_some("QEMU's BIOS images (SeaBIOS and the iPXE ROM of its virtio card)"),
        Firmware::Uefi | Firmware::UefiHttp => images.then_some("UEFI firmware for it (OVMF)"),
    };
    let things: Vec<_> = qemu.then_some("QEMU (qemu-system-x86_64)").into_iter().chain(images).collect();
    format!("this machine lacks what a rehearsal needs: {}", things.join(" and "))
}

fn install_hint(has: impl Fn(&str) -> bool) -> String {
    match INSTALL.iter().find(|(manager, _)| has(manager)) {
        Some((_, command)) => format!("install it: {command}"),
        None => "install QEMU for x86-64 (7.0 or later) and OVMF".to_owned(),
    }
}

fn ovmf(exists: impl Fn(&Path) -> bool) -> Option<Images> {
    let pairs = OVMF.iter().map(|&(code, vars)| (PathBuf::from(code), PathBuf::from(vars)));
    pairs.into_iter().find(|(code, vars)| exists(code) && exists(vars)).map(|(code, vars)| Images::Ovmf { code, vars })
}

/// Whether QEMU will find SeaBIOS and the card's ROM: only it knows its folders, which `-L help` lists.
fn has_bios(qemu: &Path) -> anyhow::Result<bool> {
    let asked = Command::new(qemu).args(["-L", "help"]).output();
    let asked = asked.with_context(|| format!("asking {} for its firmware folders", qemu.display()))?;
    let folders = String::from_utf8_lossy(&asked.stdout);
    let found = |name: &str| folders.lines().any(|folder| Path::new(folder).join(name).is_file());
    Ok(["bios-256k.bin", "efi-virtio.rom"].into_iter().all(found))
}

fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn existing(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_variables_come_as_a_pair() {
        let only = |present: &'static [&'static str]| {
            ovmf(move |path| present.iter().any(|present| path == Path::new(present)))
        };
        assert_eq!(only(&["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"]), None);
        let old =
            only(&["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"]);
        assert_eq!(
            old,
            Some(Images::Ovmf {
                code: "/usr/share/OVMF/OVMF_CODE.fd".into(),
                vars: "/usr/share/OVMF/OVMF_VARS.fd".into()
            })
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        assert_eq!(
            missing(true, true, Firmware::Uefi),
            "this machine lacks what a rehearsal needs: QEMU (qemu-system-x86_64) and UEFI firmware for it (OVMF)"
        );
        assert!(!missing(false, true, Firmware::Bios).contains("qemu-system"));
        assert_eq!(
            install_hint(|name| name == "zypper"),
            "install it: sudo zypper install qemu-x86 qemu-ovmf-x86_64 qemu-ipxe"
        );
        assert!(install_hint(|_| false).starts_with("install QEMU"));
    }
}
