//! A lying peer sends as fast as possible. The test measures how much the replica stores for it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what a liar is told does not matter to it"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::commit::Loaded;
use hobnob_core::replica::{Input, Output, Replica, Token};
use hobnob_core::source_network::SourceNetwork;
use hobnob_core::{Now, Rng, SessionId};
use hobnob_protocol::frame::{AuthorHeads, Digest};
use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, DeviceId, Entry, EntryHash, Frame, LogId, LogName,
    PersonId, Ranges, Salts, SecretKey,
};

use super::oracle;

/// Sends `lies` lies and reads nothing. Returns the maximum number of items that the replica stores
/// for the session, and the bytes that the replica sends to it.
pub fn lie_to(seed: u64, lies: u32) -> (usize, usize) {
    let mut rng = Rng::new(seed);
    let [me, liar] = [1, 2].map(|n| Arc::new(SecretKey::from_seed([n; 32])));
    let mut now = Now {
        mono: Duration::ZERO,
        wall_ms: 1,
    };
    let mut replica = Replica::new(
        me.clone(),
        7,
        Salts::new([7; 32]),
        BTreeSet::new(),
        now,
        Loaded::default(),
    );
    let [(name, key), _] = oracle::rooms();
    let session = SessionId(1);
    let direct = ConversationId::direct(me.id().person(), liar.id().person());
    let conversations = [key.conversation(), direct];
    replica.handle(
        now,
        Input::Join {
            token: Token(0),
            name,
            key,
        },
    );
    let source = SourceNetwork(1);
    replica.handle(now, Input::SessionUp(session, liar.id(), None, source));
    replica.handle(
        now,
        Input::SessionRooms(session, BTreeSet::from([conversations[0]])),
    );
    for n in 0..20 {
        let body = Body::Text(format!("{n}"));
        replica.handle(
            now,
            Input::Append {
                token: Token(n),
                conversation: conversations[0],
                body,
            },
        );
    }
    let (mut bytes, mut kept) = (0, 0);
    for n in 0..lies {
        now.mono += Duration::from_millis(1);
        let input = lie(&mut rng, &conversations, session, &liar);
        replica.handle(now, input);
        let mut answers = Vec::new();
        while let Some(output) = replica.poll_output() {
            match output {
                Output::Send(_, frame) | Output::SendBatch(_, frame) => bytes += frame.len(),
                Output::Commit(commit) => answers.push(Input::Committed(commit.id)),
                _ => {}
            }
        }
        answers
            .into_iter()
            .for_each(|answer| replica.handle(now, answer));
        if n % 512 == 0 {
            kept = kept.max(replica.remembered_for_sessions());
        }
    }
    (kept, bytes)
}

fn lie(
    rng: &mut Rng,
    conversations: &[ConversationId; 2],
    session: SessionId,
    liar: &SecretKey,
) -> Input {
    let conversation = conversations[usize::from(rng.below(2) == 0)];
    let mut author = liar.id();
    if rng.below(2) == 0 && conversation == conversations[0] {
        author = PersonId::from_bytes([rng.draw().to_le_bytes()[0]; 32]).only_device();
    }
    let device = match rng.below(4) {
        0 => DeviceId::from_bytes([rng.draw().to_le_bytes()[0]; 32]),
        _ => author,
    };
    let name = LogName {
        conversation,
        author: author.person(),
        device,
        log: LogId(rng.below(1 << 40)),
    };
    let mut ranges = Ranges::new();
    (0..60).for_each(|_| {
        let first = 1 + rng.below(1 << 40);
        ranges.insert(first, first + rng.below(9));
    });
    Input::Frame(
        session,
        match rng.below(7) {
            0 | 1 => Frame::Have(name, ranges.into()),
            2 => Frame::Want {
                name,
                from: rng.below(100),
                to: None,
            },
            3 => Frame::Digest(
                conversation,
                Digest {
                    hash: [rng.draw().to_le_bytes()[0]; 32],
                    clock: rng.draw(),
                },
            ),
            4 => {
                let logs = (0..30)
                    .map(|_| (LogId(rng.draw()), ranges.clone().into()))
                    .collect();
                Frame::Heads {
                    conversation,
                    more: rng.below(50) > 0,
                    authors: vec![AuthorHeads {
                        author: author.person(),
                        device,
                        logs,
                    }],
                }
            }
            5 => Frame::Digest(
                ConversationId::from_bytes([rng.draw().to_le_bytes()[1]; 32]),
                Digest {
                    hash: [0; 32],
                    clock: 0,
                },
            ),
            _ => {
                // A batch after a gap, in a new log each time.
                let name = LogName {
                    author: liar.id().person(),
                    device: liar.id(),
                    ..name
                };
                let entry = Entry::new(1, 0, Body::Text("x".to_owned()));
                let batch = CheckedBatch::author(
                    liar,
                    name,
                    5,
                    EntryHash::from_bytes([1; 32]),
                    vec![entry],
                    &mut Salts::new([7; 32]),
                );
                return Input::Batch(session, batch.batch);
            }
        },
    )
}
