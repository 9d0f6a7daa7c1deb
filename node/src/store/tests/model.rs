//! Random commits against a model: a restart must load everything that was committed.

use std::collections::BTreeMap;

use hobnob_protocol::{DeviceId, Ranges};
use proptest::prelude::*;

use hobnob_core::commit::{Alive, AudienceRecord, Lingerer, NetworkId};

use super::*;

/// One random action of a test. Numbers are reduced modulo the number of choices.
#[derive(Debug, Clone)]
enum Step {
    Append {
        log: usize,
        batch: usize,
        audience: u64,
    },
    Trim {
        log: usize,
        below: Seq,
    },
    Acked {
        log: usize,
        peer: u8,
        last: Seq,
    },
    Lingerers(Vec<(u8, Option<u64>)>),
    Audience(u64),
    Alive(u64),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..LOGS, 0..BATCHES, 0u64..3).prop_map(|(log, batch, audience)| Step::Append { log, batch, audience }),
        1 => (0..LOGS, 0u64..30).prop_map(|(log, below)| Step::Trim { log, below }),
        1 => (0..LOGS, 0u8..3, 0u64..30).prop_map(|(log, peer, last)| Step::Acked { log, peer, last }),
        1 => proptest::collection::vec((0u8..5, proptest::option::of(0u64..9)), 0..4).prop_map(Step::Lingerers),
        1 => (0u64..1_000).prop_map(Step::Audience),
        1 => (0..u64::MAX / 4).prop_map(Step::Alive),
        1 => Just(Step::Restart),
    ]
}

const LOGS: usize = 3;
const BATCHES: usize = 8;

/// The expected contents of the store.
#[derive(Default)]
struct Model {
    /// For each log, the held entries and their audiences.
    held: Vec<BTreeMap<Seq, u64>>,
    lamport: u64,
    acked: BTreeMap<(usize, DeviceId), Ranges>,
    lingerers: Vec<Lingerer>,
    audiences: Vec<AudienceRecord>,
    alive: Option<Alive>,
}

struct World {
    home: Home,
    logs: Vec<(LogName, Vec<Arc<CheckedBatch>>)>,
    model: Model,
}

