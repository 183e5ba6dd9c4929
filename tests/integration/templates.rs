//! Own templates as their authors see them: `templates export`, `--templates`, `--answers`. No privilege, no network.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use assert_cmd::cargo::CommandCargoExt;
use provisioner::{
    distro::{Catalogue, Release},
    model::Arch,
};
use tempfile::TempDir;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run_with(args: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::cargo_bin("provisioner").expect("the program");
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PROVISIONER_DISTRO", "debian")
        .envs(environment.iter().copied())
        .args(args);
    let output = command.output().expect("a run of the program");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn run(args: &[&str]) -> Ran {
    run_with(args, &[])
}

/// A folder with an export in it.
struct Own(TempDir);

impl Own {
    fn exported() -> Self {
        let own = Self(tempfile::tempdir().expect("a folder"));
        let ran = run(&["templates", "export", &own.path()]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        own
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts `new` in the place of `old`, or else of the whole file.
    fn edit(&self, name: &str, old: &str, new: &str) -> &Self {
        let text = fs::read_to_string(self.file(name)).expect("a template");
        assert!(text.contains(old), "{old} in {name}");
        self.write(name, &text.replacen(old, new, 1))
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::create_dir_all(self.file(name).parent().expect("a folder")).expect("made");
        fs::write(self.file(name), text).expect("written");
        self
    }

    /// A distribution that is a copy of Debian but for its name.
    fn copy_debian(&self, id: &str) -> &Self {
        copy(&self.file("distros/debian"), &self.file(&format!("distros/{id}")));
        let description = format!("distros/{id}/distro.toml");
        self.edit(&description, "id = \"debian\"", &format!("id = \"{id}\""));
        self.edit(&description, "name = \"Debian\"", "name = \"Another Debian\"")
    }

    fn render(&self, more: &[&str]) -> Ran {
        run(&[&["render"], more, &["--offline", "--version=13", HASH, "--templates", &self.path()]].concat())
    }

    /// What `render answers` says is wrong, and its hint, with `DIR` for the folder.
    fn refused(&self, more: &[&str]) -> (String, String) {
        let ran = self.render(&[&["answers"], more].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        let said = ran.err.replace(&self.path(), "DIR");
        let (what, hint) = said.split_once("\n  hint: ").unwrap_or_else(|| panic!("no hint: {said}"));
        (what.trim_start_matches("provisioner: error: ").to_owned(), hint.trim_end().to_owned())
    }
}

const HASH: &str = "--password=$6$salt$hash";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("copied");
        }
    }
}

#[test]
fn an_export_that_nobody_changed_changes_nothing() {
    let own = Own::exported();
    for verb in [["answers"], ["loader"]] {
        let ours = run(&["render", verb[0], "--offline", "--version=13", HASH]);
        let theirs = own.render(&verb);
        assert_eq!((theirs.code, theirs.err.as_str()), (0, ""));
        assert_eq!(ours.out, theirs.out);
    }
}

#[test]
fn an_export_overwrites_nothing() {
    let own = Own::exported();
    let again = run(&["templates", "export", &own.path()]);
    assert_eq!(again.code, 0, "identical files are no obstacle: {}", again.err);

    fs::remove_file(own.file("boot/disk.ipxe")).expect("removed");
    own.write("boot/install.ipxe", "mine").write("shared/pick-disk.sh", "mine");
    let refused = run(&["templates", "export", &own.path()]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let expected = format!(
        "provisioner: error: not overwriting what differs in {}: boot/install.ipxe, shared/pick-disk.sh\n\
         hint: export to an empty directory, and compare\n",
        own.path()
    );
    assert_eq!(refused.err, expected);
    assert_eq!(fs::read_to_string(own.file("boot/install.ipxe")).expect("a file"), "mine");
    assert!(!own.file("boot/disk.ipxe").exists(), "all or nothing");
}

#[test]
fn an_export_says_what_to_do_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("own");
    let ran = run(&["templates", "export", &dir.display().to_string()]);
    let dir = dir.display();
    let next = format!("`provisioner render answers --templates {dir}`\n");
    assert!(ran.out.contains(&format!(" files written to {dir}: ")) && ran.out.ends_with(&next), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 1);
}

#[test]
fn one_file_is_enough_and_what_it_says_is_served() {
    let own = Own::exported();
    own.edit("distros/debian/preseed.cfg", "", "# mine, {{ arch }}\n");
    own.edit("boot/grub-install.cfg", "set timeout=0", "set timeout=3");
    for unchanged in ["shared", "distros/debian/keys"] {
        fs::remove_dir_all(own.file(unchanged)).expect("removed");
    }
    let answers = own.render(&["answers"]);
    assert!(answers.out.starts_with("# mine, amd64\n"), "{}{}", answers.out, answers.err);
    assert!(own.render(&["loader"]).out.starts_with("set timeout=3\n"));
}

#[test]
fn a_new_folder_is_a_new_distribution() {
    let own = Own::exported();
    own.copy_debian("mine").edit("distros/mine/preseed.cfg", "", "# mine\n");
    // A derivative has only what is different.
    let description = fs::read_to_string(own.file("distros/mine/distro.toml")).expect("a description");
    own.write(
        "distros/derived/distro.toml",
        &description.replace("id = \"mine\"", "id = \"derived\"\ntemplates_of = \"debian\""),
    );
    copy(&own.file("distros/mine/keys"), &own.file("distros/derived/keys"));

    let mine = own.render(&["answers", "--distro=mine"]);
    assert_eq!((mine.code, mine.err.as_str()), (0, ""));
    assert!(mine.out.starts_with("# mine\n"), "{}", mine.out);
    let derived = own.render(&["answers", "--distro=derived"]);
    assert!(derived.out.starts_with("#_preseed_V1\n"), "{}{}", derived.out, derived.err);
    let loader = own.render(&["loader", "--distro=mine"]);
    assert!(loader.out.contains("Another Debian 13") && loader.out.contains("/boot/mine13-x86_64/"), "{}", loader.out);

    let (what, hint) = own.refused(&["--distro=min"]);
    assert_eq!(what, "there is no distribution \"min\"");
    assert!(hint.contains("debian or") && hint.contains("mine") && hint.contains("derived"), "{hint}");
}

#[test]
fn every_mistake_is_told_at_the_start_by_file_line_and_hint() {
    let description = "distros/debian/distro.toml";
    let preseed = "distros/debian/preseed.cfg";
    // File, what is replaced in it (nothing: its start) by what, where in that the mistake is, what is said of it.
    let rows = [
        // Nobody comes by there: no layout is called so.
        (
            preseed,
            ("", "\n{% if layout == \"zfs\" %}\n{{ codenam }}\n{% endif %}\n"),
            "codenam }}",
            "there is no value \"codenam\"\n  hint: did you mean codename? there are answers_url, arch, archives, ",
        ),
        (
            preseed,
            ("", "\n{% end %}\n"),
            "{% end",
            "syntax error: unknown statement end\n  hint: templates are written {{ value }}",
        ),
        (
            preseed,
            ("", "\n{% for one in archives %}\n{{ one.pubilc }}{% endfor %}\n"),
            "one.pubilc",
            "undefined value: `one.pubilc` is undefined\nhint: correct the name",
        ),
        (
            "distros/debian/setup.sh",
            ("", "\n{% if luks %}{% include \"reprot.sh\" %}{% endif %}\n"),
            "reprot",
            "there is no template \"reprot.sh\"\n  hint: it may be beside this one",
        ),
        (
            "boot/disk.ipxe",
            ("{% if bios %}", "{% if boots %}"),
            "boots",
            "there is no value \"boots\"\n  hint: did you mean bios? there are bios, disk_loaders\n",
        ),
        (
            "boot/install.ipxe",
            ("{{ kernel }}", "{{ kernel | quoted }}"),
            "quoted",
            "unknown filter: filter quoted is unknown\nhint: correct the template\n",
        ),
        (description, ("memory =", "memroy ="), "memroy", "unknown field `memroy`\n  hint: expected one of `id`, "),
        (
            description,
            ("\"url={{ answers_url }}\"", "\n\"url={{ answer_url }}\""),
            "\"url={{ answer_",
            "there is no value \"answer_url\"\n  hint: did you mean answers_url? there are ",
        ),
        (
            description,
            ("id = \"debian\"", "id = \"debian\"\ntemplates_of = \"debain\""),
            "templates_of",
            "templates_of = \"debain\": there is no such distribution\n  hint: there are ",
        ),
        (
            description,
            ("id = \"debian\"", "id = \"debian\"\ntemplates_of = \"debian\""),
            "templates_of",
            "templates_of = \"debian\": that is this distribution itself\n  hint: leave it out, or name another\n",
        ),
    ];
    for (file, (old, new), mistake, said) in rows {
        let own = Own::exported();
        own.edit(file, old, new);
        let text = fs::read_to_string(own.file(file)).expect("a file");
        let line = text[..text.find(mistake).expect("the mistake")].matches('\n').count() + 1;
        let ran = own.render(&["answers"]);
        assert!(ran.code > 0 && ran.out.is_empty(), "{said}");
        let told = ran.err.replace(&own.path(), "DIR");
        let expected = format!("provisioner: error: DIR/{file}:{line}: {said}");
        assert!(told.starts_with(&expected), "expected: {expected}\ntold: {told}");
    }
}

#[test]
fn templates_of_leads_one_step_and_texts_are_text() {
    let own = Own::exported();
    own.copy_debian("one").copy_debian("two");
    own.edit("distros/one/distro.toml", "answers =", "templates_of = \"debian\"\nanswers =");
    own.edit("distros/two/distro.toml", "answers =", "templates_of = \"one\"\nanswers =");
    assert_eq!(own.render(&["answers", "--distro=one"]).code, 0);
    let (what, hint) = own.refused(&["--distro=two"]);
    assert!(what.starts_with("DIR/distros/two/distro.toml:"), "{what}");
    assert!(what.ends_with(": templates_of = \"one\": that one uses templates of another itself"), "{what}");
    assert_eq!(hint, "name \"debian\"");

    fs::write(own.file("distros/debian/watch.sh"), b"a\nb\xff").expect("written");
    let (what, hint) = own.refused(&[]);
    assert_eq!(what, "DIR/distros/debian/watch.sh:2: this is not UTF-8 text");
    assert!(hint.starts_with("save it as UTF-8"), "{hint}");
}

#[test]
fn the_readmes_example_is_a_distribution() {
    let readme = include_str!("../../README.md");
    let (_, example) = readme.split_once("```toml\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let own = Own::exported();
    own.write("distros/almalinux/distro.toml", example).write("distros/almalinux/keys/archive.pgp", "keys");
    // It is about what is in the example, not about what is in its templates.
    own.write("distros/fedora/distro.toml", &example.replace("templates_of", "#").replace("almalinux", "fedora"));
    own.write("distros/fedora/keys/archive.pgp", "keys");
    own.write("distros/fedora/kickstart.ks", "").write("distros/fedora/callbacks.ks", "");

    let distro = Catalogue::with(own.0.path()).expect("templates").distro("almalinux").expect("the example");
    let (mirrors, newest) = (distro.public_mirrors(), distro.releases[0].clone());
    let release = Release::new(distro, &newest, "server", Arch::X86_64, mirrors).expect("a release");
    assert_eq!(release.uid(), "almalinux10-x86_64");
    assert_eq!(release.repos[1].path, "10/AppStream/x86_64/os");
}

#[test]
fn what_is_no_folder_of_templates_is_a_mistake_in_the_flags() {
    let empty = Own(tempfile::tempdir().expect("a folder"));
    let (what, hint) = empty.refused(&[]);
    assert_eq!(what, "--templates DIR: there are no templates here");
    assert!(hint.starts_with("expected are the folders boot, shared and distros"), "{hint}");
}

#[test]
fn files_that_nothing_uses_are_named() {
    let own = Own::exported();
    own.write("distros/debian/pressed.cfg", "x").write("boot/grub.cfg", "x").write("distro/mine/distro.toml", "x");
    own.write("distros/debain/preseed.cfg", "x")
        .write("shared/used.sh", "x")
        .write("distros/debian/.preseed.cfg.swp", "x");
    own.edit("distros/debian/watch.sh", "\n", "\n{% include \"used.sh\" %}\n");
    let ran = own.render(&["answers"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.err,
        "provisioner: --templates: nothing uses boot/grub.cfg, distros/debain/preseed.cfg, distros/debian/pressed.cfg, \
         distro\n"
    );
}

#[test]
fn own_answers_are_taken_as_they_are_and_report_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.cfg");
    let answers = |text: &str| {
        fs::write(&file, text).expect("written");
        run(&["render", "answers", "--offline", "--version=13", HASH, "--answers", &file.display().to_string()])
    };
    let ran = answers("d-i time/zone string {{ not a template }}");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("d-i time/zone string {{ not a template }}\n"), "{}", ran.out);
    assert!(ran.out.contains("\nd-i preseed/run string setup.sh"), "{}", ran.out);

    let ran = answers(" \n");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(
        ran.err.contains("my.cfg: it is empty") && ran.err.contains("hint: `provisioner render answers`"),
        "{}",
        ran.err
    );
}

#[test]
fn under_sudo_an_export_is_the_callers_and_roots_own_templates_can_be_read() {
    const SOMEBODY: u32 = 612_345;
    if !nix::unistd::Uid::effective().is_root() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "only root can act as another");
        return eprintln!("skipped: only root can act as another");
    }
    let sudo = [("SUDO_UID", "612345"), ("SUDO_GID", "612345")];
    let home = tempfile::tempdir().expect("a folder");
    chown(home.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("we are root");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let folder = home.path().join("own");
    let ran = run_with(&["templates", "export", &folder.display().to_string()], &sudo);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for made in [folder.clone(), folder.join("distros/debian/preseed.cfg")] {
        let made = fs::metadata(made).expect("made");
        assert_eq!((made.uid(), made.gid()), (SOMEBODY, SOMEBODY));
    }

    let roots = Own::exported();
    fs::set_permissions(roots.0.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let prefix = home.path().join("prefix").display().to_string();
    let args =
        ["render", "answers", "--offline", "--version=13", HASH, "--prefix", &prefix, "--templates", &roots.path()];
    let ran = run_with(&args, &sudo);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
