//! Transfers from sources that serve, stall, lie and disconnect.

use hobnob_protocol::{ConversationId, LogId, LogName};
use proptest::prelude::*;

use super::*;
use crate::Rng;

const SPAN: u64 = (PIECE_BYTES * SPAN_PIECES) as u64;

fn peer(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 32])
}

/// The first offer of `peer(1)`.
fn offer() -> OfferId {
    let name = LogName {
        conversation: ConversationId::from_bytes([9; 32]),
        author: peer(1).person(),
        device: peer(1),
        log: LogId(1),
    };
    OfferId { name, seq: 1 }
}

struct Table {
    transfers: Transfers,
    now: Duration,
}

impl Table {
    fn wanting(size: u64, head: u64) -> Self {
        let mut table = Table {
            transfers: Transfers::default(),
            now: Duration::ZERO,
        };
        let shape = Shape::of(size);
        table.does(Input::Want {
            offer: offer(),
            shape,
            head,
            held: Held::none(shape),
        });
        table
    }

    fn does(&mut self, input: Input) -> Vec<Output> {
        self.transfers.handle(self.now, input);
        std::iter::from_fn(|| self.transfers.poll_output()).collect()
    }

    fn up(&mut self, session: u64, who: u8) -> Vec<(u64, PieceRequest)> {
        asks(&self.does(Input::SessionUp(SessionId(session), peer(who))))
    }

    fn fails(&mut self, session: u64, ask: PieceRequest, failure: Failure) -> Vec<Output> {
        self.does(Input::Answered(SessionId(session), ask, Err(failure)))
    }

    /// The source serves the whole request.
    fn serves(&mut self, session: u64, ask: PieceRequest) -> Vec<Output> {
        let mut outputs = Vec::new();
        for piece in ask.pieces() {
            outputs.extend(self.does(Input::Got(ask.offer, piece)));
        }
        outputs.extend(self.does(Input::Answered(SessionId(session), ask, Ok(()))));
        outputs
    }
}

fn asks(outputs: &[Output]) -> Vec<(u64, PieceRequest)> {
    let ask = |output: &Output| {
        if let Output::Ask(session, ask) = output {
            Some((session.0, *ask))
        } else {
            None
        }
    };
    outputs.iter().filter_map(ask).collect()
}