impl World {
    fn new() -> Self {
        let mut home = Home::new();
        home.commit(vec![the_lobby(true)]);
        let logs = (0..LOGS).map(|log| {
            let mut author = Author::new(u8::try_from(log).unwrap(), lobby());
            (
                author.name,
                (0..BATCHES)
                    .map(|batch| author.chats(1 + (batch * 3 + log) % 4))
                    .collect(),
            )
        });
        let model = Model {
            held: vec![BTreeMap::new(); LOGS],
            ..Model::default()
        };
        Self {
            home,
            logs: logs.collect(),
            model,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                log,
                batch,
                audience,
            } => self.append(log, batch, audience),
            Step::Trim { log, below } => {
                self.home.commit(vec![Op::Trim(self.logs[log].0, below)]);
                self.model.held[log].retain(|seq, _| *seq >= below);
            }
            Step::Acked {
                log,
                peer: number,
                last,
            } => {
                let (name, ranges) = (self.logs[log].0, Ranges::span(1, last));
                self.home.commit(vec![Op::Acked {
                    name,
                    peer: peer(number).only_device(),
                    ranges: ranges.clone(),
                }]);
                self.model
                    .acked
                    .insert((log, peer(number).only_device()), ranges);
                // A receipt for nothing is none.
                self.model.acked.retain(|_, ranges| !ranges.is_empty());
            }
            Step::Lingerers(list) => {
                self.model.lingerers = list
                    .into_iter()
                    .map(|(number, dropped_at_ms)| Lingerer {
                        peer: peer(number),
                        network: dropped_at_ms.map(NetworkId),
                        dropped_at_ms,
                    })
                    .collect();
                self.home
                    .commit(vec![Op::Lingerers(lobby(), self.model.lingerers.clone())]);
            }
            Step::Audience(formed_at_ms) => {
                let id = AudienceId(self.model.audiences.len() as u64 + 1);
                let record = AudienceRecord {
                    id,
                    conversation: lobby(),
                    formed_at_ms,
                    peers: vec![peer(1)],
                };
                self.home.commit(vec![Op::Audience(record.clone())]);
                self.model.audiences.push(record);
            }
            Step::Alive(at_ms) => {
                self.model.alive = Some(Alive { at_ms });
                self.home
                    .commit(self.model.alive.map(Op::Alive).into_iter().collect());
            }
            Step::Restart => self.home.restart(),
        }
    }

    fn append(&mut self, log: usize, batch: usize, audience: u64) {
        let batch = &self.logs[log].1[batch];
        let held = &mut self.model.held[log];
        let fits = !(batch.first()..=batch.last()).any(|seq| held.contains_key(&seq));
        let result = self.home.try_commit(vec![part(
            batch,
            batch.first(),
            batch.last(),
            AudienceId(audience),
        )]);
        assert_eq!(result.is_ok(), fits, "{result:?}");
        if fits {
            held.extend((batch.first()..=batch.last()).map(|seq| (seq, audience)));
            self.model.lamport = self
                .model
                .lamport
                .max(batch.entries.last().unwrap().entry.lamport);
        }
    }

    fn check(&mut self) {
        self.home.restart();
        let loaded = self.home.loaded();
        for (log, (name, batches)) in self.logs.iter().enumerate() {
            let held = &self.model.held[log];
            let found = loaded.logs.iter().find(|record| record.name == *name);
            let runs = found.map_or(&[][..], |record| &record.runs[..]);
            let in_runs = runs
                .iter()
                .flat_map(|run| (run.first..=run.last).map(|seq| (seq, run.audience.0)));
            assert_eq!(
                in_runs.collect::<Vec<_>>(),
                held.iter()
                    .map(|(seq, who)| (*seq, *who))
                    .collect::<Vec<_>>()
            );
            assert!(runs.windows(2).all(|two| two[0].last + 1 < two[1].first || two[0].audience != two[1].audience));
            let hash = |seq: Seq| {
                batches
                    .iter()
                    .find_map(|batch| batch.at(seq))
                    .expect("was written")
                    .hash
            };
            assert_eq!(
                found.map(|record| record.head),
                held.keys().last().map(|seq| (*seq, hash(*seq)))
            );
            check_stretches(&self.home, *name, held, hash);
        }
        if self.model.lamport > 0 {
            self.home.goes_on_after(self.model.lamport);
        }
        assert_eq!(loaded.audiences, self.model.audiences);
        assert_eq!(
            loaded.lingerers.first().map_or(&[][..], |of| &of.1[..]),
            self.model.lingerers
        );
        assert_eq!(loaded.alive, self.model.alive);
        let acked: BTreeMap<_, _> = loaded
            .acked
            .iter()
            .map(|(name, peer, ranges)| ((*name, *peer), ranges.clone()))
            .collect();
        assert_eq!(
            acked,
            self.model
                .acked
                .iter()
                .map(|((log, peer), r)| ((self.logs[*log].0, *peer), r.clone()))
                .collect()
        );
    }
}

/// Reads batches from each held entry to the end of its range, and checks them against the
/// author's.
fn check_stretches(
    home: &Home,
    name: LogName,
    held: &BTreeMap<Seq, u64>,
    hash: impl Fn(Seq) -> EntryHash,
) {
    for from in held.keys() {
        let end = (*from..)
            .take_while(|seq| held.contains_key(seq))
            .last()
            .unwrap();
        let batches = wait(home.store().read_batches(name, *from, end, usize::MAX)).unwrap();
        let last = batches.last().unwrap().clone().check().unwrap();
        assert_eq!((last.last(), last.head()), (end, hash(end)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_restart_loads_what_was_committed(steps in proptest::collection::vec(any_step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.check();
    }
}
