use super::*;

mod oracle;
mod universe;

use universe::Universe;

/// Names of what is taken, and what is unmet, of packages written as [`Universe`] has it.
fn taken(universe: &Universe, asked: &Asked) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    universe.write(folder.path());
    let (mut pool, mut comps) = (Pool::new(&asked.arch), Comps::default());
    for (repo, path) in universe.repositories(folder.path()).enumerate() {
        pool.add(repo, &path.join("primary.xml"), "primary.xml").expect("a list of packages");
        comps.add(comps::read(&path.join("comps.xml"), &universe::listed("comps.xml")).expect("a list of groups"));
    }
    pool.index();
    let (taken, unmet) = resolve_in(&pool, &comps, asked);
    let mut paths: Vec<_> = taken.into_iter().map(|at| pool.path(at).trim_end_matches(".rpm").to_owned()).collect();
    paths.sort();
    (paths, unmet)
}

fn asked(packages: &[&str]) -> Asked {
    let packages = packages.iter().map(ToString::to_string).collect();
    Asked { arch: "x86_64".into(), packages, weak: true, ..Asked::default() }
}

/// What is taken when these packages are asked for, without `-1-1.x86_64` where that is a package's end.
fn names(universe: &Universe, packages: &[&str]) -> Vec<String> {
    let (taken, unmet) = taken(universe, &asked(packages));
    assert_eq!(unmet, [""; 0]);
    taken.into_iter().map(|name| name.trim_end_matches("-1-1.x86_64").to_owned()).collect()
}

#[test]
fn each_kind_of_dependency_is_followed_as_dnf_does() {
    let rows: [(&str, &str, &[&str]); 18] = [
        ("a cycle", "a\n requires b\nb\n requires a\nc", &["a", "b"]),
        ("a file", "a\n requires /usr/bin/x\nb\n file /usr/bin/x", &["a", "b"]),
        (
            "of many the likely ones",
            "a\n requires cap\nbb\n provides cap = 1\ncap\nccc\n provides cap = 7\nd\n provides cap = 2\nee\n provides cap = 3",
            &["a", "bb", "cap", "ccc", "d"],
        ),
        ("what is taken anyhow", "a\n requires cap\n requires zz\nb\n provides cap\nzz\n provides cap", &["a", "zz"]),
        (
            "what is recommended",
            "a\n requires cap\n recommends zz\nb\n provides cap\nzz\n provides cap",
            &["a", "b", "zz"],
        ),
        ("every one of few", "a\n requires cap\nb\n provides cap\nc\n provides cap", &["a", "b", "c"]),
        (
            "weak ones and theirs",
            "a\n recommends b\nb\n requires c\nc\nd\n supplements c\ne\n supplements x",
            &["a", "b", "c", "d"],
        ),
        ("what cannot be had is not recommended", "a\n recommends x\n suggests b\nb", &["a"]),
        ("and", "a\n requires (b and c)\nb\nc", &["a", "b", "c"]),
        ("or", "a\n requires (x or (b and c))\nb\nc", &["a", "b", "c"]),
        ("if, late", "a\n requires (b if d)\n requires c\nb\nc\n requires d\nd", &["a", "b", "c", "d"]),
        ("if not", "a\n requires (b if d)\nb\nd", &["a"]),
        ("else", "a\n requires (b if d else c)\nb\nc\nd", &["a", "c"]),
        (
            "with",
            "a\n requires (x >= 2 with x < 3)\nb\n provides x = 1\nc\n provides x = 2\nd\n provides x = 3",
            &["a", "c"],
        ),
        ("without", "a\n requires (x without y)\nb\n provides x\n provides y\nc\n provides x", &["a", "c"]),
        ("a version", "a\n requires abi = 3.9\nb\n provides abi = 3.13\nb3.9\n provides abi = 3.9", &["a", "b3.9"]),
        ("rpm itself", "a\n requires rpmlib(FileDigests) <= 4.6", &["a"]),
        ("a new name", "a\nb\n obsoletes a < 2\n provides a = 2\nc\n obsoletes a < 1", &["a", "b"]),
    ];
    for (what, packages, expected) in rows {
        let universe = Universe::new(&[packages]);
        assert_eq!(names(&universe, &["a"]), expected, "{what}");
        oracle::agrees(&universe, &asked(&["a"]), what);
    }
}

