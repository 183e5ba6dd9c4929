//! A repository made by createrepo_c out of packages made by rpmbuild, and what dnf makes of it.

use std::process::Command;

use super::*;

const SPEC: &str = "Name: @name@\nVersion: @version@\nRelease: 1\n@epoch@Summary: a test\nLicense: MIT\nBuildArch: noarch\n\
                    %description\nA <test> & more.\n%files\n";

/// Runs a tool; `None` when it is not installed.
fn run(command: &mut Command) -> anyhow::Result<Option<String>> {
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            anyhow::ensure!(output.status.success(), "{command:?}: {text}");
            Ok(Some(String::from_utf8(output.stdout)?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn build(folder: &Path, name: &str, version: &str, epoch: &str) -> anyhow::Result<bool> {
    let spec = folder.join("package.spec");
    std::fs::write(&spec, SPEC.replace("@name@", name).replace("@version@", version).replace("@epoch@", epoch))?;
    let define = |name: &str, path: &Path| format!("{name} {}", path.display());
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--define", &define("_topdir", &folder.join("build"))]);
    rpmbuild.args(["--define", &define("_rpmdir", &folder.join("repo/Packages"))]).arg(&spec);
    Ok(run(&mut rpmbuild)?.is_some())
}

#[tokio::test]
async fn real_tools_agree_with_what_is_read() -> anyhow::Result<()> {
    for compression in ["xz", "gz"] {
        compare(compression).await?;
    }
    Ok(())
}

async fn compare(compression: &str) -> anyhow::Result<()> {
    let world = World::new()?;
    let folder = world.folder.path();
    let built = [("a+b", "1.0", ""), ("a+b", "1.0~rc1", ""), ("c", "9", ""), ("c", "1", "Epoch: 1\n")];
    for (name, version, epoch) in built {
        if !build(folder, name, version, epoch)? {
            return missing("rpmbuild");
        }
    }
    let mut createrepo = Command::new("createrepo_c");
    createrepo.args([&format!("--general-compress-type={compression}"), "--quiet"]).arg(folder.join("repo"));
    if run(&mut createrepo)?.is_none() {
        return missing("createrepo_c");
    }
    let target = world.root().join("one").join(MAIN);
    std::fs::remove_dir_all(&target)?;
    std::fs::rename(folder.join("repo"), &target)?;
    let repomd = std::fs::read(target.join("repodata/repomd.xml"))?;
    world.names(&[&(repomd.len(), sha256(&repomd))], &["one"]);

    let snapshot = world.snapshot(&["one"]).await?;
    let mut listed = 0;
    for entry in std::fs::read_dir(target.join("Packages/noarch"))? {
        let (path, name) = (entry.as_ref().map(|entry| entry.path()), entry.as_ref().map(|entry| entry.file_name()));
        let (Ok(path), Ok(name)) = (path, name) else { anyhow::bail!("the folder cannot be read") };
        let bytes = std::fs::read(path)?;
        let found = snapshot.find(&format!("Packages/noarch/{}", name.to_string_lossy())).context("not listed")?;
        assert_eq!(found, Expected { size: Some(bytes.len() as u64), sha256: sha256(&bytes).parse()? });
        listed += 1;
    }
    assert_eq!((listed, snapshot.packages().len()), (4, 4));
    for entry in std::fs::read_dir(target.join("repodata"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = snapshot.find(&format!("repodata/{name}"));
        assert_eq!(found.is_none(), name == "repomd.xml", "{name}");
        let bytes = std::fs::read(entry.path())?;
        assert!(found.is_none_or(|found| found.sha256.to_string() == sha256(&bytes)), "{name}");
    }
    let newest = |name| snapshot.package(name, "noarch").map(|entry| entry.version.as_str());
    assert_eq!((newest("a+b"), newest("c")), (Some("1.0-1"), Some("1:1-1")));

    // What dnf takes for the newest, and where it says that it is.
    let cache = format!("--setopt=cachedir={}", folder.join("dnf").display());
    let from = format!("--repofrompath=x,file://{}", target.display());
    let mut dnf = Command::new("dnf");
    dnf.args([
        "repoquery",
        "--quiet",
        "--repoid=x",
        "--latest-limit=1",
        &from,
        &cache,
        "--setopt=reposdir=/nonexistent",
    ]);
    dnf.args(["--qf", "%{name} %{evr} %{relativepath}"]);
    let Some(answer) = run(&mut dnf)? else { return missing("dnf") };
    let mut lines: Vec<_> = answer.lines().collect();
    lines.sort_unstable();
    let ours = ["a+b", "c"].map(|name| {
        let entry = snapshot.package(name, "noarch").expect("listed");
        format!("{name} {} {}", entry.version, entry.path)
    });
    assert_eq!(lines, ours);
    Ok(())
}

/// Skips, but not where everything has to be installed.
fn missing(tool: &str) -> anyhow::Result<()> {
    anyhow::ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{tool} is missing");
    eprintln!("skipped: {tool} is not installed");
    Ok(())
}
