//! Which kernel an image is. Pure.

/// The version of an x86 kernel, such as `6.1.0-50-amd64`, by its setup header (`Documentation/arch/x86/boot.rst` of Linux:
/// `header` at 0x202, `kernel_version` at 0x20E). Other architectures' images do not say it without being unpacked.
pub fn version(image: &[u8]) -> Option<String> {
    (image.get(0x202..0x206)? == b"HdrS").then_some(())?;
    let pointer = u16::from_le_bytes(image.get(0x20e..0x210)?.try_into().ok()?);
    // A pointer of 0 says that there is none.
    let text = image.get(0x200 + usize::from(pointer)..).filter(|_| pointer != 0)?;
    let end = text.iter().take(128).position(|&byte| byte == 0 || byte == b' ')?;
    Some(std::str::from_utf8(&text[..end]).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_the_header_points_at() {
        let mut image = vec![0; 0x400];
        assert_eq!(version(&image), None, "no kernel");
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(version(&image), None, "no version");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x315].copy_from_slice(b"6.1.0-50-amd64 (deb@k");
        assert_eq!(version(&image).as_deref(), Some("6.1.0-50-amd64"));
        assert_eq!(version(&image[..0x308]), None, "cut off");
        image[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(version(&image), None, "out of the image");
    }
}
