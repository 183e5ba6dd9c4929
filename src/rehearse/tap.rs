#![expect(unsafe_code, reason = "TUNSETIFF and SIOCSIFFLAGS have no safe wrapper")]

use std::{
    fs::File,
    io,
    net::UdpSocket,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use anyhow::Context;
use nix::libc;

use crate::{model::Hinted, net::Place, sudo};

/// The virtual machine's ethernet cable: a TAP interface. One end is an interface in a [`Place`], the other end is held by
/// QEMU. It exists as long as this value or a QEMU that it was shared with.
#[derive(Debug)]
pub struct Tap {
    device: File,
}

impl Tap {
    /// Its name in the place.
    pub const NAME: &str = "rehearsal0";

    /// Makes it in `place`, without an address and down, and brings the loopback interface there up.
    ///
    /// # Errors
    /// [`Hinted`] when this kernel has no TAP device; the place not being ours to change (CAP_NET_ADMIN).
    pub fn create(place: &Place) -> anyhow::Result<Self> {
        // QUIRK: the driver makes the interface in the namespace in which the device was *opened*.
        let open = || File::options().read(true).write(true).open("/dev/net/tun");
        let device = place.run(|| sudo::with_own_files(open)).map_err(|error| {
            Hinted::new(format!("opening /dev/net/tun: {error}"), "load the kernel's TUN/TAP driver: sudo modprobe tun")
        })?;
        let fd = device.as_raw_fd();
        attach(fd)
            .and_then(|()| place.run(|| bring_up("lo")))
            .with_context(|| format!("making the virtual network interface {}", Self::NAME))?;
        Ok(Self { device })
    }

    /// QEMU's end of it.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.device.try_clone()?.into())
    }
}

nix::ioctl_readwrite_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// Makes the interface.
///
/// QUIRK: no IFF_VNET_HDR. With it the kernel may leave checksums of what we send for the card to finish; small DHCP clients
/// read such packets raw, find the checksum wrong and drop our offer.
fn attach(device: RawFd) -> io::Result<()> {
    let mut request = request(Tap::NAME, libc::IFF_TAP | libc::IFF_NO_PI);
    // SAFETY: the descriptor is open and the request is a whole ifreq that outlives the call.
    unsafe { tun_set_iff(device, &raw mut request) }?;
    Ok(())
}

fn bring_up(interface: &str) -> io::Result<()> {
    // Any socket of this namespace will do to name an interface of it.
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let request = request(interface, libc::IFF_UP);
    // SAFETY: as above.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// netdevice(7): an interface's name, NUL-terminated, and flags.
fn request(interface: &str, flags: libc::c_int) -> libc::ifreq {
    let mut name = [0; libc::IFNAMSIZ];
    assert!(interface.len() < name.len(), "interface names are short");
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::c_short::try_from(flags).expect("interface flags fit 16 bits");
    libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } }
}
