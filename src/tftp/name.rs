/// What a client calls a file, in canonical form: UTF-8, `/` between components, none of them empty, `.` or `..`.
///
/// `None` means that there is no such file, whatever is served.
pub(super) fn normalise(raw: &[u8]) -> Option<String> {
    // QUIRK: some ROMs copy the DHCP boot file name together with the option's end marker (255) behind it.
    let end = raw.iter().rposition(|&byte| byte != 0xff)? + 1;
    let text = str::from_utf8(&raw[..end]).ok()?;
    // QUIRK: Windows loaders ask with backslashes; shim puts a second slash between the folder and `grubx64.efi`.
    let components: Vec<&str> = text.split(['/', '\\']).filter(|component| !component.is_empty()).collect();
    // SECURITY: nobody joins names to paths, and yet: a name that climbs is not a name.
    let climbs = components.iter().any(|component| matches!(*component, "." | ".."));
    (!components.is_empty() && !climbs).then(|| components.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_clients_write_them() {
        for (raw, name) in [
            (&b"grubx64.efi"[..], Some("grubx64.efi")),
            (b"/grub/grub.cfg", Some("grub/grub.cfg")),
            (b"//efi//grubx64.efi", Some("efi/grubx64.efi")),
            (b"\\boot\\x64\\loader.efi", Some("boot/x64/loader.efi")),
            (b"shimx64.efi\xff", Some("shimx64.efi")),
            (b"shimx64.efi\xff\xff\xff", Some("shimx64.efi")),
            ("größe".as_bytes(), Some("größe")),
            (b"..hidden/a..b", Some("..hidden/a..b")),
            (b"", None),
            (b"/", None),
            (b"\xff", None),
            (b"caf\xe9.efi", None),
            (b"../etc/shadow", None),
            (b"grub/../../etc/shadow", None),
            (b"..\\..\\etc\\shadow", None),
            (b"./grub.cfg", None),
            (b"grub/..", None),
        ] {
            assert_eq!(normalise(raw).as_deref(), name, "{}", raw.escape_ascii());
        }
    }
}
