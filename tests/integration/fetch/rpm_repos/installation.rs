//! What an installation downloads, from the states of two repositories, with and without the network.

use provisioner::fetch::{Asked, Resolved, resolve};

use super::*;

const UPDATES: &str = "updates/44/Everything/x86_64";
const NEW_GRUB: Rpm = Rpm { name: "grub2-efi-x64", version: "2.14", bytes: b"a new grub" };

fn asked(packages: &[&str]) -> Asked {
    let packages = packages.iter().map(ToString::to_string).collect();
    Asked { arch: "x86_64".into(), groups: vec!["core".into()], packages, weak: true, ..Asked::default() }
}

/// The states of both repositories of a world whose first one has a group.
async fn states(world: &World, offline: bool) -> anyhow::Result<Vec<Snapshot>> {
    let updates = Repo { id: "updates".into(), path: UPDATES.into(), metalink: None };
    let states = [world.take(&world.repo()?, &["one"], offline).await?, world.take(&updates, &["one"], offline).await?];
    Ok(states.into())
}

fn paths(resolved: &Resolved) -> Vec<(usize, &str)> {
    resolved.files.iter().map(|(repo, path, _)| (*repo, path.as_str())).collect()
}

#[tokio::test]
async fn it_is_known_offline_too_by_the_lists_that_were_kept() -> anyhow::Result<()> {
    let world = World::new()?;
    let main = world.root().join("one").join(MAIN);
    let (repomd, [plain, packed]) = add_group(&main, &["shim-x64", "of-another-arch"]);
    world.names(&[&repomd], &["one"]);
    for mirror in ["one", "master"] {
        repository(&world.root().join(mirror).join(UPDATES), &[NEW_GRUB]);
    }
    let fresh = states(&world, false).await?;
    let asked_for = world.server.paths();
    let was_asked = |path: &str| asked_for.contains(&format!("/one/{MAIN}/{path}"));
    assert!(was_asked(&packed) && !was_asked(&plain), "the smaller one: {asked_for:?}");

    let resolved = resolve(&fresh, &asked(&["grub2-efi-x64", "emacs"]))?;
    let (shim, grub) = (SHIM.path(), NEW_GRUB.path());
    assert_eq!(paths(&resolved), [(0, shim.as_str()), (1, grub.as_str())], "the newest of each");
    assert_eq!(
        resolved.files.iter().map(|file| Some(file.2)).collect::<Vec<_>>(),
        [expected(&SHIM), expected(&NEW_GRUB)]
    );
    assert_eq!(resolved.unmet, ["no repository has the package emacs"]);

    let kept = states(&world, true).await?;
    assert_eq!(world.server.paths(), [""; 0]);
    assert_eq!(paths(&resolve(&kept, &asked(&["grub2-efi-x64"]))?), paths(&resolved));

    // Without the list of groups a state can be served; what was asked for by group is then said to be missing.
    let sha256 = packed.trim_start_matches("repodata/").split('-').next().unwrap_or_default().to_owned();
    flip(&world.folder.path().join("repos/testora").join(sha256))?;
    let resolved = resolve(&states(&world, true).await?, &asked(&[]))?;
    assert_eq!(paths(&resolved), []);
    assert_eq!(resolved.unmet, ["no repository has the group core"]);
    Ok(())
}
