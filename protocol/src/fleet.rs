//! A fleet: several relays that act as one, and the signed list that names them.
//!
//! The operator of a fleet signs the list with the fleet's key, which stays offline. A node that knows
//! the public half of this key, the fleet's id, needs no other: it gets the list from any member, and
//! trusts the relays on it. A list with a higher number replaces one with a lower number.

use serde::{Deserialize, Serialize};

use crate::identity::DeviceId;
use crate::record::{Record, RecordError, check_tags};
use crate::target::RelayAddr;

/// Maximum size of a list with its signature, in bytes.
pub const FLEET_LIST_BYTES_MAX: usize = 4096;

/// Maximum relays of one fleet.
pub const FLEET_RELAYS_MAX: usize = 16;

/// The relays of a fleet.
///
/// ```
/// use hobnob_protocol::SecretKey;
/// use hobnob_protocol::fleet::FleetList;
/// use hobnob_protocol::record::Checked;
///
/// let (fleet, relay) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]).id());
/// let relays = vec![format!("{relay}@relay.example:4627").parse()?];
/// let list = Checked::sign(FleetList::new(1, relays)?, &fleet);
/// let received = list.signed().clone().check::<FleetList>(fleet.id())?;
/// assert!(received.record().member(relay).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetList {
    number: u64,
    relays: Vec<RelayAddr>,
    needs_newer_version: bool,
}

impl FleetList {
    /// A list with this number.
    ///
    /// # Errors
    ///
    /// There are no relays or more than [`FLEET_RELAYS_MAX`], one has no identity, or two have the
    /// same one.
    pub fn new(number: u64, relays: Vec<RelayAddr>) -> Result<Self, RecordError> {
        let wrong = Err(RecordError::Field("list of relays"));
        if relays.is_empty() || relays.len() > FLEET_RELAYS_MAX {
            return wrong;
        }
        for (n, relay) in relays.iter().enumerate() {
            let is_twice = relays[..n].iter().any(|other| other.id == relay.id);
            if relay.id.is_none() || is_twice {
                return wrong;
            }
        }
        Ok(Self {
            number,
            relays,
            needs_newer_version: false,
        })
    }

    /// Its relays, each with an identity. There is at least one.
    pub fn relays(&self) -> &[RelayAddr] {
        &self.relays
    }

    /// The relay with this identity, if it is a member of the fleet.
    pub fn member(&self, id: DeviceId) -> Option<&RelayAddr> {
        self.relays.iter().find(|relay| relay.id == Some(id))
    }

    /// Whether the list has an even tag that this version does not know. Then it is not used.
    pub fn needs_newer_version(&self) -> bool {
        self.needs_newer_version
    }
}

/// The fields of a [`FleetList`] as they travel.
#[derive(Debug, Serialize, Deserialize)]
pub struct FleetListWire {
    relays: Vec<(DeviceId, String)>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Record for FleetList {
    const LABEL: &'static str = "hobnob 1 fleet list";
    const BYTES_MAX: usize = FLEET_LIST_BYTES_MAX;
    type Wire = FleetListWire;
    type Signer = DeviceId;

    fn number(&self) -> u64 {
        self.number
    }

    fn to_wire(&self) -> FleetListWire {
        let relay = |relay: &RelayAddr| Some((relay.id?, relay.at.to_string()));
        FleetListWire {
            relays: self.relays.iter().filter_map(relay).collect(),
            extensions: Vec::new(),
        }
    }

    fn from_wire(number: u64, fields: FleetListWire) -> Result<Self, RecordError> {
        let FleetListWire { relays, extensions } = fields;
        let needs_newer_version = check_tags(&extensions, &[])?;
        let relay = |(id, at): (DeviceId, String)| -> Result<_, RecordError> {
            let at = at.parse().map_err(|_| RecordError::Field("relay"))?;
            Ok(RelayAddr { id: Some(id), at })
        };
        let relays = relays.into_iter().map(relay).collect::<Result<_, _>>()?;
        Ok(Self {
            needs_newer_version,
            ..Self::new(number, relays)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use crate::record::{Checked, SignedRecord};

    fn relay(n: u8) -> RelayAddr {
        RelayAddr {
            id: Some(DeviceId::from_bytes([n; 32])),
            at: format!("relay{n}.example:4627")
                .parse()
                .expect("an address"),
        }
    }

    fn fleet(n: u8) -> SecretKey {
        SecretKey::from_seed([n; 32])
    }

    fn signed(number: u64, relays: u8) -> Checked<FleetList> {
        let list = FleetList::new(number, (0..relays).map(relay).collect()).expect("few");
        Checked::sign(list, &fleet(1))
    }

    #[test]
    fn a_list_is_read_back_by_those_who_know_the_id_of_its_fleet() {
        let list = signed(7, 3);
        let read = |by: u8| list.signed().clone().check::<FleetList>(fleet(by).id());
        assert_eq!(read(1), Ok(list.clone()));
        assert_eq!(read(2), Err(RecordError::Signature));
        assert_eq!(list.record().number(), 7);
        assert!(
            list.record()
                .member(DeviceId::from_bytes([2; 32]))
                .is_some()
        );
        assert!(
            list.record()
                .member(DeviceId::from_bytes([3; 32]))
                .is_none()
        );
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let bytes = signed(7, 2).signed().as_bytes().to_vec();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = SignedRecord::from_bytes(changed);
            assert!(changed.check::<FleetList>(fleet(1).id()).is_err(), "{at}");
        }
    }

    #[test]
    fn a_higher_number_replaces_a_lower_one() {
        assert!(signed(8, 1).is_newer_than(&signed(7, 3)));
        assert!(!signed(7, 1).is_newer_than(&signed(7, 1)));
    }

    #[test]
    fn a_list_has_one_to_sixteen_different_relays_with_identities() {
        let max = u8::try_from(FLEET_RELAYS_MAX).expect("few");
        let new = |relays: Vec<RelayAddr>| FleetList::new(1, relays);
        assert!(new((0..max).map(relay).collect()).is_ok());
        assert!(new((0..=max).map(relay).collect()).is_err());
        assert!(new(Vec::new()).is_err());
        assert!(new(vec![relay(1), relay(1)]).is_err());
        let unknown = RelayAddr {
            id: None,
            ..relay(1)
        };
        assert!(new(vec![unknown]).is_err());
    }
}
