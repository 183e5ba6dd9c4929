//! What may stand in an answer file or on a kernel command line. Values are checked where they enter (flags, environment), so
//! that the operator hears of all of them at once, and again when they are rendered.

use super::Distro;
use crate::model::{Hinted, Host, InstallRecipe};

/// Every value of a recipe that the family's installer cannot be given.
pub fn recipe(distro: &Distro, recipe: &InstallRecipe) -> Vec<Hinted> {
    let mut wrong = Vec::new();
    wrong.extend([&recipe.locale].into_iter().chain(&recipe.languages).filter_map(|name| locale(name).err()));
    wrong.extend(keymap(&recipe.keymap).err());
    wrong.extend(timezone(&recipe.timezone).err());
    wrong.extend(recipe.time_servers.iter().filter_map(|name| time_server(name).err()));
    wrong.extend(recipe.user.iter().filter_map(|name| user(name).err()));
    wrong.extend(recipe.user.iter().filter(|name| distro.reserved_users.contains(name)).map(|name| {
        Hinted::new(format!("{name:?} is a name that {} keeps for itself", distro.name), "--user takes another one")
    }));
    wrong.extend(recipe.ssh_keys.iter().filter_map(|key| ssh_key(key).err()));
    wrong.extend(recipe.packages.iter().filter_map(|name| package(name).err()));
    wrong.extend(recipe.handoff.exec.iter().filter_map(|line| command(line).err()));
    if !distro.flavours.contains_key(&recipe.flavour) {
        let known: Vec<_> = distro.flavours.keys().map(String::as_str).collect();
        let what = format!("{} has no flavour {:?}", distro.name, recipe.flavour);
        wrong.push(Hinted::new(what, format!("--flavour takes {}", known.join(", "))));
    }
    if !distro.layouts.contains(&recipe.layout) {
        let known: Vec<_> = distro.layouts.iter().map(ToString::to_string).collect();
        let what = format!("the installer of {} cannot make the layout {}", distro.name, recipe.layout);
        wrong.push(Hinted::new(what, format!("--part takes {}", known.join(", "))));
    }
    wrong
}

/// A machine's name: `host` or `host.domain`, in the letters, digits and hyphens of RFC 1123 §2.1.
///
/// # Errors
/// For anything else.
pub fn hostname(name: &str) -> Result<(), Hinted> {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
        (1..=63).contains(&bytes.len()) && inner && bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-'
    };
    // 253: RFC 1035 §2.3.4, without the root's dot.
    demand(name.len() <= 253 && name.split('.').all(label), name, "a host name", "such as node1 or node1.example.org")
}

/// The name of a host, when it has one.
///
/// # Errors
/// As for [`hostname`].
pub fn host(host: &Host) -> Result<(), Hinted> {
    host.hostname.as_deref().map_or(Ok(()), hostname)
}

/// A package's name (Debian Policy §5.6.1; the other families' names fit too, but for capitals).
///
/// # Errors
/// For anything else.
pub fn package(name: &str) -> Result<(), Hinted> {
    let mut bytes = name.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let tail = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    demand(head && tail, name, "a package name", "--packages takes a list such as vim,curl")
}

/// A POSIX locale, such as `de_DE.UTF-8`.
///
/// # Errors
/// For anything else.
pub fn locale(name: &str) -> Result<(), Hinted> {
    demand(word(name, b"_.@-"), name, "a locale", "such as en_US.UTF-8")
}

/// An XKB layout, such as `us`.
///
/// # Errors
/// For anything else.
pub fn keymap(name: &str) -> Result<(), Hinted> {
    demand(word(name, b"_-"), name, "a keyboard layout", "such as us or de")
}

/// A zone of the tz database, such as `Europe/Berlin`.
///
/// # Errors
/// For anything else.
pub fn timezone(name: &str) -> Result<(), Hinted> {
    demand(word(name, b"/_+-"), name, "a time zone", "such as Europe/Berlin or Etc/UTC")
}

/// A time server: a name or an IPv4 address.
///
/// # Errors
/// For anything else.
pub fn time_server(name: &str) -> Result<(), Hinted> {
    demand(hostname(name).is_ok(), name, "a time server", "such as pool.ntp.org or 192.168.42.1")
}

