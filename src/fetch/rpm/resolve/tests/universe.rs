//! Repositories without packages: a solver needs no more than what is said of them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::fetch::{Expected, digest, rpm::repomd::Listed};

/// How many random ones are made: each costs a run of dnf.
pub const SEEDS: u64 = 12;

/// Packages of several repositories: a line `name` or `name-version-release.arch` each, followed by lines that begin with a
/// space and say `requires`, `provides`, `recommends`, … and what, or `file` and its path.
pub struct Universe {
    repositories: Vec<String>,
    comps: String,
}

impl Universe {
    pub fn new(repositories: &[&str]) -> Self {
        Self { repositories: repositories.iter().map(ToString::to_string).collect(), comps: String::new() }
    }

    pub fn with_comps(mut self, comps: &str) -> Self {
        self.comps = comps.to_owned();
        self
    }

    /// Everything in it can be had: each thing that may be needed is provided by a package of the same number.
    pub fn random(seed: u64) -> Self {
        let mut state = seed * 2 + 1;
        let mut below = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut repositories = vec![String::new(), String::new()];
        for number in 0..120 {
            let mut package = format!(" provides c{} = {}\n", number % 40, below(3));
            for _ in 0..below(3) {
                let (a, b, c) = (below(120), below(40), below(120));
                package += &match below(9) {
                    0 | 1 => format!(" requires p{a}\n"),
                    2 => format!(" requires c{b}\n"),
                    3 => format!(" recommends p{a}\n"),
                    4 => format!(" recommends c{b}\n"),
                    5 => format!(" supplements p{a}\n"),
                    6 => format!(" requires (p{a} if p{c})\n"),
                    7 => format!(" requires (c{b} or p{a})\n"),
                    _ => format!(" supplements (p{a} and c{b})\n"),
                };
            }
            repositories[0] += &format!("p{number}-1-1.x86_64\n{package}");
            if below(3) == 0 {
                repositories[1] += &format!("p{number}-2-1.x86_64\n{package}");
            }
        }
        Self { repositories, comps: String::new() }
    }

    /// The folders of the repositories below one.
    pub fn repositories(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        let folder = folder.to_owned();
        (0..self.repositories.len()).map(move |at| folder.join(format!("r{at}")))
    }

    /// Writes `primary.xml`, `comps.xml` and `repodata/repomd.xml` of each.
    pub fn write(&self, folder: &Path) {
        for (packages, path) in self.repositories.iter().zip(self.repositories(folder)) {
            fs::create_dir_all(path.join("repodata")).expect("a folder");
            let comps = format!(
                "<?xml version=\"1.0\"?>\n<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \
                 \"comps.dtd\">\n<comps>{}</comps>\n",
                self.comps
            );
            let primary = primary(packages);
            let mut repomd = "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision>".to_owned();
            for (kind, text) in [("primary", primary), ("group", comps)] {
                let name = if kind == "group" { "comps.xml".to_owned() } else { format!("{kind}.xml") };
                write!(
                    repomd,
                    "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"{name}\"/>\
                     <timestamp>1</timestamp><size>{}</size></data>",
                    digest::of_bytes(text.as_bytes()),
                    text.len()
                )
                .expect("a string takes everything");
                fs::write(path.join(name), text).expect("written");
            }
            fs::write(path.join("repodata/repomd.xml"), repomd + "</repomd>\n").expect("written");
        }
    }
}

/// What a `repomd.xml` says of a file that nothing was said of.
pub fn listed(name: &str) -> Listed {
    let expected = Expected { size: None, sha256: digest::of_bytes(b"") };
    Listed { kind: "group".into(), path: name.into(), expected, open_size: None }
}

/// `name-version-release.arch`, where a name alone is of version 1-1 and for x86_64.
fn nevra(line: &str) -> [&str; 4] {
    let whole = line.rsplit_once('.').and_then(|(rest, arch)| {
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        Some([name, version, release, arch])
    });
    whole.unwrap_or([line, "1", "1", "x86_64"])
}

fn primary(packages: &str) -> String {
    let mut xml = "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
                   xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"1\">\n"
        .to_owned();
    let mut lines = packages.lines().peekable();
    while let Some(line) = lines.next() {
        let [name, version, release, arch] = nevra(line);
        let mut said = vec![("provides", format!("{name} = {version}-{release}"))];
        let mut files = String::new();
        while let Some((kind, what)) = lines.peek().and_then(|line| line.strip_prefix(' ')?.split_once(' ')) {
            match kind {
                "file" => files += &format!("<file>{what}</file>"),
                kind => said.push((kind, what.to_owned())),
            }
            lines.next();
        }
        let id = digest::of_bytes(line.as_bytes());
        write!(
            xml,
            "<package type=\"rpm\"><name>{name}</name><arch>{arch}</arch><version epoch=\"0\" ver=\"{version}\" \
             rel=\"{release}\"/><checksum type=\"sha256\" pkgid=\"YES\">{id}</checksum><summary>x</summary>\
             <description>x</description><packager/><url/><time file=\"1\" build=\"1\"/>\
             <size package=\"7\" installed=\"8\" archive=\"9\"/>\
             <location href=\"{name}-{version}-{release}.{arch}.rpm\"/><format><rpm:license>x</rpm:license>"
        )
        .expect("a string takes everything");
        for kind in ["provides", "requires", "obsoletes", "suggests", "recommends", "supplements"] {
            let entries: String = said.iter().filter(|(said, _)| *said == kind).map(|(_, what)| entry(what)).collect();
            if !entries.is_empty() {
                xml += &format!("<rpm:{kind}>{entries}</rpm:{kind}>");
            }
        }
        xml += &format!("{files}</format></package>\n");
    }
    xml + "</metadata>\n"
}

fn entry(what: &str) -> String {
    let words: Vec<_> = what.split(' ').collect();
    match words.as_slice() {
        [name, sign, version] if !what.starts_with('(') => {
            let flags = match *sign {
                "<" => "LT",
                "<=" => "LE",
                ">=" => "GE",
                ">" => "GT",
                _ => "EQ",
            };
            let (version, release) = version.split_once('-').map_or((*version, None), |(v, r)| (v, Some(r)));
            let release = release.map(|release| format!(" rel=\"{release}\"")).unwrap_or_default();
            format!("<rpm:entry name=\"{name}\" flags=\"{flags}\" epoch=\"0\" ver=\"{version}\"{release}/>")
        }
        _ => format!("<rpm:entry name=\"{}\"/>", what.replace('<', "&lt;").replace('>', "&gt;")),
    }
}
