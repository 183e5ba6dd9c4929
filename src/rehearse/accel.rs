use std::fs;

use crate::sudo;

/// What runs the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor, at full speed.
    Kvm,
    /// QEMU's translator: an installation takes the better part of an hour.
    Tcg,
}

impl Accel {
    /// The best there is on this machine.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        // As QEMU will open it.
        let opens = sudo::with_own_files(|| fs::File::options().read(true).write(true).open("/dev/kvm").is_ok());
        Self::choose(&cpuinfo, opens)
    }

    /// QUIRK: a device that opens is not enough. In some virtual machines `/dev/kvm` opens and even makes a guest, which
    /// then hangs at its first instruction; the processor's own flags tell the truth there.
    fn choose(cpuinfo: &str, device_opens: bool) -> Self {
        let virtualizes = cpuinfo
            .lines()
            .filter(|line| line.starts_with("flags"))
            .any(|line| line.split_ascii_whitespace().any(|flag| flag == "vmx" || flag == "svm"));
        if device_opens && virtualizes { Self::Kvm } else { Self::Tcg }
    }

    /// QEMU's arguments for it.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_needs_the_flag_and_the_device() {
        let table = [
            ("flags\t\t: fpu vme vmx sse", true, Accel::Kvm),
            ("processor\t: 0\nflags\t\t: fpu svm\n", true, Accel::Kvm),
            ("flags\t\t: fpu vme vmx sse", false, Accel::Tcg),
            ("flags\t\t: fpu vme sse", true, Accel::Tcg),
            ("flags\t\t: fpu svm_lock avmx", true, Accel::Tcg),
            ("bugs\t\t: vmx svm", true, Accel::Tcg),
            ("", true, Accel::Tcg),
        ];
        for (cpuinfo, opens, accel) in table {
            assert_eq!(Accel::choose(cpuinfo, opens), accel, "{cpuinfo:?}, {opens}");
        }
    }
}
