//! The identity of this node, and the logs that it writes.

use std::sync::Arc;

use hobnob_protocol::{ConversationId, DeviceId, LogId, LogName, PersonId, Salts, SecretKey};

/// This node's key and this run of it.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<SecretKey>,
    pub(super) id: PersonId,
    /// The device that this node is.
    pub(super) device: DeviceId,
    /// The salts of this run's entries.
    pub(super) salts: Salts,
    /// A random number that names the logs of this run.
    run: u64,
}

impl Identity {
    pub(super) fn new(key: Arc<SecretKey>, run: u64, salts: Salts) -> Self {
        let device = key.id();
        Self {
            key,
            id: device.person(),
            device,
            salts,
            run,
        }
    }

    /// The log of a conversation that this run writes.
    pub(super) fn log_of_run(&self, conversation: ConversationId) -> LogName {
        LogName {
            conversation,
            author: self.id,
            device: self.device,
            log: LogId::of_run(self.run, &conversation),
        }
    }

    /// Whether only this run can have written to the log.
    pub(super) fn writes(&self, name: LogName) -> bool {
        name == self.log_of_run(name.conversation)
    }
}