#[test]
fn content_is_requested_span_by_span_and_a_few_ahead() {
    let mut table = Table::wanting(4 * SPAN + 1, 0);
    let mut todo = table.up(7, 1);
    assert_eq!(
        todo.iter().map(|(_, ask)| ask.span).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    let mut whole = false;
    while !todo.is_empty() {
        let (session, ask) = todo.remove(0);
        let outputs = table.serves(session, ask);
        whole |= outputs.contains(&Output::Whole(offer()));
        todo.extend(asks(&outputs));
    }
    assert!(whole);
    assert_eq!(table.transfers.count(), 0);
}

#[test]
fn empty_content_is_whole_at_once() {
    let mut table = Table {
        transfers: Transfers::default(),
        now: Duration::ZERO,
    };
    let shape = Shape::of(0);
    let outputs = table.does(Input::Want {
        offer: offer(),
        shape,
        head: 0,
        held: Held::none(shape),
    });
    assert_eq!(outputs, [Output::Whole(offer())]);
}

#[test]
fn stored_pieces_are_not_requested_again() {
    let shape = Shape::of(SPAN);
    let mut held = Held::none(shape);
    [0, 1, 5, 63]
        .into_iter()
        .for_each(|piece| held.insert(piece));
    let mut table = Table {
        transfers: Transfers::default(),
        now: Duration::ZERO,
    };
    table.does(Input::Want {
        offer: offer(),
        shape,
        head: 0,
        held,
    });
    let (session, ask) = table.up(1, 1)[0];
    assert_eq!((ask.first, ask.count), (2, 3));
    let (_, next) = asks(&table.serves(session, ask))[0];
    assert_eq!((next.first, next.count), (6, 57));
}

#[test]
fn the_manifest_comes_before_the_files() {
    let mut table = Table::wanting(2 * SPAN, 3 * PIECE_BYTES as u64);
    let first = table.up(1, 1);
    assert_eq!(first.len(), 1);
    let (session, ask) = first[0];
    assert_eq!((ask.span, ask.first, ask.count), (0, 0, 3));
    let then = asks(&table.serves(session, ask));
    let runs: BTreeSet<_> = then
        .iter()
        .map(|(_, ask)| (ask.span, ask.first, ask.count))
        .collect();
    assert_eq!(runs, BTreeSet::from([(0, 3, 61), (1, 0, 64)]));
}

#[test]
fn several_sources_work_on_different_spans() {
    let mut table = Table::wanting(9 * SPAN, 0);
    let from_author = table.up(1, 1);
    assert_eq!(table.up(2, 2), [], "nobody knows yet that it has it");
    let from_other = asks(&table.does(Input::Source(offer(), peer(2))));
    let spans: BTreeSet<_> = from_author
        .iter()
        .chain(&from_other)
        .map(|(_, ask)| ask.span)
        .collect();
    assert_eq!(spans.len(), 6);
    assert_eq!(
        table.transfers.progress(offer()).unwrap().from,
        BTreeSet::from([peer(1), peer(2)])
    );
}

#[test]
fn unfinished_requests_of_an_ended_session_move_to_another_source() {
    let mut table = Table::wanting(2 * SPAN, 0);
    assert_eq!(table.up(1, 1).len(), 2);
    table.up(2, 2);
    assert_eq!(asks(&table.does(Input::Source(offer(), peer(2)))), []);
    let moved = asks(&table.does(Input::SessionDown(SessionId(1))));
    assert_eq!(
        moved
            .iter()
            .map(|(session, ask)| (*session, ask.span))
            .collect::<Vec<_>>(),
        [(2, 0), (2, 1)]
    );
}

#[test]
fn a_stalled_source_rests_longer_each_time() {
    let mut table = Table::wanting(SPAN, 0);
    let mut ask = table.up(1, 1)[0].1;
    for rest in [1, 2, 4] {
        table.now += STALL;
        assert_eq!(table.does(Input::Timeout), [Output::Abandon(SessionId(1))]);
        table.now += Duration::from_secs(rest);
        assert_eq!(table.transfers.poll_timeout(), Some(table.now));
        ask = asks(&table.does(Input::Timeout))[0].1;
    }
    table.serves(1, ask);
    assert_eq!(table.transfers.count(), 0);
}

#[test]
fn a_slow_source_is_not_a_stalled_one() {
    let mut table = Table::wanting(SPAN, 0);
    table.up(1, 1);
    for piece in 0..10 {
        table.now += STALL - Duration::from_millis(1);
        assert_eq!(table.does(Input::Got(offer(), piece)), []);
        assert_eq!(table.does(Input::Timeout), []);
    }
}

#[test]
fn a_member_serves_when_the_author_cannot_and_without_sources_the_transfer_ends() {
    let mut table = Table::wanting(SPAN, 0);
    let (_, ask) = table.up(1, 1)[0];
    table.up(2, 2);
    table.does(Input::Source(offer(), peer(2)));
    assert_eq!(asks(&table.fails(1, ask, Failure::Changed))[0].0, 2);
    let gone = table.fails(2, ask, Failure::NotHere);
    assert_eq!(gone, [Output::Gone(offer(), Failure::NotHere)]);
}

#[test]
fn a_liar_is_reported_and_gets_no_more_requests() {
    let mut table = Table::wanting(SPAN, 0);
    table.up(2, 2);
    let ask = asks(&table.does(Input::Source(offer(), peer(2))))[0].1;
    assert_eq!(
        table.fails(2, ask, Failure::Lies),
        [Output::Liar(offer(), peer(2))]
    );
    assert_eq!(table.up(1, 1).len(), 1);
}

#[test]
fn a_transfer_retries_after_a_full_disk() {
    let mut table = Table::wanting(2 * SPAN, 0);
    let todo = table.up(1, 1);
    table.does(Input::Full(offer()));
    for (_, ask) in &todo {
        assert_eq!(table.fails(1, *ask, Failure::Local), []);
    }
    assert!(table.transfers.waits_for_room(offer()));
    table.now += FULL_AGAIN_AFTER;
    assert_eq!(asks(&table.does(Input::Timeout)), todo);
}

#[test]
fn transfers_take_turns() {
    let mut table = Table::wanting(100 * SPAN, 0);
    let other = OfferId { seq: 2, ..offer() };
    let shape = Shape::of(100 * SPAN);
    table.does(Input::Want {
        offer: other,
        shape,
        head: 0,
        held: Held::none(shape),
    });
    let asked: Vec<_> = table
        .up(1, 1)
        .iter()
        .map(|(_, ask)| ask.offer.seq)
        .collect();
    assert_eq!(asked, [1, 2, 1]);
}

/// The number of streams that a session reaches on a path with this round trip and this rate in bytes
/// per second. `rooms` is the maximum number of streams.
fn streams_for(rtt_ms: u64, rate: u64, rooms: usize) -> usize {
    let mut table = Table::wanting(10_000 * SPAN, 0);
    let mut under_way: VecDeque<_> = table.up(1, 1).into_iter().map(|(_, ask)| ask).collect();
    let (rtt, session) = (Duration::from_millis(rtt_ms), SessionId(1));
    let mut streams = 1;
    for _ in 0..60 {
        let by_windows = streams as u64 * STREAM_BYTES * 1000 / rtt_ms;
        let mut pieces = rate.min(by_windows) / PIECE_BYTES as u64 / 10;
        table.now += Duration::from_millis(100);
        while pieces > 0 {
            let ask = under_way.pop_front().unwrap();
            let some = u64::from(ask.count).min(pieces);
            for piece in ask.pieces().take(usize::try_from(some).unwrap()) {
                table.does(Input::Got(ask.offer, piece));
            }
            pieces -= some;
            under_way.extend(
                asks(&table.does(Input::Answered(session, ask, Ok(()))))
                    .into_iter()
                    .map(|(_, ask)| ask),
            );
        }
        for output in table.does(Input::Flows(session, rtt)) {
            let Output::Widen(_, more) = output else {
                panic!("{output:?}")
            };
            streams = more.min(rooms);
            under_way.extend(
                asks(&table.does(Input::Widened(session, streams)))
                    .into_iter()
                    .map(|(_, ask)| ask),
            );
        }
        let most = 1 + streams * REQUESTS_PER_STREAM;
        assert!(
            under_way.len() <= most && under_way.len() >= most - 1,
            "{} asks on {streams} streams",
            under_way.len()
        );
    }
    streams
}

#[test]
fn streams_grow_until_they_fill_the_path_or_the_room() {
    const MIB: u64 = 1 << 20;
    for (rtt_ms, rate, streams) in [
        (1, 300 * MIB, 1),
        (10, 30 * MIB, 1),
        (20, 90 * MIB, 4),
        (100, 4 * MIB, 1),
        (100, 50 * MIB, 16),
        (300, 500 * MIB, 16),
    ] {
        assert_eq!(
            streams_for(rtt_ms, rate, STREAMS_MAX),
            streams,
            "{rtt_ms} ms, {} MiB/s",
            rate / MIB
        );
    }
    assert_eq!(streams_for(300, 500 * MIB, 3), 3);
}

#[test]
fn a_queue_on_the_path_adds_no_streams() {
    let mut streams = Streams::default();
    let mut now = Duration::ZERO;
    streams.measure(now, Duration::from_millis(10));
    for _ in 0..20 {
        // A path of 5 MiB/s with a queue that holds the whole window of one stream.
        now += Duration::from_secs(1);
        streams.came(5 << 20);
        assert_eq!(streams.measure(now, Duration::from_millis(200)), None);
    }
}

#[test]
fn requests_of_ended_streams_are_sent_again() {
    let mut table = Table::wanting(9 * SPAN, 0);
    let todo = table.up(1, 1);
    assert_eq!(table.does(Input::StreamsEnded(SessionId(1))), []);
    // A late report from the reader of an ended stream is ignored.
    assert_eq!(
        table.does(Input::Answered(SessionId(1), todo[0].1, Ok(()))),
        []
    );
    table.now += REST[0];
    assert_eq!(asks(&table.does(Input::Timeout)), todo);
}

proptest! {
    /// Whatever sources do, no piece is requested twice at once, and no stored piece is requested.
    /// Honest sources complete the content.
    #[test]
    fn any_storm_ends_with_the_whole_content(seed: u64, pieces in 1u64..400) {
        let mut rng = Rng::new(seed);
        let size = pieces * PIECE_BYTES as u64;
        let mut table = Table::wanting(size, 0);
        let mut got = BTreeSet::new();
        let mut under_way: Vec<(u64, PieceRequest)> = Vec::new();
        let mut session = 0;
        let mut up = Vec::new();
        let mut whole = false;
        for step in 0..100_000 {
            if whole {
                break;
            }
            let storm = step < 300;
            let outputs = match rng.below(6) {
                0 if up.len() < 3 => {
                    session += 1;
                    let who = if storm { 1 + u8::try_from(rng.below(3)).unwrap() } else { 1 };
                    up.push(session);
                    let mut outputs = table.does(Input::SessionUp(SessionId(session), peer(who)));
                    outputs.extend(table.does(Input::Source(offer(), peer(who))));
                    outputs
                }
                1 if storm && !up.is_empty() => {
                    let gone = up.swap_remove(usize::try_from(rng.below(up.len() as u64)).unwrap());
                    under_way.retain(|(at, _)| *at != gone);
                    table.does(Input::SessionDown(SessionId(gone)))
                }
                2 => {
                    table.now += Duration::from_secs(rng.below(30));
                    table.does(Input::Timeout)
                }
                _ if under_way.is_empty() => continue,
                _ => {
                    let (at, ask) = under_way.swap_remove(usize::try_from(rng.below(under_way.len() as u64)).unwrap());
                    if storm && rng.below(3) == 0 {
                        table.fails(at, ask, Failure::Lost)
                    } else {
                        got.extend(ask.pieces());
                        table.serves(at, ask)
                    }
                }
            };
            for output in outputs {
                match output {
                    Output::Ask(at, ask) => {
                        prop_assert!(ask.fits(Shape::of(size)));
                        prop_assert!(under_way.iter().all(|(_, other)| other.span != ask.span));
                        prop_assert!(ask.pieces().all(|piece| !got.contains(&piece)));
                        under_way.push((at.0, ask));
                    }
                    Output::Abandon(at) => under_way.retain(|(other, _)| *other != at.0),
                    Output::Whole(_) => whole = true,
                    Output::Gone(..) | Output::Liar(..) | Output::Widen(..) => prop_assert!(false, "{output:?}"),
                }
            }
        }
        prop_assert!(whole);
        prop_assert_eq!(got.len() as u64, pieces);
    }
}