/// A login name (useradd(8)): a lower-case letter, then those, digits, `_` and `-`, at most 32, and not an account that every
/// system has. Some installers refuse a leading `_`.
///
/// # Errors
/// For anything else.
pub fn user(name: &str) -> Result<(), Hinted> {
    let head = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let tail = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    let reserved = ["root", "bin", "daemon", "sys", "nobody", "mail", "sync", "games", "adm", "sshd"].contains(&name);
    demand(head && tail && name.len() <= 32 && !reserved, name, "a login name for an administrator", "such as ada")
}

/// A line of `authorized_keys` (sshd(8)).
///
/// # Errors
/// For several lines, and for a private key given by mistake, which is not repeated in the error.
pub fn ssh_key(line: &str) -> Result<(), Hinted> {
    let hint = "--ssh-key takes a public key, such as the content of ~/.ssh/id_ed25519.pub";
    if line.contains("PRIVATE KEY") {
        return Err(Hinted::new("a private SSH key was given", hint));
    }
    let known = |word: &str| ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| word.starts_with(kind));
    let one_line = !line.chars().any(char::is_control);
    demand(one_line && line.split(' ').any(known), line, "an SSH public key", hint)
}

/// A command line for `/bin/sh -c` on the new machine.
///
/// # Errors
/// For several lines: a value of several cannot be put into an answer file safely.
pub fn command(line: &str) -> Result<(), Hinted> {
    let one_line = !line.trim().is_empty() && !line.chars().any(char::is_control);
    demand(one_line, line, "a command on one line", "--handoff-code delivers a folder, whose ./run may be a script")
}

/// An argument for a kernel. Loader scripts quote nothing, so what they or a shell would take apart is refused.
///
/// # Errors
/// For text with a space, a quote, or a character that GRUB, iPXE or a shell gives a meaning to.
pub fn kernel_arg(argument: &str) -> Result<(), Hinted> {
    let plain = argument.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`\\$;{}|&<>#".contains(&b));
    demand(!argument.is_empty() && plain, argument, "a kernel argument", "one word without quotes, such as nomodeset")
}

fn word(text: &str, also: &[u8]) -> bool {
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    head && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

fn demand(right: bool, text: &str, what: &str, hint: &str) -> Result<(), Hinted> {
    if right { Ok(()) } else { Err(Hinted::new(format!("{text:?} is not {what}"), hint)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Result<(), Hinted>;

    #[test]
    fn each_value_keeps_to_its_alphabet() {
        let key = "ssh-ed25519 AAAAC3Nza root@laptop";
        let restricted = "no-pty,command=\"/bin/true\" ssh-rsa AAAAB3Nza x";
        let table: [(Check, &[&str], &[&str]); 9] = [
            (hostname, &["a", "node-1.example.org"], &["", "-a", "a-", "a..b", "a b", "a\nd-i x", "ä", "a_b", "a;b"]),
            (package, &["vim", "g++", "libc6.1"], &["", "a;b", "a b", "-y", "a\nb", "Vim", "a/b", "a=1", "$(x)"]),
            (locale, &["C.UTF-8", "en_US.UTF-8", "de_DE@euro"], &["", "en US", "en\n", "en;x", "-x"]),
            (keymap, &["us", "de", "us-intl"], &["", "us x", "us\n"]),
            (user, &["ada", "web-1_x"], &["", "root", "_x", "Ada", "1a", "a b", "a;b", "a\n", "$(x)", "-a"]),
            (timezone, &["Etc/GMT+1", "Europe/Berlin"], &["", "/etc", "Europe/Ber lin", "x;y", "../x"]),
            (
                ssh_key,
                &[key, restricted],
                &["", "hello", "ssh-rsa AAAA\nssh-rsa BBBB", "-----BEGIN OPENSSH PRIVATE KEY-----"],
            ),
            (command, &["true", "a 'b' \"$(c)\" \\ END_OF_FILE"], &["", " ", "a\nb", "a\r"]),
            (kernel_arg, &["quiet", "a.b=c,d:e/f"], &["", "a b", "a\nb", "a\"b", "$x", "a;b", "{x}", "a\\", "a#b"]),
        ];
        for (check, right, wrong) in table {
            for text in right {
                assert_eq!(check(text), Ok(()), "{text:?}");
            }
            for text in wrong {
                assert!(check(text).is_err(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_private_key_does_not_come_back_in_the_error() {
        let error = ssh_key("-----BEGIN OPENSSH PRIVATE KEY----- c2VjcmV0").expect_err("a private key");
        assert!(!error.what.contains("c2VjcmV0"));
    }
}
