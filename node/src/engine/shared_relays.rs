//! Relays that contacts have shared with the user, with the tokens for them. The user took each over
//! by accepting an invitation.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use hobnob_protocol::invitation::{SHARED_RELAY_MAX, SHARED_TOKEN_MAX, SharedRelay};
use hobnob_protocol::relay::TOKEN_MAX;
use hobnob_protocol::{DeviceId, PersonId, RelayAddr, RelayToken};

/// The start of the names of the settings with these relays. The id of the contact follows.
const SETTING: &str = "shared relay ";

const _: () = assert!(TOKEN_MAX <= SHARED_TOKEN_MAX, "every token can be shared");

/// A setting: its name and its value.
type Setting = (String, String);

/// The shared relays, by the contact that shared each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedRelays(BTreeMap<PersonId, Shared>);

/// A relay whose identity is known, and the token for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) relay: RelayAddr,
    pub(super) id: DeviceId,
    pub(super) token: RelayToken,
}

impl Shared {
    /// Checks what an inviter has sent. `None`: it names no relay with an identity.
    pub(super) fn of(sent: SharedRelay) -> Option<Self> {
        Self::new(&sent.relay, sent.token)
    }

    fn new(relay: &str, token: Vec<u8>) -> Option<Self> {
        let fits = relay.len() <= SHARED_RELAY_MAX && (1..=TOKEN_MAX).contains(&token.len());
        let relay: RelayAddr = relay.parse().ok().filter(|_| fits)?;
        Some(Self {
            id: relay.id?,
            relay,
            token: token.into(),
        })
    }

    fn to_text(&self) -> String {
        let token = BASE32_NOPAD.encode(self.token.as_bytes());
        format!("{} {token}", self.relay)
    }

    fn of_text(text: &str) -> Option<Self> {
        let (relay, token) = text.split_once(' ')?;
        Self::new(relay, BASE32_NOPAD.decode(token.as_bytes()).ok()?)
    }
}

impl SharedRelays {
    /// Starts with what earlier runs stored. Damaged settings are left out.
    pub(crate) fn restore(settings: &BTreeMap<String, String>) -> Self {
        let stored = settings.iter().filter_map(|(name, value)| {
            let peer = name.strip_prefix(SETTING)?.parse().ok()?;
            Some((peer, Shared::of_text(value)?))
        });
        Self(stored.collect())
    }

    /// The relays.
    pub(crate) fn addrs(&self) -> Vec<RelayAddr> {
        self.0.values().map(|shared| shared.relay.clone()).collect()
    }

    /// The tokens, each for the relay of one identity.
    pub(super) fn tokens(&self) -> BTreeMap<DeviceId, RelayToken> {
        let all = self.0.values();
        all.map(|shared| (shared.id, shared.token.clone()))
            .collect()
    }

    /// A contact shares a relay. It replaces an earlier one. Returns the setting to store.
    pub(super) fn add(&mut self, peer: PersonId, shared: Shared) -> Setting {
        let setting = (format!("{SETTING}{peer}"), shared.to_text());
        self.0.insert(peer, shared);
        setting
    }

    /// The user forgets a contact. Returns the setting to store, if it has shared a relay.
    pub(super) fn forget(&mut self, peer: PersonId) -> Option<Setting> {
        self.0.remove(&peer)?;
        Some((format!("{SETTING}{peer}"), String::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(relay: &str, token: &[u8]) -> Option<Shared> {
        Shared::of(SharedRelay {
            relay: relay.to_owned(),
            token: token.to_vec(),
        })
    }

    #[test]
    fn a_shared_relay_survives_a_restart_until_its_contact_is_forgotten() {
        let (ann, id) = (PersonId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let relay = shared(&format!("{id}@r.example:4627"), b"for friends \xff").expect("a relay");
        let mut all = SharedRelays::default();
        let (name, value) = all.add(ann, relay.clone());
        assert!(!value.contains("friends"));
        let settings = BTreeMap::from([
            (name.clone(), value),
            (format!("{SETTING}nobody"), "x y".to_owned()),
        ]);
        let restored = SharedRelays::restore(&settings);
        assert_eq!(restored, all);
        assert_eq!(restored.addrs(), [relay.relay]);
        assert_eq!(restored.tokens(), BTreeMap::from([(id, relay.token)]));
        assert_eq!(all.forget(ann), Some((name.clone(), String::new())));
        assert_eq!(all.forget(ann), None);
        let settings = BTreeMap::from([(name, String::new())]);
        assert_eq!(SharedRelays::restore(&settings), SharedRelays::default());
    }

    #[test]
    fn a_relay_without_an_identity_or_a_token_is_not_shared() {
        let id = DeviceId::from_bytes([2; 32]);
        assert_eq!(shared("r.example:4627", b"token"), None, "no identity");
        assert_eq!(shared("nonsense", b"token"), None);
        assert_eq!(shared(&format!("{id}@r.example"), b""), None);
        let long = vec![b'x'; TOKEN_MAX + 1];
        assert_eq!(shared(&format!("{id}@r.example"), &long), None);
    }
}
