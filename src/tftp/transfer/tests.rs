use proptest::prelude::*;

use super::{
    super::options::Name,
    oracle::{Message, Outcome, run},
    *,
};

const IDLE: Duration = Duration::from_secs(30);
const QUICK: Duration = Duration::from_millis(1);

fn terms(block_size: usize, window: u64) -> Terms {
    let granted = if window > 1 { vec![(Name::WindowSize, window)] } else { Vec::new() };
    Terms { block_size, window, timeout: None, granted }
}

fn ended(code: u16) -> Event {
    Event::Error { code, message: "User aborted the transfer".into() }
}

/// Feeds events a millisecond apart and compares what comes out.
fn check(size: u64, terms: &Terms, first: Step, script: &[(Event, Step)]) {
    let now = Instant::now();
    let (mut transfer, step) = Transfer::start(size, terms, IDLE, now);
    assert_eq!(step, first);
    for (at, (event, step)) in (1..).zip(script) {
        assert_eq!(transfer.step(event.clone(), now + QUICK * at), *step, "event {at}, {event:?}");
    }
}

#[test]
fn block_by_block() {
    use Event::*;
    let lockstep = terms(512, 1);
    check(0, &lockstep, Step::Send(1..2), &[(Ack(1), Step::Done)]);
    check(511, &lockstep, Step::Send(1..2), &[(Ack(1), Step::Done)]);
    // The file ends with a block: an empty one tells.
    check(512, &lockstep, Step::Send(1..2), &[(Ack(1), Step::Send(2..3)), (Ack(2), Step::Done)]);
    let script = [
        (Ack(0), Step::Wait), // Sorcerer's Apprentice: never answer a repeated ACK.
        (Ack(7), Step::Wait), // Not sent yet.
        (Ack(1), Step::Send(2..3)),
        (Ack(1), Step::Wait),
        (Timeout, Step::Send(2..3)),
        (Ack(2), Step::Send(3..4)),
        (Ack(2), Step::Wait),
        (Ack(1), Step::Wait),
        (ended(0), Step::Failed(Failure::Ended { code: 0, message: "User aborted the transfer".into() })),
    ];
    check(1200, &lockstep, Step::Send(1..2), &script);
}

#[test]
fn options_are_offered_first() {
    use Event::*;
    let probe = Terms { granted: vec![(Name::TransferSize, 100)], ..terms(512, 1) };
    let script =
        [(Timeout, Step::SendOptionAck), (Ack(1), Step::Wait), (Ack(0), Step::Send(1..2)), (Ack(0), Step::Wait)];
    check(100, &probe, Step::SendOptionAck, &script);
    // edk2's size probe.
    let failure = Failure::Ended { code: 8, message: "User aborted the transfer".into() };
    check(100, &probe, Step::SendOptionAck, &[(ended(8), Step::Failed(failure))]);
}

#[test]
fn window_by_window() {
    use Event::*;
    let script = [
        (Ack(0), Step::Send(1..5)),
        (Ack(0), Step::Send(1..5)), // The first block was lost,
        (Ack(0), Step::Wait),       // which is believed once.
        (Ack(4), Step::Send(5..9)),
        (Ack(4), Step::Wait), // An echo of the repeated window.
        (Ack(8), Step::Send(9..13)),
        (Ack(10), Step::Send(11..15)), // 11 was lost.
        (Ack(10), Step::Wait),         // 12 arrived without 11, too.
        (Ack(12), Step::Send(15..17)), // Whether 13 was lost or came twice is for the timeout to say.
        (Timeout, Step::Send(13..17)),
        (Ack(16), Step::Send(17..21)),
        (Ack(20), Step::Send(21..25)),
        (Ack(20), Step::Send(21..25)),
        (Ack(24), Step::Send(25..29)),
        (Ack(28), Step::Send(29..31)),
        (Ack(28), Step::Send(29..31)),
        (Ack(29), Step::Wait), // The last block is out already.
        (Ack(30), Step::Done),
    ];
    check(29 * 512, &terms(512, 4), Step::SendOptionAck, &script);
}

