use std::collections::BTreeMap;

use crate::{
    distro::{Release, ScriptKind},
    model::{BootSpec, Endpoints, Firmware, Stage},
};

/// What a boot-file name stands for. TFTP and HTTP resolve names to this enum and never join them to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootFile {
    /// A verified file of the cache, by its artifact name.
    Artifact(String),
    /// A loader script, rendered for the machine that asks.
    Script(ScriptKind),
}

/// Every name under which a boot file is served, the same over TFTP and HTTP.
#[derive(Debug, Clone)]
pub struct Names {
    folder: String,
    files: BTreeMap<String, BootFile>,
    first_files: Vec<(Vec<Firmware>, String)>,
}

/// The iPXE script beside the artifacts.
const IPXE_SCRIPT: &str = "boot.ipxe";

impl Names {
    /// The names of a release's boot files: `boot/<uid>/<artifact>` and where its loaders look for their scripts.
    pub fn new(release: &Release) -> Self {
        let folder = format!("boot/{}", release.uid());
        let mut files = BTreeMap::new();
        let mut add = |name: String, file: BootFile| files.insert(name, file);
        for artifact in release.artifacts() {
            add(format!("{folder}/{}", artifact.name), BootFile::Artifact(artifact.name.clone()));
        }
        for file in release.loaders.iter().flat_map(|loader| &loader.files) {
            // QUIRK: shim asks for its second stage at the root when the firmware hides the DHCP `file` field from it.
            add(file.name.clone(), BootFile::Artifact(file.name.clone()));
        }
        add(format!("{folder}/{IPXE_SCRIPT}"), BootFile::Script(ScriptKind::Ipxe));
        for config in &release.grub_configs {
            add(config.clone(), BootFile::Script(ScriptKind::Grub));
        }
        let first_files = release
            .loaders
            .iter()
            .filter_map(|loader| Some((loader.firmware.clone(), loader.files.first()?.name.clone())))
            .collect();
        Self { folder, files, first_files }
    }

    /// What `name` stands for; `name` has no leading slash and no empty component.
    pub fn look_up(&self, name: &str) -> Option<&BootFile> {
        self.files.get(name)
    }

    /// `boot/<uid>`: where the artifacts are.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// What DHCP tells a machine to load: a TFTP name for PXE, an absolute URL for HTTP Boot and for iPXE.
    pub fn first_file(&self, spec: &BootSpec, endpoints: Endpoints) -> Option<String> {
        let url = |name: &str| endpoints.url(&format!("/{}/{name}", self.folder));
        if spec.stage == Stage::Ipxe {
            return Some(url(IPXE_SCRIPT));
        }
        let (_, name) = self.first_files.iter().find(|(firmware, _)| firmware.contains(&spec.firmware))?;
        Some(match spec.firmware {
            Firmware::UefiHttp => url(name),
            Firmware::Bios | Firmware::Uefi => format!("{}/{name}", self.folder),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Arch, plan::tests::plan};

    #[test]
    fn each_firmware_is_told_its_own_loader() {
        let plan = plan();
        let names = Names::new(&plan.release);
        let rows = [
            (Firmware::Uefi, Stage::Rom, "boot/debian13-x86_64/shimx64.efi"),
            (Firmware::UefiHttp, Stage::Rom, "http://192.168.42.1:4280/boot/debian13-x86_64/shimx64.efi"),
            (Firmware::Bios, Stage::Rom, "boot/debian13-x86_64/undionly.kpxe"),
            (Firmware::Bios, Stage::Ipxe, "http://192.168.42.1:4280/boot/debian13-x86_64/boot.ipxe"),
        ];
        for (firmware, stage, expected) in rows {
            let spec = BootSpec { firmware, arch: Arch::X86_64, stage };
            assert_eq!(names.first_file(&spec, plan.endpoints()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn shim_finds_its_second_stage_beside_itself_and_at_the_root() {
        let names = Names::new(&plan().release);
        let grub = BootFile::Artifact("grubx64.efi".into());
        assert_eq!(names.look_up("boot/debian13-x86_64/grubx64.efi"), Some(&grub));
        assert_eq!(names.look_up("grubx64.efi"), Some(&grub));
        assert_eq!(names.look_up("debian-installer/amd64/grub/grub.cfg"), Some(&BootFile::Script(ScriptKind::Grub)));
        for unknown in ["revocations_sku.efi", "boot/debian13-x86_64/../secret", "", "linux"] {
            assert_eq!(names.look_up(unknown), None, "{unknown}");
        }
    }
}
