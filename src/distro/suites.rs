use minijinja::context;

use super::{Mirror, Release, render};

/// A suite that an installation takes packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite<'a> {
    /// The archive it is in.
    pub mirror: &'a Mirror,
    /// Its folder below `dists/`: `trixie-updates`.
    pub name: String,
}

impl Release {
    /// The suites that an installation takes packages from, the release's own first. Archives of RPMs have none.
    ///
    /// # Errors
    /// When the description's templates name an unknown value.
    pub fn suites(&self) -> anyhow::Result<Vec<Suite<'_>>> {
        let Some(debian) = &self.distro.archive.debian else { return Ok(Vec::new()) };
        let further = |id: &str| self.distro.mirrors.iter().find(|further| further.id == id);
        let mut suites = Vec::new();
        for (number, mirror) in self.mirrors.iter().enumerate() {
            let names = match number {
                0 => debian.suites.as_slice(),
                _ => further(&mirror.id).map_or(&[][..], |further| &further.suites),
            };
            for template in names {
                let name = render::string(template, context! { codename => &self.codename })?;
                suites.push(Suite { mirror, name });
            }
        }
        Ok(suites)
    }

    /// The components that an installation takes packages from.
    pub fn components(&self) -> &[String] {
        self.distro.archive.debian.as_ref().map_or(&[], |debian| &debian.components)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{distro::Catalogue, model::Arch};

    #[test]
    fn an_installation_takes_packages_from_what_its_answers_enable() {
        let distro = Catalogue::embedded().distro("debian").expect("debian");
        let (mirrors, data) = (distro.public_mirrors(), distro.release("12").expect("a release").clone());
        let release = Release::new(distro, &data, "standard", Arch::X86_64, mirrors).expect("a release");
        let suites = release.suites().expect("suites");
        let named: Vec<_> = suites.iter().map(|suite| (suite.mirror.id.as_str(), suite.name.as_str())).collect();
        assert_eq!(
            named,
            [("debian", "bookworm"), ("debian", "bookworm-updates"), ("debian-security", "bookworm-security")]
        );
        assert_eq!(release.components(), ["main", "non-free-firmware"]);
    }
}
