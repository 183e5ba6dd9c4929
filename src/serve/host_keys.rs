//! Public SSH host keys, as `ssh_host_*_key.pub` has them (sshd(8)). Pure.

/// Key types that sshd makes or takes for hosts today; DSA is gone.
const TYPES: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// sshd makes three.
const MOST: usize = 8;

/// The keys in `text`, a line each, without their comments.
///
/// SECURITY: they are written into a file that ssh believes, where a stray comma, `*` or line end would stand for other hosts.
/// So each is a known type and base64 whose content names that same type (RFC 4253 §6.6), or all are refused.
///
/// # Errors
/// What is wrong, in words that hold nothing of the text.
pub fn parse(text: &str) -> Result<Vec<String>, &'static str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut keys = lines.map(key).collect::<Result<Vec<_>, _>>()?;
    keys.sort();
    keys.dedup();
    match keys.len() {
        0 => Err("there is no key in it"),
        1..=MOST => Ok(keys),
        _ => Err("it has too many keys"),
    }
}

fn key(line: &str) -> Result<String, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !TYPES.contains(&kind) {
        return Err("it has a key of an unknown type");
    }
    let bytes = base64(blob).ok_or("it has a key that is not base64")?;
    let (length, rest) = bytes.split_first_chunk().ok_or("it has a key that is too short")?;
    let named = rest.get(..u32::from_be_bytes(*length) as usize).ok_or("it has a key that is too short")?;
    if named != kind.as_bytes() || rest.len() == named.len() {
        return Err("it has a key that is not of its type");
    }
    Ok(format!("{kind} {blob}"))
}

/// Standard base64 with its padding (RFC 4648 §4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.is_empty() || !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `ssh-keygen` for this test.
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPrGVWzw0gjAMCzVo3RlyQceqpCXl5Zl5iLFrTDhFeui";

    #[test]
    fn keys_lose_their_comments_and_nothing_else() {
        let text = format!("{ED25519} root@web1\r\n\n{ED25519}\n");
        assert_eq!(parse(&text), Ok(vec![ED25519.to_owned()]));
    }

    #[test]
    fn what_would_stand_for_other_hosts_is_refused() {
        let blob = ED25519.split_once(' ').expect("two words").1;
        let unlike: Vec<_> = (0..9).map(|n| format!("{ED25519}A{n}==")).collect();
        for (text, why) in [
            (String::new(), "no key"),
            (format!("* {ED25519}"), "unknown type"),
            (format!("@cert-authority * {ED25519}"), "unknown type"),
            (format!("{ED25519}\nssh-dss {blob}"), "unknown type"),
            (format!("ssh-rsa {blob}"), "not of its type"),
            ("ssh-ed25519".to_owned(), "not base64"),
            (format!("ssh-ed25519 {blob},x"), "not base64"),
            (format!("ssh-ed25519 {}", &blob[..7]), "not base64"),
            ("ssh-ed25519 AAAA".to_owned(), "too short"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".to_owned(), "not of its type"),
            ("ssh-ed25519 /////3NzaC1lZDI1NTE5".to_owned(), "too short"),
            (unlike.join("\n"), "too many"),
        ] {
            let refused = parse(&text).expect_err(why);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn base64_is_as_in_its_rfc() {
        for (text, bytes) in [("Zm9vYmFy", "foobar"), ("Zm9vYmE=", "fooba"), ("Zm9vYg==", "foob")] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        for wrong in ["", "=", "Zm9v=", "Zg===", "Z===", "Zm9\u{e9}"] {
            assert_eq!(base64(wrong), None, "{wrong}");
        }
    }
}
