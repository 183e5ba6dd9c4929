use super::*;
use crate::dhcp::sample::{MAC, network};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);

fn mac(n: u16) -> Mac {
    let [high, low] = n.to_be_bytes();
    Mac([2, 0, 0, 0, high, low])
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 42, last)
}

/// Five addresses to give: .2 to .6.
fn small() -> Leases {
    Leases::new(&Network { subnet: "192.168.42.0/29".parse().expect("a network"), ..network() }, None)
}

#[test]
fn the_pool_is_the_network_without_its_ends_and_the_router() {
    let mut leases = Leases::new(&network(), None);
    let mut given: Vec<_> = (0..253).map(|n| leases.offer(mac(n), None, at(0)).expect("an address").octets()).collect();
    given.sort();
    let expected: Vec<_> = (2..=254).map(|last| address(last).octets()).collect();
    assert_eq!(given, expected);
    assert_eq!(leases.offer(mac(253), None, at(59)), Err(Refusal::Exhausted));
}

#[test]
fn the_address_follows_from_the_hardware_address() {
    let first = Leases::new(&network(), None).offer(MAC, None, at(0));
    // Kept for ever: the installed system asks for what the installer had, across a restart.
    assert_eq!(first, Ok(address(214)));
    assert_eq!(Leases::new(&network(), None).offer(MAC, None, at(99)), first);
}

#[test]
fn a_client_keeps_its_address_through_all_its_voices() {
    let mut leases = small();
    let own = leases.offer(MAC, None, at(0)).expect("an address");
    assert_eq!(leases.claim(MAC, own, at(1)), Ok(()));
    assert_eq!(leases.offer(MAC, Some(address(5)), at(2)), Ok(own), "the next stage, with another wish");
    assert_eq!(leases.claim(MAC, address(5), at(3)), Err(Refusal::HasOther(own)));
    assert_eq!(leases.offer(MAC, None, at(100_000)), Ok(own), "long expired, needed by nobody");
}

#[test]
fn an_offer_does_not_shorten_a_lease() {
    let mut leases = small();
    let own = leases.offer(MAC, None, at(0)).expect("an address");
    leases.claim(MAC, own, at(0)).expect("it was offered");
    leases.offer(MAC, None, at(10)).expect("its own address");
    assert_eq!(leases.claim(mac(1), own, at(3599)), Err(Refusal::Taken(own)));
    assert_eq!(leases.claim(mac(1), own, at(3600)), Ok(()));
}

#[test]
fn a_wish_is_granted_when_the_address_is_free() {
    let mut leases = Leases::new(&network(), Some((mac(9), address(50))));
    assert_eq!(leases.offer(mac(1), Some(address(77)), at(0)), Ok(address(77)));
    for (n, wish) in [(2, address(77)), (3, ROUTER), (4, address(0)), (5, address(255)), (6, address(50))] {
        assert_ne!(leases.offer(mac(n), Some(wish), at(0)), Ok(wish));
    }
    assert_ne!(leases.offer(mac(7), Some(Ipv4Addr::new(10, 0, 0, 1)), at(0)), Ok(Ipv4Addr::new(10, 0, 0, 1)));
}

#[test]
fn a_reservation_is_given_to_its_machine_only() {
    let mut leases = Leases::new(
        &Network { subnet: "192.168.42.0/29".parse().expect("a network"), ..network() },
        Some((MAC, address(3))),
    );
    for n in 0..4 {
        assert_ne!(leases.offer(mac(n), Some(address(3)), at(0)), Ok(address(3)));
    }
    assert_eq!(leases.offer(mac(4), None, at(0)), Err(Refusal::Exhausted), "not even when nothing else is left");
    assert_eq!(leases.claim(mac(4), address(3), at(0)), Err(Refusal::Outside(address(3))));
    assert_eq!(leases.offer(MAC, Some(address(4)), at(0)), Ok(address(3)));
    assert_eq!(leases.claim(MAC, address(4), at(0)), Err(Refusal::HasOther(address(3))));
    assert_eq!(leases.claim(MAC, address(3), at(0)), Ok(()));
    assert!(leases.decline(MAC, address(3), at(1)));
    assert_eq!(leases.offer(MAC, None, at(2)), Err(Refusal::ReservedInUse(address(3))));
    assert_eq!(leases.offer(MAC, None, at(601)), Ok(address(3)));
}

#[test]
fn after_our_restart_clients_keep_what_they_have() {
    let mut leases = small();
    assert_eq!(leases.claim(mac(1), address(4), at(0)), Ok(()));
    assert_eq!(leases.claim(mac(2), address(4), at(0)), Err(Refusal::Taken(address(4))));
    for outside in [ROUTER, address(0), address(7), address(9), Ipv4Addr::new(10, 0, 0, 1)] {
        assert_eq!(leases.claim(mac(3), outside, at(0)), Err(Refusal::Outside(outside)));
    }
}

#[test]
fn expired_addresses_are_reused_oldest_first() {
    let mut leases = small();
    let given: Vec<_> = (0..5).map(|n| leases.offer(mac(n), None, at(n.into())).expect("an address")).collect();
    assert_eq!(leases.offer(mac(9), None, at(59)), Err(Refusal::Exhausted), "offers are held for 60 s");
    assert_eq!(leases.offer(mac(9), None, at(64)), Ok(given[0]));
    assert_eq!(leases.offer(mac(8), None, at(64)), Ok(given[1]));
    assert_eq!(leases.claim(mac(0), given[0], at(65)), Err(Refusal::Taken(given[0])), "its first owner came too late");
}

#[test]
fn a_released_address_stays_its_owners_until_needed() {
    let mut leases = small();
    let own = leases.offer(MAC, None, at(0)).expect("an address");
    leases.claim(MAC, own, at(0)).expect("it was offered");
    assert!(!leases.release(mac(1), own, at(1)), "not by another");
    assert!(leases.release(MAC, own, at(1)));
    assert_eq!(leases.offer(MAC, None, at(2)), Ok(own));
}

#[test]
fn a_declined_address_is_left_alone_for_a_while() {
    let mut leases = small();
    let own = leases.offer(MAC, None, at(0)).expect("an address");
    assert!(!leases.decline(mac(1), own, at(1)), "not by another");
    assert!(leases.decline(MAC, own, at(1)));
    let next = leases.offer(MAC, None, at(2)).expect("another address");
    assert_ne!(next, own);
    assert_eq!(leases.claim(mac(1), own, at(600)), Err(Refusal::Taken(own)));
    assert_eq!(leases.claim(mac(1), own, at(601)), Ok(()));
}

#[test]
fn a_flood_of_hardware_addresses_takes_no_more_memory_than_the_pool() {
    let mut leases = small();
    for n in 0..u16::MAX {
        let _ = leases.offer(mac(n), None, at(u64::from(n) * 7));
    }
    assert_eq!((leases.held.len(), leases.by_mac.len()), (5, 5));
}

#[test]
fn networks_of_every_size_have_a_pool() {
    for (subnet, size) in
        [("10.0.0.0/32", 0), ("10.0.0.0/31", 0), ("10.0.0.0/30", 2), ("0.0.0.0/0", POOL_LIMIT as usize)]
    {
        let mut leases = Leases::new(&Network { subnet: subnet.parse().expect("a network"), ..network() }, None);
        assert_eq!(leases.pool.len(), size, "{subnet}");
        assert_eq!(leases.offer(MAC, None, at(0)).is_ok(), size > 0, "{subnet}");
    }
}
