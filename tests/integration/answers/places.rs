//! What may stand where: secrets only where they are needed, and nothing that ends its place early.

use provisioner::{
    distro::{answer_files, kernel_args},
    model::Hinted,
};

use super::{Case, HASH, SECRET, encryption};

#[test]
fn secrets_appear_where_they_are_needed_and_nowhere_else() {
    let case = Case::new("12");
    let text = case.answers();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(HASH)).collect();
    assert_eq!(lines, [format!("d-i passwd/root-password-crypted password {HASH}")]);
    assert!(!case.files()["setup.sh"].contains(HASH));
    assert!(!kernel_args(&case.context()).expect("arguments").iter().any(|argument| argument.contains(HASH)));
    assert!(!format!("{:?}", case.context()).contains(HASH));

    let mut case = Case::new("13");
    let lines = |case: &Case, name: &str| {
        let files = case.files();
        files[name].lines().filter(|line| line.contains(SECRET)).map(str::to_owned).collect::<Vec<_>>()
    };
    for tpm2 in [false, true] {
        case.recipe.encryption = Some(encryption(tpm2));
        let answers =
            ["passphrase", "passphrase-again"].map(|name| format!("d-i partman-crypto/{name} password {SECRET}"));
        assert_eq!(lines(&case, "preseed.cfg"), answers);
        // Only the TPM's tool needs it in a script.
        let given = if tpm2 { vec![format!("printf '%s\\n' '{SECRET}' |")] } else { vec![] };
        assert_eq!(lines(&case, "setup.sh"), given);
        assert!(!format!("{:?}", case.context()).contains(SECRET));
    }
}

#[test]
fn what_could_break_out_of_its_place_is_refused() {
    let spoil: [fn(&mut Case); 15] = [
        |case| case.host.hostname = Some("a\nd-i passwd/root-login boolean false".into()),
        |case| case.host.hostname = Some("a$(reboot)".into()),
        |case| case.recipe.packages.push("vim; reboot".into()),
        |case| case.recipe.packages.push("vim\n".into()),
        |case| case.recipe.locale = "C\nd-i x/y string z".into(),
        |case| case.recipe.keymap = "us reboot".into(),
        |case| case.recipe.timezone = "../etc".into(),
        |case| case.recipe.ssh_keys.push("ssh-rsa AAAA\nEND_OF_FILE\nreboot".into()),
        |case| case.recipe.flavour = "huge".into(),
        |case| case.recipe.user = Some("ada; reboot".into()),
        |case| case.recipe.user = Some("ada\nd-i x/y string z".into()),
        |case| case.recipe.user = Some("www-data".into()),
        |case| case.recipe.languages.push("fr_FR\nd-i x/y string z".into()),
        |case| case.recipe.time_servers.push("pool.ntp.org\nreboot".into()),
        |case| case.recipe.handoff.exec = Some("true\nEND_OF_FIRST_BOOT\nEND_OF_FILE\nreboot".into()),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let mut case = Case::new("13");
        spoil(&mut case);
        let error = answer_files(&case.context()).expect_err("refused");
        assert!(error.downcast_ref::<Hinted>().is_some(), "{number}: {error:#}");
        assert!(kernel_args(&case.context()).is_err(), "{number}");
    }
    for argument in ["a b", "a;b", "$(x)", "a\nb", "\"a\""] {
        let mut case = Case::new("13");
        case.own_args = vec![argument.into()];
        assert!(kernel_args(&case.context()).is_err(), "{argument}");
    }
}
