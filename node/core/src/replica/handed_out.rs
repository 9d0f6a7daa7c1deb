//! The entries of this run that may have left this node: only others can be cancelled.

use std::collections::BTreeMap;

use hobnob_protocol::{LogName, Ranges, Seq};

/// Entries of the logs that this run writes whose bodies a session was handed, or the mail that
/// stands for one.
#[derive(Debug, Default)]
pub(super) struct HandedOut(BTreeMap<LogName, Ranges>);

impl HandedOut {
    pub(super) fn note(&mut self, name: LogName, seqs: &Ranges) {
        self.0.entry(name).or_default().insert_all(seqs);
    }

    pub(super) fn contains(&self, name: LogName, seq: Seq) -> bool {
        self.0.get(&name).is_some_and(|seqs| seqs.contains(seq))
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Body, Ranges};

    use super::super::events::{EraseWhat, Input, Token, Undelivered};
    use super::super::testing::{Bench, direct, peer};

    const BOB: u8 = 2;

    #[test]
    fn an_entry_has_gone_out_once_a_session_was_handed_it() {
        let mut bench = Bench::new();
        bench.handle(Input::OpenDirect(peer(BOB)));
        bench.append(direct(BOB), "a");
        let log = bench.own_log(direct(BOB));
        assert!(!bench.replica.has_gone_out(log, 1));
        bench.connect(1, BOB);
        assert!(bench.replica.has_gone_out(log, 1));
        assert!(!bench.replica.has_gone_out(log, 2));
    }

    #[test]
    fn an_entry_that_was_deleted_before_it_is_handed_out_never_goes_out() {
        let mut bench = Bench::new();
        bench.handle(Input::OpenDirect(peer(BOB)));
        bench.append(direct(BOB), "a");
        let name = bench.own_log(direct(BOB));
        let (log, seq) = (name.log, 1);
        bench.append_body(direct(BOB), Body::Delete { log, seq });
        bench.connect(1, BOB);
        assert!(!bench.replica.has_gone_out(name, 1));
        assert!(
            bench.replica.has_gone_out(name, 2),
            "the deletion is handed out"
        );
    }

    #[test]
    fn an_entry_of_an_earlier_run_may_have_gone_out() {
        let mut bench = Bench::new();
        bench.handle(Input::OpenDirect(peer(BOB)));
        bench.append(direct(BOB), "a");
        let mut name = bench.own_log(direct(BOB));
        name.log.0 += 1;
        assert!(bench.replica.has_gone_out(name, 1));
        let what = EraseWhat {
            only: Some([(name, Ranges::span(1, 1))].into()),
            undelivered: Undelivered::Erase,
        };
        bench.settle(Input::Erase(Token(9), direct(BOB), what));
        assert!(bench.replica.has_gone_out(name, 1));
    }
}
