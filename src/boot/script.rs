use anyhow::Context;
use minijinja::{Environment, UndefinedBehavior, context, syntax::SyntaxConfig};

use crate::{
    distro::{Release, ScriptKind},
    model::{Endpoints, Firmware},
};

/// How the loader that asks for a script was itself loaded, which decides how it can load more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Over TFTP: GRUB reaches our HTTP server by its own `http` module.
    Tftp,
    /// Over HTTP: by UEFI HTTP Boot, where GRUB reads through the firmware and knows only its own server's root.
    Http,
}

/// The scripts that loaders run.
#[derive(Debug)]
pub struct Scripts {
    templates: Environment<'static>,
}

impl Scripts {
    /// The built-in scripts.
    pub fn new() -> anyhow::Result<Self> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
        templates.set_syntax(syntax.context("preparing loader scripts")?);
        templates.add_filter("grub", quote_for_grub);
        for (name, text) in [
            ("grub-install.cfg", include_str!("../../templates/boot/grub-install.cfg")),
            ("grub-disk.cfg", include_str!("../../templates/boot/grub-disk.cfg")),
            ("install.ipxe", include_str!("../../templates/boot/install.ipxe")),
            ("disk.ipxe", include_str!("../../templates/boot/disk.ipxe")),
        ] {
            templates.add_template(name, text).with_context(|| format!("reading loader script {name}"))?;
        }
        Ok(Self { templates })
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
    ) -> anyhow::Result<String> {
        let root = match (kind, carrier) {
            (ScriptKind::Grub, Carrier::Tftp) => format!("(http,{})/{folder}", endpoints.http()),
            (ScriptKind::Grub, Carrier::Http) => format!("/{folder}"),
            (ScriptKind::Ipxe, _) => endpoints.url(&format!("/{folder}")),
        };
        let values = context! {
            title => format!("{} {} ({})", release.distro.name, release.version, release.arch),
            root, args => args.to_vec(), kernel => &release.kernel.name, initrd => &release.initrd.name,
        };
        self.render(
            match kind {
                ScriptKind::Grub => "grub-install.cfg",
                ScriptKind::Ipxe => "install.ipxe",
            },
            values,
        )
    }

    /// The script that starts what is on the machine's own disk.
    pub fn local_disk(&self, kind: ScriptKind, release: &Release, firmware: Firmware) -> anyhow::Result<String> {
        let values = context! { disk_loaders => release.disk_loaders.clone(), bios => firmware == Firmware::Bios };
        self.render(
            match kind {
                ScriptKind::Grub => "grub-disk.cfg",
                ScriptKind::Ipxe => "disk.ipxe",
            },
            values,
        )
    }

    fn render(&self, name: &str, values: minijinja::Value) -> anyhow::Result<String> {
        let template = self.templates.get_template(name);
        template.and_then(|template| template.render(values)).with_context(|| format!("rendering loader script {name}"))
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
        let scripts = Scripts::new().expect("the built-in scripts");
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
        let scripts = Scripts::new().expect("the built-in scripts");
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