#[test]
fn silence_is_answered_with_patience_and_then_not_at_all() {
    let waits = |timeout: Option<u64>| {
        let now = Instant::now();
        let terms = Terms { timeout: timeout.map(Duration::from_secs), ..terms(512, 1) };
        let (mut transfer, _) = Transfer::start(100, &terms, IDLE, now);
        let mut waits = Vec::new();
        loop {
            let at = transfer.deadline();
            waits.push((at - now).as_millis());
            if transfer.step(Event::Timeout, at) == Step::Failed(Failure::Silent) {
                return waits;
            }
        }
    };
    let adaptive = waits(None);
    assert_eq!(adaptive[..6], [250, 750, 1750, 3750, 5750, 7750]);
    assert_eq!(adaptive.last(), Some(&30_000));
    assert_eq!(waits(Some(10)), [10_000, 20_000, 30_000]);
    assert_eq!(waits(Some(255)), [255_000, 510_000, 765_000]);
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

fn assert_delivered(file: &[u8], outcome: &Outcome) {
    assert_eq!(outcome.end, Step::Done);
    assert!(outcome.complete && outcome.received == file, "{} of {} bytes", outcome.received.len(), file.len());
}

#[test]
fn block_numbers_wrap() {
    // Twice around; windows that do not divide 65536, so that one of them spans the wrap.
    let file = content(8 * 140_000 + 3);
    for window in [1, 7] {
        let outcome = run(&file, &terms(8, window), Duration::from_secs(5), &mut |_| vec![QUICK]);
        assert_delivered(&file, &outcome);
        assert_eq!(outcome.blocks_sent, 140_001);
    }
}

/// RFC 1123 §4.2.3.1, and the same for windows: whichever one or two datagrams are repeated, at once or late, what follows
/// is not.
#[test]
fn duplicates_breed_no_others() {
    let file = content(8 * 60);
    for (window, delay) in [(1, 1), (1, 3), (3, 1), (4, 1), (4, 3), (4, 300)] {
        for (first, second) in (0..24).flat_map(|first| (first..24).map(move |second| (first, second))) {
            let mut counter = 0;
            let mut link = |_: &Message| {
                counter += 1;
                if counter == first || counter == second { vec![QUICK, QUICK * delay] } else { vec![QUICK] }
            };
            let outcome = run(&file, &terms(8, window), Duration::from_secs(5), &mut link);
            assert_delivered(&file, &outcome);
            let surplus = outcome.blocks_sent - 61;
            let allowed = if window == 1 { 0 } else { 4 * window };
            assert!(surplus <= allowed, "window {window}, {first}, {second}, {delay} ms: {surplus} more blocks");
        }
    }
}

#[test]
fn a_lost_first_block_of_a_window_costs_no_timeout() {
    let file = content(8 * 40);
    let mut lost = false;
    let mut link = |message: &Message| match message {
        Message::Data(9, _) if !lost => {
            lost = true;
            Vec::new()
        }
        _ => vec![QUICK],
    };
    let outcome = run(&file, &terms(8, 4), Duration::from_secs(5), &mut link);
    assert_delivered(&file, &outcome);
    assert!(lost && outcome.lasted < Duration::from_millis(100), "{:?}", outcome.lasted);
}

proptest! {
    #[test]
    fn every_file_arrives_whole_over_any_network(
        size in 0usize..20_000,
        block_size in 8usize..1468,
        window in 1u64..17,
        loss in prop_oneof![Just(0), 0u64..20],
        duplicates in 0u64..30,
        jitter in prop_oneof![Just(0), 0u64..30],
        seed: u64,
    ) {
        let file = content(size);
        let mut state = seed;
        let mut random = |below: u64| {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % below
        };
        let mut repeated = 0;
        let mut link = |_: &Message| {
            let copies = if random(100) < loss { 0 } else { 1 + u64::from(random(100) < duplicates) };
            repeated += copies.saturating_sub(1);
            (0..copies).map(|_| Duration::from_millis(1 + random(jitter + 1))).collect()
        };
        let outcome = run(&file, &terms(block_size, window), Duration::from_secs(1), &mut link);
        assert_delivered(&file, &outcome);
        let surplus = outcome.blocks_sent - (size / block_size + 1) as u64;
        if loss == 0 && window == 1 {
            // Nothing lost, nothing later than the timeout: nothing sent twice, whatever the network repeats.
            prop_assert_eq!(surplus, 0);
        } else if loss == 0 && jitter == 0 {
            prop_assert!(surplus <= 2 * window * repeated, "{surplus} more blocks for {repeated} duplicates");
        }
    }
}
