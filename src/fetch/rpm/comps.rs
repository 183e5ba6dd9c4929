//! `comps.xml`: the groups of a repository, and the environments that are made of them.

use std::{collections::BTreeMap, io::BufRead, path::Path};

use anyhow::Context as _;

use super::{primary, repomd::Listed, xml::Xml};

/// The most it may unpack to; Fedora's has 2 MB.
const LIMIT: u64 = 64 << 20;

/// When a package of a group is installed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// Always: `mandatory`, or `default`.
    Always(String),
    /// `conditional`: the first where the second is.
    Where(String, String),
}

/// Groups and environments, of one repository or several.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comps {
    /// Packages of each group, by its id.
    groups: BTreeMap<String, Vec<Member>>,
    /// Groups that each environment always has, by its id. What it has to choose from is not installed by itself.
    environments: BTreeMap<String, Vec<String>>,
    /// Id of each group by its name, the one in English.
    names: BTreeMap<String, String>,
}

impl Comps {
    /// The packages of a group, by its id or its name.
    pub fn group(&self, name: &str) -> Option<&[Member]> {
        let named = || self.groups.get(self.names.get(name)?);
        self.groups.get(name).or_else(named).map(Vec::as_slice)
    }

    /// The groups of an environment, by its id.
    pub fn environment(&self, id: &str) -> Option<&[String]> {
        self.environments.get(id).map(Vec::as_slice)
    }

    /// Adds what another repository says: a group is what all of them say it is.
    pub fn add(&mut self, other: Self) {
        for (id, members) in other.groups {
            self.groups.entry(id).or_default().extend(members);
        }
        for (id, groups) in other.environments {
            self.environments.entry(id).or_default().extend(groups);
        }
        self.names.extend(other.names);
    }
}

/// Reads a verified `comps.xml`, compressed as its name says. Blocking.
///
/// # Errors
/// What cannot be unpacked or is not a list of groups.
pub fn read(file: &Path, listed: &Listed) -> anyhow::Result<Comps> {
    parse(primary::open(file, &listed.path)?)
}

/// Of the files of groups that `repomd.xml` lists, the smallest that can be read here: each says the same.
pub fn of(listed: &[Listed]) -> Option<&Listed> {
    let groups = listed.iter().filter(|listed| listed.kind == "group" || listed.kind.starts_with("group_"));
    let readable = groups.filter(|listed| primary::is_readable(&listed.path));
    readable.min_by_key(|listed| listed.expected.size.unwrap_or(u64::MAX))
}

fn parse(document: impl BufRead) -> anyhow::Result<Comps> {
    let mut xml = Xml::new(document, LIMIT).with_document_type();
    let mut comps = Comps::default();
    xml.root("comps", |xml, element| match element.name.as_str() {
        "group" => comps.read_group(xml),
        "environment" => comps.read_environment(xml),
        _ => Ok(()),
    })?;
    xml.finish()?;
    Ok(comps)
}

impl Comps {
    fn read_group<R: BufRead>(&mut self, xml: &mut Xml<R>) -> anyhow::Result<()> {
        let (mut id, mut name, mut members) = (None, None, Vec::new());
        xml.children(|xml, element| {
            match element.name.as_str() {
                "id" => id = Some(xml.text()?),
                "name" if element.attribute("xml:lang").is_none() => name = Some(xml.text()?),
                "packagelist" => xml.children(|xml, element| {
                    let member = match (element.attribute("type"), element.attribute("requires")) {
                        (Some("conditional"), Some(other)) => Member::Where(xml.text()?, other.to_owned()),
                        (Some("mandatory" | "default"), _) => Member::Always(xml.text()?),
                        _ => return Ok(()),
                    };
                    members.push(member);
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        let id = id.context("there is a group without an id")?;
        self.names.extend(name.map(|name| (name, id.clone())));
        self.groups.entry(id).or_default().extend(members);
        Ok(())
    }

    fn read_environment<R: BufRead>(&mut self, xml: &mut Xml<R>) -> anyhow::Result<()> {
        let (mut id, mut groups) = (None, Vec::new());
        xml.children(|xml, element| {
            match element.name.as_str() {
                "id" => id = Some(xml.text()?),
                "grouplist" => xml.children(|xml, element| {
                    if element.name == "groupid" {
                        groups.push(xml.text()?);
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        let id = id.context("there is an environment without an id")?;
        self.environments.entry(id).or_default().extend(groups);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name>Core</name><name xml:lang="de">Kern</name><default>false</default>
    <packagelist><packagereq type="mandatory">bash</packagereq><packagereq type="default">dnf</packagereq>
      <packagereq type="optional">zsh</packagereq>
      <packagereq requires="bash" type="conditional">bash-color</packagereq></packagelist></group>
  <group><id>web</id><name>Web Server</name><packagelist/></group>
  <environment><id>server</id><name>Server</name><grouplist><groupid>core</groupid></grouplist>
    <optionlist><groupid default="true">web</groupid></optionlist></environment>
  <langpacks><match install="a-%s" name="a"/></langpacks>
</comps>"#;

    #[test]
    fn groups_and_environments_are_what_every_repository_says() {
        let mut comps = parse(COMPS.as_bytes()).expect("groups");
        let always = |name: &str| Member::Always(name.to_owned());
        let core = [always("bash"), always("dnf"), Member::Where("bash-color".into(), "bash".into())];
        assert_eq!(comps.group("core"), Some(&core[..]));
        assert_eq!(comps.group("Core"), Some(&core[..]));
        assert_eq!(comps.group("Kern"), None);
        assert_eq!(comps.group("Web Server"), Some(&[][..]));
        assert_eq!(comps.environment("server"), Some(&["core".to_owned()][..]));

        let more = COMPS.replace(">bash<", ">fish<").replace("<groupid>core", "<groupid>web");
        comps.add(parse(more.as_bytes()).expect("groups"));
        assert!(
            comps.group("core").is_some_and(|core| core.contains(&always("fish")) && core.contains(&always("bash")))
        );
        assert_eq!(comps.environment("server"), Some(&["core".to_owned(), "web".to_owned()][..]));
    }

    #[test]
    fn what_cannot_be_used_is_an_error() {
        let rows = [
            (COMPS.replace("<id>core</id>", ""), "there is a group without an id"),
            (COMPS.replace("<id>server</id>", ""), "there is an environment without an id"),
            (COMPS.replace("</comps>", ""), "it ends in the middle"),
            (COMPS.replace("\"comps.dtd\"", "\"comps.dtd\" [<!ENTITY a \"b\">]"), "it defines entities"),
            (COMPS.replace(">bash<", ">&bash;<"), "&bash; is not defined"),
        ];
        for (text, expected) in rows {
            let error = format!("{:#}", parse(text.as_bytes()).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_smallest_that_can_be_read_is_taken() {
        let sha256 = "1".repeat(64).parse().expect("a digest");
        let listed = |kind: &str, path: &str, size| Listed {
            kind: kind.into(),
            path: path.into(),
            expected: crate::fetch::Expected { size, sha256 },
            open_size: None,
        };
        let all = [
            listed("primary", "repodata/p.xml.zst", Some(1)),
            listed("group", "repodata/c.xml", Some(900)),
            listed("group_zck", "repodata/c.xml.zck", Some(50)),
            listed("group_xz", "repodata/c.xml.xz", Some(100)),
            listed("group_gz", "repodata/c.xml.gz", None),
        ];
        assert_eq!(of(&all), Some(&all[3]));
        assert_eq!(of(&all[..3]), Some(&all[1]));
        assert_eq!(of(&all[..1]), None);
    }
}
