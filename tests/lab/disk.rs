//! Small disks that boot and say so on the serial port.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use provisioner::model::Firmware;
use tempfile::TempDir;

/// What [`prepare`] starts.
pub const PROGRAMS: [&str; 5] = ["apt-get", "dpkg-deb", "mformat", "mmd", "mcopy"];

const SECTOR: u32 = 512;
const FIRST_SECTOR: u32 = 2048;
const SECTORS: u32 = 64 << 20 >> 9;

/// Makes `disk` an installed system of sorts: one that its firmware boots and that writes `marker` to the serial port.
pub fn prepare(firmware: Firmware, disk: &Path, marker: &str) {
    match firmware {
        Firmware::Bios => bios(disk, marker),
        Firmware::Uefi | Firmware::UefiHttp => uefi(disk, marker),
    }
}

/// A boot sector: real-mode code that writes to the first serial port and stops.
fn bios(disk: &Path, marker: &str) {
    #[rustfmt::skip]
    let code = [
        0xfc,                   //       cld
        0x31, 0xc0,             //       xor ax, ax
        0x8e, 0xd8,             //       mov ds, ax
        0xbe, 0x40, 0x7c,       //       mov si, 0x7c40
        0xac,                   // next: lodsb
        0x84, 0xc0,             //       test al, al
        0x74, 0x12,             //       jz stop
        0x88, 0xc4,             //       mov ah, al
        0xba, 0xfd, 0x03,       //       mov dx, 0x3fd      (line status of COM1)
        0xec,                   // wait: in al, dx
        0xa8, 0x20,             //       test al, 0x20      (transmitter empty)
        0x74, 0xfb,             //       jz wait
        0xba, 0xf8, 0x03,       //       mov dx, 0x3f8
        0x88, 0xe0,             //       mov al, ah
        0xee,                   //       out dx, al
        0xeb, 0xe9,             //       jmp next
        0xf4,                   // stop: hlt
        0xeb, 0xfd,             //       jmp stop
    ];
    let mut sector = [0; SECTOR as usize];
    sector[..code.len()].copy_from_slice(&code);
    let text = format!("{marker}\r\n");
    sector[0x40..0x40 + text.len()].copy_from_slice(text.as_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::write(disk, sector).expect("a boot sector");
    File::options().write(true).open(disk).and_then(|file| file.set_len(1 << 20)).expect("a disk");
}

/// A partition table and an EFI system partition with the signed loaders where an installation puts them.
fn uefi(disk: &Path, marker: &str) {
    let file = File::create(disk).expect("a disk");
    file.set_len(u64::from(SECTORS * SECTOR)).expect("its size");
    let mut entry = [0; 16];
    entry[4] = 0xef;
    entry[8..12].copy_from_slice(&FIRST_SECTOR.to_le_bytes());
    entry[12..].copy_from_slice(&(SECTORS - FIRST_SECTOR).to_le_bytes());
    file.write_all_at(&entry, 446).expect("a partition");
    file.write_all_at(&[0x55, 0xaa], 510).expect("a partition table");

    let image = format!("{}@@1M", disk.display());
    let sectors = (SECTORS - FIRST_SECTOR).to_string();
    run(Command::new("mformat").args(["-i", &image, "-T", &sectors, "-h", "64", "-s", "32", "::"]));
    run(Command::new("mmd").args(["-i", &image, "::EFI", "::EFI/debian", "::EFI/BOOT"]));

    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("grub.cfg");
    // GRUB writes to the firmware's console, which is the serial port.
    fs::write(&config, format!("echo {marker}\n")).expect("a configuration");
    let (shim, grub) = signed_loaders(&folder);
    let files = [
        (&shim, "::EFI/debian/shimx64.efi"),
        (&grub, "::EFI/debian/grubx64.efi"),
        (&config, "::EFI/debian/grub.cfg"),
        (&shim, "::EFI/BOOT/BOOTX64.EFI"),
        (&grub, "::EFI/BOOT/grubx64.efi"),
    ];
    for (from, to) in files {
        run(Command::new("mcopy").args(["-i", &image]).arg(from).arg(to));
    }
}

/// shim and GRUB as this machine's own archive has them.
fn signed_loaders(folder: &TempDir) -> (PathBuf, PathBuf) {
    run(Command::new("apt-get")
        .args(["download", "--quiet=2", "shim-signed", "grub-efi-amd64-signed"])
        .current_dir(folder.path()));
    for package in fs::read_dir(folder.path()).expect("the folder").flatten().map(|entry| entry.path()) {
        if package.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder.path()));
        }
    }
    let shim = folder.path().join("usr/lib/shim/shimx64.efi.signed");
    let grub = folder.path().join("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed");
    (shim, grub)
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program that starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
