//! Every package of a set of repositories with what it provides and needs, as compact as a resolver can do with.
//!
//! Fedora's has 76,000 packages with some two million such relations. Names and versions are kept once, under numbers.

use std::{io::BufRead, ops::Range, path::Path};

use anyhow::Context as _;

use super::{
    dependency::{self, Dependency, Op},
    primary, version,
    xml::{Element, Xml},
};

mod names;

use names::{Id, Names};

/// A package's place in the pool.
pub type At = u32;

/// A name, and a version of it.
#[derive(Clone, Copy)]
struct Relation {
    name: Id,
    op: Op,
    version: Id,
}

/// What a package says of others.
#[derive(Clone, Copy)]
pub enum Says {
    /// It does not work without them.
    Requires,
    /// It works better with them.
    Recommends,
    /// It makes them better.
    Supplements,
    /// It takes their place.
    Obsoletes,
}

/// A package that could be installed.
pub struct Candidate {
    name: Id,
    version: Id,
    /// Whose it is: the place of its repository.
    pub repo: usize,
    /// Its path below that.
    path: Id,
    /// Whether it is for the one architecture, and not for all.
    native: bool,
    /// Where its relations begin, by what they say; the last is where they end.
    relations: [u32; 5],
}

/// The packages.
pub struct Pool {
    names: Names,
    candidates: Vec<Candidate>,
    relations: Vec<Relation>,
    /// Who provides what, in the order of what.
    provides: Vec<(Relation, At)>,
    /// Packages by name.
    by_name: Vec<(Id, At)>,
    arch: String,
}

impl Pool {
    /// An empty one, for machines of an architecture, in RPM's own spelling.
    pub fn new(arch: &str) -> Self {
        let (candidates, relations, provides, by_name) = Default::default();
        Self { names: Names::new(), candidates, relations, provides, by_name, arch: arch.to_owned() }
    }

    /// Adds the packages of a verified `primary.xml`, compressed as its name `listed` says. Blocking.
    ///
    /// # Errors
    /// What cannot be unpacked or is not a list of packages.
    pub fn add(&mut self, repo: usize, file: &Path, listed: &str) -> anyhow::Result<()> {
        self.read(repo, primary::open(file, listed)?)
    }

    fn read(&mut self, repo: usize, document: impl BufRead) -> anyhow::Result<()> {
        let mut xml = Xml::new(document, primary::LIMIT);
        xml.root("metadata", |xml, element| match element.attribute("type") {
            Some("rpm") => self.read_package(repo, xml),
            _ => Ok(()),
        })?;
        xml.finish()?;
        Ok(())
    }

    /// To be called when all repositories were added.
    pub fn index(&mut self) {
        self.provides.shrink_to_fit();
        self.provides.sort_unstable_by_key(|(relation, at)| (relation.name, *at));
        self.by_name = (0..).zip(&self.candidates).map(|(at, candidate)| (candidate.name, at)).collect();
        self.by_name.sort_unstable();
    }

    fn read_package<R: BufRead>(&mut self, repo: usize, xml: &mut Xml<R>) -> anyhow::Result<()> {
        let (mut name, mut arch, mut version, mut path) = (String::new(), String::new(), String::new(), String::new());
        let at = At::try_from(self.candidates.len()).context("there are too many packages")?;
        let mut said = <[Vec<Relation>; 4]>::default();
        let read = xml.children(|xml, element| {
            match element.name.as_str() {
                "name" => name = xml.text()?,
                "arch" => arch = xml.text()?,
                "version" => version = primary::evr(&element)?,
                "location" => path = element.required("href")?.to_owned(),
                // What other architectures have is not looked at: it is the last of a package, and nearly all of it.
                "format" if self.runs(&arch) => self.read_format(at, xml, &mut said)?,
                _ => {}
            }
            Ok(())
        });
        read.with_context(|| format!("reading the package {name}"))?;
        if !self.runs(&arch) {
            return Ok(());
        }
        let mut relations = [u32::try_from(self.relations.len()).context("there are too many dependencies")?; 5];
        for (said, end) in said.iter_mut().zip(1..) {
            self.relations.append(said);
            relations[end] = u32::try_from(self.relations.len()).context("there are too many dependencies")?;
        }
        let native = arch == self.arch;
        let [name, version, path] = [name, version, path].map(|text| self.names.keep(&text));
        self.candidates.push(Candidate { name: name?, version: version?, repo, path: path?, native, relations });
        Ok(())
    }

    /// Never 32-bit packages beside 64-bit ones: the installer takes those of the machine's own architecture.
    fn runs(&self, arch: &str) -> bool {
        arch == self.arch || arch == "noarch"
    }