#[test]
fn the_newest_of_all_repositories_is_taken_of_the_machines_architecture() {
    let universe = Universe::new(&[
        "a-1-1.x86_64\n requires b\n requires c = 1\nb-1-1.x86_64\nb-1-1.i686\nc-1-1.noarch",
        "b-2-1.x86_64\nb-3-1.i686\nb-9-1.module_el9.x86_64\nc-2-1.noarch\na-1-1.x86_64",
    ]);
    let (taken, unmet) = taken(&universe, &asked(&["a"]));
    assert_eq!((taken, unmet.len()), (vec!["a-1-1.x86_64".into(), "b-2-1.x86_64".into(), "c-1-1.noarch".into()], 0));
}

#[test]
fn environments_groups_exclusions_and_what_the_installer_adds() {
    let universe = Universe::new(&[
        "bash\nbash-color\ndnf\nzsh\nhttpd\n requires mime\nmime\nkernel\nlangpacks-de\nnano\nextra\nbase",
    ])
    .with_comps(
        "<group><id>core</id><name>Core</name><packagelist><packagereq type=\"mandatory\">bash</packagereq>\
             <packagereq type=\"default\">nano</packagereq><packagereq type=\"optional\">zsh</packagereq>\
             <packagereq type=\"mandatory\">for-another-arch</packagereq>\
             <packagereq type=\"conditional\" requires=\"bash\">bash-color</packagereq></packagelist></group>\
             <group><id>web</id><name>Web Server</name><packagelist><packagereq type=\"mandatory\">httpd</packagereq>\
             </packagelist></group>\
             <group><id>more</id><name>More</name><packagelist><packagereq type=\"mandatory\">extra</packagereq>\
             </packagelist></group>\
             <environment><id>server</id><name>Server</name><grouplist><groupid>web</groupid></grouplist>\
             <optionlist><groupid default=\"true\">more</groupid></optionlist></environment>",
    );
    let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut asked = Asked {
        environments: strings(&["server"]),
        groups: strings(&["core"]),
        excluded: strings(&["nano"]),
        added: strings(&["kernel", "no-such", "@no-such"]),
        languages: strings(&["de_AT.UTF-8", "xx_XX"]),
        ..asked(&["d*f"])
    };
    let expected = ["bash", "bash-color", "dnf", "httpd", "kernel", "langpacks-de", "mime"];
    assert_eq!(taken(&universe, &asked), (expected.map(|name| format!("{name}-1-1.x86_64")).to_vec(), Vec::new()));
    asked.languages.clear();
    asked.added = strings(&["kernel"]);
    oracle::agrees(&universe, &asked, "groups");

    asked.excluded = strings(&["@web"]);
    asked.environments.push("desktop".into());
    asked.groups.push("office".into());
    asked.packages = strings(&["base", "emacs"]);
    let (taken, unmet) = taken(&universe, &asked);
    let expected = ["base", "bash", "bash-color", "kernel", "nano"];
    assert_eq!(taken, expected.map(|name| format!("{name}-1-1.x86_64")));
    assert_eq!(
        unmet,
        [
            "no repository has the environment desktop",
            "no repository has the group office",
            "no repository has the package emacs"
        ]
    );
}

#[test]
fn what_nothing_provides_is_told_in_rpms_words() {
    let universe = Universe::new(&["a\n requires /usr/share/x\n requires b >= 2\n requires (x or y)\nb"]);
    let (taken, unmet) = taken(&universe, &asked(&["a"]));
    assert_eq!(taken, ["a-1-1.x86_64"]);
    assert_eq!(unmet, ["no repository has (x or y)", "no repository has /usr/share/x", "no repository has b >= 2"]);
}

#[test]
fn without_weak_dependencies_none_is_followed() {
    let universe = Universe::new(&["a\n recommends b\nb\nc\n supplements a"]);
    let (taken, _) = taken(&universe, &Asked { weak: false, ..asked(&["a"]) });
    assert_eq!(taken, ["a-1-1.x86_64"]);
}

/// Repositories nobody thought of: 120 packages that need each other in every way, in two repositories.
#[test]
fn of_any_repository_dnf_installs_nothing_that_was_not_foretold() {
    let (mut ours, mut theirs) = (0, 0);
    for seed in 0..universe::SEEDS {
        let universe = Universe::random(seed);
        let Some((more, of)) = oracle::agrees(&universe, &asked(&["p1", "p2", "p3"]), &format!("seed {seed}")) else {
            return;
        };
        (ours, theirs) = (ours + more, theirs + of);
    }
    eprintln!("{ours} packages foretold, {theirs} installed");
    assert!(theirs > 100, "nothing was compared");
}
