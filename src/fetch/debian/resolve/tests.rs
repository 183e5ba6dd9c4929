use super::*;

/// A stanza: name, version, further fields.
fn stanza(name: &str, version: &str, fields: &str) -> String {
    let arch = if fields.contains("Architecture") { "" } else { "Architecture: amd64\n" };
    let upstream = version.split_once(':').map_or(version, |(_, version)| version);
    let of = if fields.contains("Architecture: all") { "all" } else { "amd64" };
    // An empty line would end the stanza.
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
    format!(
        "Package: {name}\nVersion: {version}\n{arch}{fields}Description: Depends: nothing\n Depends: nor-this\n\
         Filename: pool/{name}_{upstream}_{of}.deb\nSize: 7\n\n"
    )
}

/// What is installed of a release and its updates, as `name version`.
fn resolved(release: &[String], updates: &[String], asked: &Asked) -> (Vec<String>, Vec<String>) {
    let mut universe = Universe::default();
    for (suite, world) in [(release, World::Release), (updates, World::Updated)] {
        universe.add(read(suite.concat().as_bytes(), "debian", world).expect("an index"));
    }
    let Resolved { packages, unmet } = universe.resolve(asked);
    let mut names: Vec<_> = packages.iter().map(|listed| format!("{} {}", listed.name, listed.version)).collect();
    names.sort();
    (names, unmet.into_iter().collect())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn packages(names: &[&str]) -> Asked {
    Asked { packages: words(names), ..Asked::default() }
}

#[test]
fn what_is_needed_comes_too_and_cycles_end() {
    let release = [
        stanza("a", "1", "Depends: b (>= 1), c:any\nRecommends: r, gone"),
        stanza("b", "1", "Pre-Depends: d\nDepends: a"),
        stanza("c", "1", "Architecture: all"),
        stanza("d", "1", "Suggests: s"),
        stanza("r", "1", "Depends: c"),
        stanza("s", "1", ""),
    ];
    assert_eq!(resolved(&release, &[], &packages(&["a"])), (words(&["a 1", "b 1", "c 1", "d 1", "r 1"]), Vec::new()));
}

#[test]
fn of_alternatives_the_first_that_there_is_unless_another_is_installed() {
    let release = [
        stanza("a", "1", "Depends: gone | b | c"),
        stanza("b", "1", ""),
        stanza("c", "1", ""),
        stanza("needs-newer", "1", "Depends: b (>= 2) | c"),
        stanza("needs-virtual", "1", "Depends: mail"),
        stanza("needs-versioned", "1", "Depends: mail (>= 2)"),
        stanza("z-mail", "1", "Provides: mail\nPriority: important"),
        stanza("a-mail", "1", "Provides: mail"),
        stanza("new-mail", "1", "Provides: mail (= 2.1)"),
    ];
    for (asked, rest) in [
        (&["a"][..], &["b 1"][..]),
        (&["a", "c"], &["c 1"]),
        (&["needs-newer"], &["c 1"]),
        (&["needs-virtual"], &[]),
        (&["needs-versioned"], &["new-mail 1"]),
        (&["mail"], &[]),
    ] {
        // z-mail is part of the base system.
        let own = asked.iter().filter(|name| **name != "c" && **name != "mail").map(|name| format!("{name} 1"));
        let mut expected: Vec<_> = own.chain(words(rest)).chain(["z-mail 1".to_owned()]).collect();
        expected.sort();
        assert_eq!(resolved(&release, &[], &packages(asked)), (expected, Vec::new()), "{asked:?}");
    }
}

#[test]
fn an_alternative_that_comes_at_the_same_time_does_not_keep_the_first_out() {
    let release = [
        stanza("a", "1", "Depends: second, d"),
        stanza("d", "1", "Depends: first | second"),
        stanza("first", "1", ""),
        stanza("second", "1", ""),
    ];
    let taken = |asked: &[&str]| resolved(&release, &[], &packages(asked)).0;
    assert_eq!(taken(&["a"]), ["a 1", "d 1", "first 1", "second 1"], "apt may see either of them first");
    assert_eq!(taken(&["a", "second"]), ["a 1", "d 1", "second 1"], "asked for by name");
}

#[test]
fn the_base_system_is_of_the_release_and_is_upgraded() {
    let release = [
        stanza("libc6", "2.36-9+deb12u9", "Priority: optional"),
        stanza("bash", "5", "Essential: yes\nDepends: libc6\nRecommends: completion"),
        stanza("apt", "2", "Priority: important"),
        stanza("completion", "1", ""),
        stanza("kernel", "6.1.50", "Depends: kernel-50\nRecommends: firmware"),
        stanza("kernel-50", "6.1.50", ""),
        stanza("firmware", "1", ""),
        stanza("report", "1", "Recommends: mailer"),
        stanza("mailer", "1", ""),
        stanza("vim", "9", ""),
    ];
    let updates = [
        stanza("libc6", "2.36-9+deb12u10", ""),
        stanza("kernel", "6.1.56", "Depends: kernel-56"),
        stanza("kernel-56", "6.1.56", ""),
        stanza("vim", "9.1", ""),
        stanza("apt", "2", "Priority: important"),
    ];
    let asked =
        Asked { system: words(&["kernel", "not-in-this-release"]), alone: words(&["report"]), ..packages(&["vim"]) };
    let expected = [
        "apt 2",
        "bash 5",
        "firmware 1",
        "kernel 6.1.50",
        "kernel 6.1.56",
        "kernel-50 6.1.50",
        "kernel-56 6.1.56",
        "libc6 2.36-9+deb12u10",
        "libc6 2.36-9+deb12u9",
        "report 1",
        "vim 9.1",
    ];
    assert_eq!(resolved(&release, &updates, &asked), (words(&expected), Vec::new()));
}

#[test]
fn a_task_is_a_priority_or_a_package() {
    let release = [
        stanza("file", "1", "Priority: standard"),
        stanza("task-ssh-server", "1", "Recommends: ssh"),
        stanza("ssh", "1", ""),
        stanza("task-german", "1", ""),
    ];
    let asked = Asked {
        tasks: words(&["standard", "ssh-server", "toaster"]),
        further_tasks: words(&["german", "german-desktop"]),
        ..Asked::default()
    };
    let (names, unmet) = resolved(&release, &[], &asked);
    assert_eq!(names, ["file 1", "ssh 1", "task-german 1", "task-ssh-server 1"]);
    assert_eq!(unmet, ["task-toaster"]);
}

#[test]
fn what_there_is_not_is_told_with_who_needs_it() {
    let release = [stanza("a", "1", "Depends: b (>= 2) | c")];
    let (names, unmet) = resolved(&release, &[], &packages(&["a", "vmi"]));
    assert_eq!((names, unmet), (words(&["a 1"]), words(&["b or c, which a needs", "vmi"])));
}

#[test]
fn a_path_of_yesterday_is_todays_file_of_that_package() {
    let mut universe = Universe::default();
    let suites = [stanza("a", "1:1-1", ""), stanza("a", "1:1-2", ""), stanza("a", "1:1-10", "Architecture: all")];
    universe.add(read(suites.concat().as_bytes(), "debian", World::Release).expect("an index"));
    let today = |path: &str| universe.today(path).map(|listed| listed.path.as_str());
    assert_eq!(today("pool/a_1-1_amd64.deb"), Some("pool/a_1-1_amd64.deb"), "still listed");
    assert_eq!(today("pool/old/a_0.9-1_amd64.deb"), Some("pool/a_1-2_amd64.deb"));
    assert_eq!(today("pool/a_0.9_all.deb"), Some("pool/a_1-10_all.deb"));
    for gone in ["pool/b_1_amd64.deb", "pool/a_1_arm64.deb", "pool/a.deb", ""] {
        assert_eq!(today(gone), None, "{gone}");
    }
}

#[test]
fn indexes_are_read_in_every_form_and_refused_where_they_lead_out_of_the_archive() {
    use std::io::Write as _;
    let text = stanza("a", "1", "Kernel-Version: 6.1\nProvides: x");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("packed");
    let zstd = zstd::stream::encode_all(text.as_bytes(), 1).expect("packed");
    for form in [text.clone().into_bytes(), gzip.finish().expect("packed"), zstd] {
        let listed = read(&form[..], "debian", World::Updated).expect("an index");
        let [listed] = &listed[..] else { panic!("one package") };
        assert_eq!((&*listed.mirror, &*listed.path, listed.size), ("debian", "pool/a_1_amd64.deb", 7));
        assert_eq!((&*listed.kernel, &*listed.provides, listed.world), ("6.1", "x", World::Updated));
    }
    assert!(read(&b""[..], "debian", World::Release).expect("an empty index").is_empty());
    for wrong in [text.replace("pool/", "pool/../"), text.replace("Size: 7", "Size: x"), "x".repeat(2 << 20)] {
        assert!(read(wrong.as_bytes(), "debian", World::Release).is_err());
    }
}
