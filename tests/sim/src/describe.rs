//! Describes each input and output in one line, for the trace.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what needs no words of its own is shown as it is"
)]

use hobnob_core::replica::{Input, Output};
use hobnob_protocol::Frame;

pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Batch(session, batch) => {
            let last = batch.clone().read().map_or(0, |batch| batch.last());
            format!(
                "batch on {}: {:?} {}..={last}",
                session.0, batch.name, batch.first
            )
        }
        Input::Read(session, name, Ok(batches)) => {
            let spans: Vec<_> = batches
                .iter()
                .map(|b| (b.first, b.clone().read().map_or(0, |b| b.last())))
                .collect();
            format!("read for {}: {name:?} {spans:?}", session.0)
        }
        Input::Append {
            token,
            conversation,
            body,
        } => {
            let text: String = format!("{body:?}").chars().take(20).collect();
            format!("append {} {conversation:?} {text}", token.0)
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn output(output: &Output) -> String {
    match output {
        Output::Commit(commit) => {
            let ops: Vec<_> = commit.ops.iter().map(op).collect();
            format!("commit {}: {}", commit.id.0, ops.join(", "))
        }
        Output::Send(session, frame) => {
            format!("send on {}: {:?}", session.0, Frame::decode(frame))
        }
        Output::SendBatch(session, frame) => match Frame::decode(frame) {
            Ok(Frame::Batch(batch)) => {
                let last = batch.clone().read().map_or(0, |batch| batch.last());
                format!(
                    "send on {}: batch {:?} {}..={last}",
                    session.0, batch.name, batch.first
                )
            }
            other => format!("send on {}: {other:?}", session.0),
        },
        Output::Received {
            batch, first, last, ..
        } => format!("received {:?} {first}..={last}", batch.batch.name),
        other => format!("{other:?}"),
    }
}

fn op(op: &hobnob_core::commit::Op) -> String {
    use hobnob_core::commit::Op;
    match op {
        Op::Append {
            batch,
            from,
            to,
            audience,
            ..
        } => format!(
            "append {:?} {from}..={to} for {}",
            batch.batch.name, audience.0
        ),
        other => format!("{other:?}"),
    }
}
