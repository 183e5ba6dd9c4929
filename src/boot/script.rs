use minijinja::context;

use crate::{
    distro::{Catalogue, Release, ScriptKind, Templates},
    model::{Endpoints, Firmware, Hinted},
};

/// How the loader that asks for a script was itself loaded, which decides how it can load more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Over TFTP: GRUB reaches our HTTP server by its own `http` module.
    Tftp,
    /// Over HTTP: by UEFI HTTP Boot, where GRUB reads through the firmware and knows only its own server's root.
    Http,
}

/// The scripts that load an installer, and what they may name.
const INSTALL: [&str; 2] = ["grub-install.cfg", "install.ipxe"];
const INSTALL_VALUES: [&str; 5] = ["title", "root", "kernel", "initrd", "args"];
/// The scripts that start what is on the machine's own disk, and what they may name.
const DISK: [&str; 2] = ["grub-disk.cfg", "disk.ipxe"];
const DISK_VALUES: [&str; 2] = ["disk_loaders", "bios"];

/// The scripts that loaders run.
#[derive(Debug)]
pub struct Scripts {
    templates: Templates,
}

impl Scripts {
    /// Those of a catalogue.
    ///
    /// # Errors
    /// For one that cannot be parsed or names what there is not: file and line.
    pub fn new(catalogue: &Catalogue) -> Result<Self, Hinted> {
        let templates = Templates::parse(catalogue.boot_scripts()?)?.with_filter("grub", quote_for_grub);
        templates.check(INSTALL, &INSTALL_VALUES.map(str::to_owned).into())?;
        templates.check(DISK, &DISK_VALUES.map(str::to_owned).into())?;
        Ok(Self { templates })
    }

    /// Makes every script once, for whatever machine may ask, so that none of them can fail later.
    ///
    /// # Errors
    /// For a script that cannot be made: file and line.
    pub fn try_all(
        &self,
        release: &Release,
        folder: &str,
        endpoints: Endpoints,
        args: &[String],
    ) -> Result<(), Hinted> {
        for kind in [ScriptKind::Grub, ScriptKind::Ipxe] {
            for carrier in [Carrier::Tftp, Carrier::Http] {
                self.install(kind, carrier, release, folder, endpoints, args)?;
            }
            for firmware in [Firmware::Uefi, Firmware::UefiHttp, Firmware::Bios] {
                self.local_disk(kind, release, firmware)?;
            }
        }
        Ok(())
    }

    /// The script that loads the installer. `folder` is where kernel and initrd are served, `args` the kernel's arguments.
    pub fn install(
        &self,
        kind: ScriptKind,
        carrier: Carrier,
        release: &Release,
        folder: &str,
        endpoints: Endpoints,
        args: &[String],
    ) -> Result<String, Hinted> {
        let root = match (kind, carrier) {
            (ScriptKind::Grub, Carrier::Tftp) => format!("(http,{})/{folder}", endpoints.http()),
            (ScriptKind::Grub, Carrier::Http) => format!("/{folder}"),
            (ScriptKind::Ipxe, _) => endpoints.url(&format!("/{folder}")),
        };
        let values = context! {
            title => format!("{} {} ({})", release.distro.name, release.version, release.arch),
            root, args => args.to_vec(), kernel => &release.kernel.name, initrd => &release.initrd.name,
        };
        let [grub, ipxe] = INSTALL;
        self.templates.render(either(kind, grub, ipxe), &values)
    }

    /// The script that starts what is on the machine's own disk.
    pub fn local_disk(&self, kind: ScriptKind, release: &Release, firmware: Firmware) -> Result<String, Hinted> {
        let values = context! { disk_loaders => release.disk_loaders.clone(), bios => firmware == Firmware::Bios };
        let [grub, ipxe] = DISK;
        self.templates.render(either(kind, grub, ipxe), &values)
    }
}

fn either(kind: ScriptKind, grub: &'static str, ipxe: &'static str) -> &'static str {
    match kind {
        ScriptKind::Grub => grub,
        ScriptKind::Ipxe => ipxe,
    }
}

/// One word for GRUB's shell-like script language: `;`, `$` and blanks mean nothing inside single quotes.
fn quote_for_grub(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-.:,=+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    fn install(kind: ScriptKind, carrier: Carrier) -> String {
        let plan = plan();
        let args = ["auto=true", "url=http://192.168.42.1:4280/a?b", "words=a b;c"].map(str::to_owned);
        let scripts = Scripts::new(&Catalogue::embedded()).expect("the built-in scripts");
        scripts.install(kind, carrier, &plan.release, "boot/x", plan.endpoints(), &args).expect("a script")
    }

    #[test]
    fn grub_loads_kernel_and_initrd_by_http_however_it_was_loaded_itself() {
        let tftp = install(ScriptKind::Grub, Carrier::Tftp);
        assert!(tftp.contains("\nlinux (http,192.168.42.1:4280)/boot/x/linux auto=true "), "{tftp}");
        assert!(tftp.contains("\ninitrd (http,192.168.42.1:4280)/boot/x/initrd.gz\nboot"), "{tftp}");
        assert!(tftp.contains(" 'url=http://192.168.42.1:4280/a?b' 'words=a b;c'\n"), "{tftp}");
        let http = install(ScriptKind::Grub, Carrier::Http);
        assert!(http.contains("\nlinux /boot/x/linux auto=true "), "{http}");
    }

    #[test]
    fn ipxe_names_the_initrd_for_kernels_started_as_efi_programs() {
        let script = install(ScriptKind::Ipxe, Carrier::Http);
        let line = "\nkernel http://192.168.42.1:4280/boot/x/linux initrd=initrd.gz auto=true ";
        assert!(script.starts_with("#!ipxe\n") && script.contains(line), "{script}");
    }

    #[test]
    fn an_installed_machine_is_sent_to_its_own_loader() {
        let scripts = Scripts::new(&Catalogue::embedded()).expect("the built-in scripts");
        let grub = scripts.local_disk(ScriptKind::Grub, &plan().release, Firmware::Uefi).expect("a script");
        assert!(grub.contains("search --no-floppy --file --set=root /EFI/debian/shimx64.efi;"), "{grub}");
        assert!(grub.ends_with("exit\n"), "{grub}");
        let bios = scripts.local_disk(ScriptKind::Ipxe, &plan().release, Firmware::Bios).expect("a script");
        assert!(bios.contains("\nsanboot --no-describe --drive 0x80 || exit"), "{bios}");
    }

    #[test]
    fn words_are_quoted_so_that_grub_reads_them_back_unchanged() {
        for (word, expected) in [("a=b", "a=b"), ("", "''"), ("a;b $c", "'a;b $c'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quote_for_grub(word), expected);
        }
    }
}