    /// Reads provides and files; `said` is what the package says of others.
    fn read_format<R: BufRead>(
        &mut self,
        at: At,
        xml: &mut Xml<R>,
        said: &mut [Vec<Relation>; 4],
    ) -> anyhow::Result<()> {
        xml.children(|xml, element| {
            let says = match element.name.as_str() {
                "file" => {
                    let name = self.names.keep(&xml.text()?)?;
                    let version = self.names.keep("")?;
                    self.provides.push((Relation { name, op: Op::Any, version }, at));
                    return Ok(());
                }
                "provides" => {
                    return xml.children(|_, entry| {
                        let relation = self.relation(&entry)?;
                        self.provides.push((relation, at));
                        Ok(())
                    });
                }
                "requires" => Says::Requires,
                "recommends" => Says::Recommends,
                "supplements" => Says::Supplements,
                "obsoletes" => Says::Obsoletes,
                _ => return Ok(()),
            };
            xml.children(|_, entry| {
                // What rpm itself can do is no package's.
                if !entry.required("name")?.starts_with("rpmlib(") {
                    said[says as usize].push(self.relation(&entry)?);
                }
                Ok(())
            })
        })
    }

    fn relation(&mut self, entry: &Element) -> anyhow::Result<Relation> {
        let name = self.names.keep(entry.required("name")?)?;
        let op = Op::of_flags(entry.attribute("flags"));
        let version = match (op, entry.attribute("ver"), entry.attribute("rel")) {
            (Op::Any, ..) | (_, None, _) => String::new(),
            (_, Some(ver), rel) => {
                let epoch = entry.attribute("epoch").filter(|epoch| !matches!(*epoch, "" | "0"));
                let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
                let rel = rel.map(|rel| format!("-{rel}")).unwrap_or_default();
                format!("{epoch}{ver}{rel}")
            }
        };
        Ok(Relation { name, op, version: self.names.keep(&version)? })
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Every package.
    pub fn all(&self) -> Range<At> {
        0..At::try_from(self.candidates.len()).expect("it was when each was added")
    }

    /// A package.
    pub fn get(&self, at: At) -> &Candidate {
        &self.candidates[at as usize]
    }

    /// Its name.
    pub fn name(&self, at: At) -> &str {
        self.names.text(self.get(at).name)
    }

    /// Its path below its repository.
    pub fn path(&self, at: At) -> &str {
        self.names.text(self.get(at).path)
    }

    fn version(&self, at: At) -> &str {
        self.names.text(self.get(at).version)
    }

    /// What it says of others. An expression that cannot be read is as good as not there.
    pub fn said(&self, at: At, says: Says) -> impl Iterator<Item = Dependency> {
        let bounds = &self.get(at).relations;
        let range = bounds[says as usize] as usize..bounds[says as usize + 1] as usize;
        self.relations[range].iter().filter_map(|relation| {
            let name = self.names.text(relation.name);
            if name.starts_with('(') {
                return Dependency::parse(name).inspect_err(|error| tracing::debug!("{error:#}")).ok();
            }
            let version = self.names.text(relation.version).to_owned();
            Some(Dependency::One { name: name.to_owned(), op: relation.op, version })
        })
    }

    /// Who provides a name in such a version, with the version each provides it in.
    pub fn providers(&self, name: &str, op: Op, version: &str) -> Vec<(At, &str)> {
        let Some(id) = self.names.find(name) else { return Vec::new() };
        let start = self.provides.partition_point(|(relation, _)| relation.name < id);
        let all = self.provides[start..].iter().take_while(|(relation, _)| relation.name == id);
        let mut found: Vec<_> = all
            .map(|(relation, at)| (*at, relation.op, self.names.text(relation.version)))
            .filter(|(_, has, provided)| dependency::satisfies((*has, provided), (op, version)))
            .map(|(at, _, provided)| (at, provided))
            .collect();
        found.dedup_by_key(|(at, _)| *at);
        found
    }

    /// Packages of a name, which `*` may stand in for any part of.
    pub fn named(&self, pattern: &str) -> Vec<At> {
        if pattern.contains('*') {
            return self.all().filter(|at| matches(pattern, self.name(*at))).collect();
        }
        let Some(id) = self.names.find(pattern) else { return Vec::new() };
        let start = self.by_name.partition_point(|(name, _)| *name < id);
        self.by_name[start..].iter().take_while(|(name, _)| *name == id).map(|(_, at)| *at).collect()
    }

    /// Of packages of one name, the one that is installed when nothing else decides.
    ///
    /// A package of a module stream is not seen by dnf unless the stream is enabled, which nothing here does.
    pub fn best(&self, of: impl IntoIterator<Item = At>) -> Option<At> {
        of.into_iter().reduce(|best, other| {
            let (a, b) = (self.version(best), self.version(other));
            let order = b.contains(".module").cmp(&a.contains(".module")).then_with(|| version::compare(a, b));
            let order = order.then_with(|| self.get(best).native.cmp(&self.get(other).native));
            // Of equals the first, which is that of the first repository.
            if order.is_lt() { other } else { best }
        })
    }

    /// Whether a dependency means this package by its own name, as those do that say what is obsolete.
    pub fn is(&self, at: At, what: &Dependency) -> bool {
        match what {
            Dependency::One { name, op, version } => {
                name == self.name(at) && dependency::satisfies((Op::Equal, self.version(at)), (*op, version))
            }
            _ => false,
        }
    }

    /// Whether it is what [`Pool::best`] says of its name.
    pub fn is_newest(&self, at: At) -> bool {
        self.best(self.named(self.name(at))).is_some_and(|best| self.version(best) == self.version(at))
    }
}

/// Whether a name is what a pattern with `*` in it means.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(end) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(end)
}
