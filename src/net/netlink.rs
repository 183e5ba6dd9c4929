//! The few requests of rtnetlink(7) that we make.

use std::{io, net::Ipv4Addr};

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::{
    AddressMessageBuilder, Error, Handle, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::AddressMessage,
        link::{LinkExtentMask, LinkFlags, LinkMessage},
        route::RouteMessage,
    },
};

use super::{Place, aside};

/// Links, addresses and routes of one namespace.
pub(super) struct Dump {
    pub(super) links: Vec<LinkMessage>,
    pub(super) addresses: Vec<AddressMessage>,
    pub(super) routes: Vec<RouteMessage>,
}

/// Reads everything that says what the interfaces of `place` are.
pub(super) fn dump(place: &Place) -> io::Result<Dump> {
    talk(place, async |handle| {
        let every_family = AddressFamily::Unspec;
        let links = handle.link().get().set_filter_mask(every_family, vec![LinkExtentMask::SkipStats]);
        let routes_v4 = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build());
        let routes_v6 = handle.route().get(RouteMessageBuilder::<std::net::Ipv6Addr>::new().build());
        let mut dump = Dump {
            links: links.execute().try_collect().await?,
            addresses: handle.address().get().execute().try_collect().await?,
            routes: routes_v4.execute().try_collect().await?,
        };
        dump.routes.extend(routes_v6.execute().try_collect::<Vec<_>>().await?);
        Ok(dump)
    })
}

/// The flags of one link, found by name.
pub(super) fn link_flags(place: &Place, name: &str) -> io::Result<LinkFlags> {
    talk(place, async |handle| {
        let found = handle.link().get().match_name(name).execute().try_next().await?;
        Ok(found.map_or(LinkFlags::empty(), |link| link.header.flags))
    })
}

/// Sets a link up or down.
pub(super) fn set_link(place: &Place, index: u32, up: bool) -> io::Result<()> {
    let link = LinkUnspec::new_with_index(index);
    let link = if up { link.up() } else { link.down() }.build();
    talk(place, async |handle| handle.link().change(link).execute().await)
}

/// Adds an address; `EEXIST` when it is there already.
pub(super) fn add_address(place: &Place, index: u32, address: Ipv4Net) -> io::Result<()> {
    talk(place, async |handle| handle.address().add(index, address.addr().into(), address.prefix_len()).execute().await)
}

/// Removes an address; `EADDRNOTAVAIL` when it is not there, `ENODEV` when the link is gone.
pub(super) fn delete_address(place: &Place, index: u32, address: Ipv4Net) -> io::Result<()> {
    let message =
        AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address.addr(), address.prefix_len()).build();
    talk(place, async |handle| handle.address().del(message).execute().await)
}

fn talk<T: Send>(place: &Place, ask: impl AsyncFnOnce(Handle) -> Result<T, Error> + Send) -> io::Result<T> {
    aside::run(place, || async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        ask(handle).await.map_err(io_error)
    })
}

/// The kernel's own error number where there is one: callers tell "already so" and "gone" apart by it.
fn io_error(error: Error) -> io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
