//! Signed, numbered records of a person or a device about itself. A record replaces its older
//! versions.
//!
//! The [`PublicRecord`] has the nickname. Peers pass it on in rooms. The [`ContactRecord`] has the
//! relays, for contacts only. The [`MailboxRecord`] has the key of the mailbox, for contacts and
//! for holders. Each kind of record is signed under a label of its own, so none can be taken for
//! another.
//!
//! A reader ignores an odd tag that it does not know. A record with an even tag that it does not
//! know is stored and passed on, but not used. The signature covers the bytes that travel, so it
//! stays valid with either. Not here: who may have which record.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::identity::{DeviceId, PersonId, SecretKey, Signature};
use crate::mailbox::hpke::PublicKey;
use crate::mailbox::token::KeyId;
use crate::offer::ContentHash;
use crate::target::RelayAddr;
use crate::text::Nickname;

/// Maximum size of a public record with its signature, in bytes.
pub const PUBLIC_BYTES_MAX: usize = 512;

/// Maximum size of a contact record with its signature, in bytes.
pub const CONTACT_BYTES_MAX: usize = 2048;

/// Maximum size of a mailbox record with its signature, in bytes.
pub const MAILBOX_BYTES_MAX: usize = 1536;

/// Maximum devices of one peer.
pub const DEVICES_MAX: usize = 8;

/// Maximum relays in a contact record.
pub const RECORD_RELAYS_MAX: usize = 4;

/// Maximum relays of contacts at which a peer can be found, in its contact record.
pub const BORROWED_MAX: usize = 2;

/// The largest number of a record. It is reached in the year 287,396.
pub const NUMBER_MAX: u64 = 1 << 53;

/// The only suite of this version: Ed25519 signatures.
pub const SUITE: u16 = 1;

/// Longest nickname on the wire, in bytes: 32 characters of four bytes.
const NICK_BYTES_MAX: usize = 128;

const SIGNATURE_LEN: usize = 64;

/// Memory that decoding a record may claim. In memory a short extension needs eight times its
/// encoded size.
const MEMORY_MAX: usize = 16 * CONTACT_BYTES_MAX;

/// The tags of extensions of a contact record. Every number has one meaning for ever.
pub mod contact_tag {
    /// Reserved: the holders of the peer's mailbox.
    pub const HOLDERS: u16 = 1;
    /// The relay that the peer lends to its contacts: its identity and its address.
    pub const LENDS: u16 = 3;
    /// The relays that contacts lend to the peer, at which it can be found: their identities.
    pub const BORROWS: u16 = 5;
}

/// A record as it travels: the signature and the bytes that it covers. Nothing in it is checked
/// yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignedRecord(Vec<u8>);

impl SignedRecord {
    /// A record that was stored as these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to store them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number that the record claims. Only [`SignedRecord::check`] shows who chose it. A
    /// receiver that has a newer record need not check the signature.
    pub fn claimed_number(&self) -> Result<u64, RecordError> {
        let signed = self.0.get(SIGNATURE_LEN..).ok_or(RecordError::TooShort)?;
        let ((_, number), _) = codec::decode_prefix::<(u16, u64), MEMORY_MAX>(signed)?;
        Ok(number)
    }

    /// Decodes the record if this signer has signed it.
    pub fn check<R: Record>(self, signer: R::Signer) -> Result<Checked<R>, RecordError> {
        if self.0.len() > R::BYTES_MAX {
            return Err(RecordError::TooLong(self.0.len()));
        }
        let (signature, signed) = self
            .0
            .split_first_chunk::<SIGNATURE_LEN>()
            .ok_or(RecordError::TooShort)?;
        let (suite, number, fields) = codec::decode::<(u16, u64, R::Wire), MEMORY_MAX>(signed)?;
        if suite != SUITE {
            return Err(RecordError::Suite(suite));
        }
        if number == 0 || number > NUMBER_MAX {
            return Err(RecordError::Number(number));
        }
        let record = R::from_wire(number, fields)?;
        // The signature comes last, because it costs most.
        let signature = Signature::from_bytes(*signature);
        if !signer.verifies(&to_sign::<R>(&signer, signed), &signature) {
            return Err(RecordError::Signature);
        }
        Ok(Checked {
            record,
            signed: self,
        })
    }
}

/// A record whose signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<R> {
    record: R,
    signed: SignedRecord,
}

impl<R: Record> Checked<R> {
    /// Signs a record.
    pub fn sign(record: R, key: &SecretKey) -> Self {
        let signed = codec::encode(&(SUITE, record.number(), record.to_wire()));
        let signature = key.sign(&to_sign::<R>(&R::Signer::of(key), &signed));
        let signed = SignedRecord([&signature.as_bytes()[..], &signed].concat());
        debug_assert!(signed.0.len() <= R::BYTES_MAX, "the fields have limits");
        Self { record, signed }
    }

    /// The record.
    pub fn record(&self) -> &R {
        &self.record
    }

    /// The record as it travels.
    pub fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    /// Whether this record replaces another one of the same peer. If a peer has signed two records
    /// with one number, all nodes choose the same one.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.record.number(), &self.signed) > (other.record.number(), &other.signed)
    }
}

/// The id that a record is signed for.
pub trait Signer: Copy {
    /// The id that owns this key.
    fn of(key: &SecretKey) -> Self;
    /// The public key, 32 bytes.
    fn as_bytes(&self) -> &[u8; 32];
    /// Whether `signature` over `message` was made with this key.
    fn verifies(&self, message: &[u8], signature: &Signature) -> bool;
}

impl Signer for PersonId {
    fn of(key: &SecretKey) -> Self {
        key.id().person()
    }

    fn as_bytes(&self) -> &[u8; 32] {
        self.as_bytes()
    }

    fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.verifies(message, signature)
    }
}

impl Signer for DeviceId {
    fn of(key: &SecretKey) -> Self {
        key.id()
    }

    fn as_bytes(&self) -> &[u8; 32] {
        self.as_bytes()
    }

    fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.verifies(message, signature)
    }
}

/// A kind of record.
pub trait Record: Sized {
    /// The context under which it is signed.
    const LABEL: &'static str;
    /// Its maximum size with its signature.
    const BYTES_MAX: usize;
    /// Its fields as they travel, without the number.
    type Wire: Serialize + for<'a> Deserialize<'a>;
    /// Who signs it: a person or a device.
    type Signer: Signer;

    /// Its number.
    fn number(&self) -> u64;
    /// Its fields as they travel.
    fn to_wire(&self) -> Self::Wire;
    /// Checks the limits of fields from a peer.
    fn from_wire(number: u64, fields: Self::Wire) -> Result<Self, RecordError>;
}

/// The facts about a peer that all members of a room may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicRecord {
    /// The number of this version.
    pub number: u64,
    /// The nickname, cleaned. `None` if nothing of it can be shown.
    pub nick: Option<Nickname>,
    /// The keys of the peer's devices, at most [`DEVICES_MAX`]. Today the peer's id is the only
    /// one.
    pub devices: Vec<DeviceId>,
    /// The hash of the profile picture, see [`picture`](crate::picture).
    pub picture: Option<ContentHash>,
    /// Whether the record has an even tag that this version does not know. Then it is not used.
    pub needs_newer_version: bool,
}

/// The fields of a [`PublicRecord`] as they travel.
#[derive(Debug, Serialize, Deserialize)]
pub struct PublicWire {
    nick: String,
    devices: Vec<(u16, DeviceId)>,
    picture: Option<ContentHash>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Record for PublicRecord {
    const LABEL: &'static str = "hobnob 1 public record";
    const BYTES_MAX: usize = PUBLIC_BYTES_MAX;
    type Wire = PublicWire;
    type Signer = PersonId;

    fn number(&self) -> u64 {
        self.number
    }

    fn to_wire(&self) -> PublicWire {
        PublicWire {
            nick: self.nick.as_ref().map_or("", Nickname::as_str).to_owned(),
            devices: self.devices.iter().map(|key| (SUITE, *key)).collect(),
            picture: self.picture,
            extensions: Vec::new(),
        }
    }

    fn from_wire(number: u64, fields: PublicWire) -> Result<Self, RecordError> {
        let PublicWire {
            nick,
            devices,
            picture,
            extensions,
        } = fields;
        if nick.len() > NICK_BYTES_MAX {
            return Err(RecordError::Field("nickname"));
        }
        if devices.is_empty() || devices.len() > DEVICES_MAX {
            return Err(RecordError::Field("list of devices"));
        }
        Ok(Self {
            number,
            nick: Nickname::cleaned(&nick),
            // A device with a key of a later suite can't be used.
            devices: devices
                .into_iter()
                .filter(|(suite, _)| *suite == SUITE)
                .map(|(_, key)| key)
                .collect(),
            picture,
            needs_newer_version: check_tags(&extensions, &[])?,
        })
    }
}

/// The facts about a peer that only its contacts may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRecord {
    /// The number of this version.
    pub number: u64,
    /// The relays at which the peer can be found, at most [`RECORD_RELAYS_MAX`]. Each has an
    /// identity.
    pub relays: Vec<RelayAddr>,
    /// The relay that the peer lends to its contacts. It has an identity. The peer can be found there,
    /// too.
    pub lends: Option<RelayAddr>,
    /// The identities of the relays that contacts of the peer lend to it, at most [`BORROWED_MAX`]. It
    /// can be found there, too. Only contacts of the lender are admitted there, and know the address.
    pub borrows: Vec<DeviceId>,
    /// Whether the record has an even tag that this version does not know. Then it is not used.
    pub needs_newer_version: bool,
}

/// The fields of a [`ContactRecord`] as they travel.
#[derive(Debug, Serialize, Deserialize)]
pub struct ContactWire {
    relays: Vec<(DeviceId, String)>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Record for ContactRecord {
    const LABEL: &'static str = "hobnob 1 contact record";
    const BYTES_MAX: usize = CONTACT_BYTES_MAX;
    type Wire = ContactWire;
    type Signer = PersonId;

    fn number(&self) -> u64 {
        self.number
    }

    fn to_wire(&self) -> ContactWire {
        let relay = |relay: &RelayAddr| Some((relay.id?, relay.at.to_string()));
        let lends = self.lends.as_ref().and_then(relay);
        let lends = lends.map(|lends| (contact_tag::LENDS, codec::encode(&lends)));
        let borrows = (!self.borrows.is_empty())
            .then(|| (contact_tag::BORROWS, codec::encode(&self.borrows)));
        ContactWire {
            relays: self.relays.iter().filter_map(relay).collect(),
            extensions: lends.into_iter().chain(borrows).collect(),
        }
    }

    fn from_wire(number: u64, fields: ContactWire) -> Result<Self, RecordError> {
        let ContactWire { relays, extensions } = fields;
        if relays.len() > RECORD_RELAYS_MAX {
            return Err(RecordError::Field("list of relays"));
        }
        let relay = |(id, at): (DeviceId, String)| -> Result<_, RecordError> {
            let at = at.parse().map_err(|_| RecordError::Field("relay"))?;
            Ok(RelayAddr { id: Some(id), at })
        };
        let known = [
            contact_tag::HOLDERS,
            contact_tag::LENDS,
            contact_tag::BORROWS,
        ];
        let needs_newer_version = check_tags(&extensions, &known)?;
        let lends = extension::<(DeviceId, String)>(&extensions, contact_tag::LENDS)?;
        let borrows = extension::<Vec<DeviceId>>(&extensions, contact_tag::BORROWS)?;
        let borrows = borrows.unwrap_or_default();
        if borrows.len() > BORROWED_MAX {
            return Err(RecordError::Field("list of borrowed relays"));
        }
        Ok(Self {
            number,
            relays: relays.into_iter().map(relay).collect::<Result<_, _>>()?,
            lends: lends.map(relay).transpose()?,
            borrows,
            needs_newer_version,
        })
    }
}

/// The key for which mail to a peer is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRecord {
    /// The number of this version.
    pub number: u64,
    /// The number of the key.
    pub key: KeyId,
    /// The key.
    pub public: PublicKey,
    /// Whether the record has an even tag that this version does not know. Then it is not used.
    pub needs_newer_version: bool,
}

/// The fields of a [`MailboxRecord`] as they travel.
#[derive(Debug, Serialize, Deserialize)]
pub struct MailboxWire {
    suite: u16,
    key: KeyId,
    public: Vec<u8>,
    extensions: Vec<(u16, Vec<u8>)>,
}

/// The only suite of mailbox keys in this version: X-Wing.
const MAILBOX_SUITE: u16 = 1;

impl Record for MailboxRecord {
    const LABEL: &'static str = "hobnob 1 mailbox record";
    const BYTES_MAX: usize = MAILBOX_BYTES_MAX;
    type Wire = MailboxWire;
    type Signer = DeviceId;

    fn number(&self) -> u64 {
        self.number
    }

    fn to_wire(&self) -> MailboxWire {
        MailboxWire {
            suite: MAILBOX_SUITE,
            key: self.key,
            public: self.public.as_bytes().to_vec(),
            extensions: Vec::new(),
        }
    }

    fn from_wire(number: u64, fields: MailboxWire) -> Result<Self, RecordError> {
        let MailboxWire {
            suite,
            key,
            public,
            extensions,
        } = fields;
        if suite != MAILBOX_SUITE {
            return Err(RecordError::Suite(suite));
        }
        let public = PublicKey::from_bytes(&public).ok_or(RecordError::Field("key"))?;
        Ok(Self {
            number,
            key,
            public,
            needs_newer_version: check_tags(&extensions, &[])?,
        })
    }
}

/// Why bytes are not a record of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are fewer bytes than a signature has.
    #[error("a record without a signature")]
    TooShort,
    /// There are more bytes than a record of this kind may have.
    #[error("a record of {0} bytes")]
    TooLong(usize),
    /// The fields do not decode.
    #[error("a record that is {0}")]
    Malformed(#[from] CodecError),
    /// The signature is of a suite that this version does not know.
    #[error("a record of suite {0}")]
    Suite(u16),
    /// The number is 0 or above [`NUMBER_MAX`].
    #[error("a record with the number {0}")]
    Number(u64),
    /// A field is beyond its limits.
    #[error("a record with a wrong {0}")]
    Field(&'static str),
    /// Tags do not ascend.
    #[error("a record whose tags are out of order")]
    Tags,
    /// Another key signed it, or other bytes were signed.
    #[error("a record with a wrong signature")]
    Signature,
}

/// The number of the next version of a record of this node, after the last one that is known.
pub fn next_number(last: u64, wall_ms: u64) -> u64 {
    last.saturating_add(1).max(wall_ms).min(NUMBER_MAX)
}

fn to_sign<R: Record>(signer: &R::Signer, signed: &[u8]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key(R::LABEL);
    hash.update(signer.as_bytes()).update(signed);
    hash.finalize().into()
}

/// The value of the extension with this tag, if there is one.
fn extension<T: for<'a> Deserialize<'a>>(
    extensions: &[(u16, Vec<u8>)],
    tag: u16,
) -> Result<Option<T>, RecordError> {
    let found = extensions.iter().find(|(other, _)| *other == tag);
    let value = found.map(|(_, bytes)| codec::decode::<T, MEMORY_MAX>(bytes));
    Ok(value.transpose()?)
}

/// Checks that tags ascend. Returns whether one is even and unknown.
pub(crate) fn check_tags(
    extensions: &[(u16, Vec<u8>)],
    known: &[u16],
) -> Result<bool, RecordError> {
    let mut tags = extensions.iter().map(|(tag, _)| *tag);
    if !extensions.is_sorted_by(|(before, _), (after, _)| before < after) {
        return Err(RecordError::Tags);
    }
    Ok(tags.any(|tag| tag % 2 == 0 && !known.contains(&tag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ann() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    fn public(number: u64, nick: &str) -> PublicRecord {
        PublicRecord {
            number,
            nick: Nickname::cleaned(nick),
            devices: vec![ann().id()],
            picture: None,
            needs_newer_version: false,
        }
    }

    fn contact(relays: &[&str]) -> ContactRecord {
        let relay = |at: &&str| RelayAddr {
            id: Some(DeviceId::from_bytes([9; 32])),
            at: at.parse().expect("an address"),
        };
        ContactRecord {
            number: 7,
            relays: relays.iter().map(relay).collect(),
            lends: None,
            borrows: Vec::new(),
            needs_newer_version: false,
        }
    }

    /// A contact record whose peer lends a relay, and borrows others.
    fn lending(at: &str) -> ContactRecord {
        ContactRecord {
            lends: Some(RelayAddr {
                id: Some(DeviceId::from_bytes([8; 32])),
                at: at.parse().expect("an address"),
            }),
            borrows: vec![DeviceId::from_bytes([7; 32]); BORROWED_MAX],
            ..contact(&[])
        }
    }

    /// A record with any fields, correctly signed.
    fn signed<R: Record>(suite: u16, number: u64, fields: &impl Serialize) -> SignedRecord {
        let bytes = codec::encode(&(suite, number, fields));
        let signature = ann().sign(&to_sign::<R>(&R::Signer::of(&ann()), &bytes));
        SignedRecord([&signature.as_bytes()[..], &bytes].concat())
    }

    fn wire(nick: &str, devices: usize, tags: &[u16]) -> PublicWire {
        PublicWire {
            nick: nick.to_owned(),
            devices: vec![(SUITE, ann().id()); devices],
            picture: None,
            extensions: tags.iter().map(|tag| (*tag, b"x".to_vec())).collect(),
        }
    }

    #[test]
    fn golden_bytes() {
        let (id, record) = (ann().id(), Checked::sign(public(300, "ann"), &ann()));
        let bytes = record.signed().as_bytes();
        let fields = [
            &[1, 251, 0x2c, 0x01, 3, b'a', b'n', b'n', 1, 1][..],
            id.as_bytes(),
            &[0, 0],
        ];
        assert_eq!(bytes[SIGNATURE_LEN..], fields.concat());
        let hash = data_encoding::HEXLOWER.encode(blake3::hash(bytes).as_bytes());
        assert_eq!(
            hash,
            "306c0817b381f740d2863098787ec019f1c0c408585a68ecc91b5accb7be5734"
        );
        let record = Checked::sign(contact(&["relay.example:4627"]), &ann());
        let bytes = record.signed().as_bytes();
        let fields = [&[1, 7, 1][..], &[9; 32], &[18], b"relay.example:4627", &[0]];
        assert_eq!(bytes[SIGNATURE_LEN..], fields.concat());
        let hash = data_encoding::HEXLOWER.encode(blake3::hash(bytes).as_bytes());
        assert_eq!(
            hash,
            "fdda799cd6ce3073370a1eb615a27816db6877d45cb7bcf309e9e9e0df4afb99"
        );
        let record = Checked::sign(lending("r:1"), &ann());
        let fields = [
            &[1, 7, 0, 2, 3, 36][..],
            &[8; 32],
            &[3],
            b"r:1",
            &[5, 65, 2],
            &[7; 64],
        ];
        let bytes = record.signed().as_bytes();
        assert_eq!(bytes[SIGNATURE_LEN..], fields.concat());
    }

    #[test]
    fn records_round_trip() {
        let record = Checked::sign(public(5, "Ann"), &ann());
        assert_eq!(record.signed().claimed_number(), Ok(5));
        assert_eq!(
            record.signed().clone().check(ann().id().person()),
            Ok(record)
        );
        let full = vec!["a-relay.example:4627"; RECORD_RELAYS_MAX];
        for contact in [contact(&full), lending("a-relay.example:4627")] {
            let record = Checked::sign(contact, &ann());
            assert_eq!(
                record.signed().clone().check(ann().id().person()),
                Ok(record)
            );
        }
    }

    #[test]
    fn the_longest_fields_fit() {
        let longest = PublicRecord {
            number: NUMBER_MAX,
            nick: Nickname::cleaned(&"\u{1f9e1}".repeat(32)),
            devices: vec![ann().id()],
            picture: Some(ContentHash([7; 32])),
            needs_newer_version: false,
        };
        let bytes = Checked::sign(longest, &ann()).signed().as_bytes().len();
        assert!(bytes <= PUBLIC_BYTES_MAX, "{bytes}");
        let label = "h".repeat(62);
        let host = format!("{label}.{label}.{label}.{label}:4627");
        let full = vec![host.as_str(); RECORD_RELAYS_MAX];
        let longest = ContactRecord {
            relays: contact(&full).relays,
            ..lending(&host)
        };
        let bytes = Checked::sign(longest, &ann()).signed().as_bytes().len();
        assert!(bytes <= CONTACT_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn a_forged_record_is_refused() {
        let record = Checked::sign(public(5, "ann"), &ann());
        let bob = SecretKey::from_seed([2; 32]).id();
        let wrong = RecordError::Signature;
        // A record of somebody else.
        let other = record.signed().clone().check::<PublicRecord>(bob.person());
        assert_eq!(other, Err(wrong.clone()));
        // Another name, or another signature.
        for at in [0, SIGNATURE_LEN + 3] {
            let mut bytes = record.signed().as_bytes().to_vec();
            bytes[at] ^= 1;
            let forged = SignedRecord(bytes).check::<PublicRecord>(ann().id().person());
            assert!(forged.is_err(), "byte {at}");
        }
        // A signature under the label of another record.
        let fields = wire("ann", 1, &[]);
        let moved = signed::<ContactRecord>(SUITE, 5, &fields);
        assert_eq!(moved.check::<PublicRecord>(ann().id().person()), Err(wrong));
    }

    #[test]
    fn fields_beyond_their_limits_are_refused() {
        let check = |suite, number, fields: &PublicWire| {
            let signed = signed::<PublicRecord>(suite, number, fields);
            signed
                .check::<PublicRecord>(ann().id().person())
                .map(|_| ())
        };
        let plain = wire("ann", 1, &[]);
        assert_eq!(check(SUITE, 1, &plain), Ok(()));
        assert_eq!(check(2, 1, &plain), Err(RecordError::Suite(2)));
        assert_eq!(check(SUITE, 0, &plain), Err(RecordError::Number(0)));
        let high = NUMBER_MAX + 1;
        assert_eq!(check(SUITE, high, &plain), Err(RecordError::Number(high)));
        let long = wire(&"n".repeat(129), 1, &[]);
        assert_eq!(check(SUITE, 1, &long), Err(RecordError::Field("nickname")));
        for devices in [0, DEVICES_MAX + 1] {
            let fields = wire("ann", devices, &[]);
            let list = RecordError::Field("list of devices");
            assert_eq!(check(SUITE, 1, &fields), Err(list), "{devices}");
        }
        let big = PublicWire {
            extensions: vec![(1, vec![0; PUBLIC_BYTES_MAX])],
            ..wire("ann", 1, &[])
        };
        assert!(matches!(
            check(SUITE, 1, &big),
            Err(RecordError::TooLong(_))
        ));
    }

    #[test]
    fn a_record_from_the_future_is_kept_as_it_is() {
        let check = |tags: &[u16]| {
            let signed = signed::<PublicRecord>(SUITE, 5, &wire("ann", 1, tags));
            let checked = signed.clone().check::<PublicRecord>(ann().id().person());
            checked.map(|checked| {
                assert_eq!(*checked.signed(), signed, "byte for byte");
                checked.record().needs_newer_version
            })
        };
        assert_eq!(check(&[1, 7, 65_535]), Ok(false));
        assert_eq!(check(&[1, 2]), Ok(true));
        assert_eq!(check(&[7, 1]), Err(RecordError::Tags));
        assert_eq!(check(&[7, 7]), Err(RecordError::Tags));
    }

    #[test]
    fn relays_have_an_identity_and_a_readable_address() {
        let check = |relays: Vec<(DeviceId, String)>| {
            let extensions = Vec::new();
            let fields = ContactWire { relays, extensions };
            let signed = signed::<ContactRecord>(SUITE, 5, &fields);
            signed
                .check::<ContactRecord>(ann().id().person())
                .map(|_| ())
        };
        let relay = |at: &str| (DeviceId::from_bytes([9; 32]), at.to_owned());
        assert_eq!(check(vec![relay("relay.example:4627")]), Ok(()));
        for at in ["", "relay.example", "a b:1", "\x1b[2J:1", "relay.example:0"] {
            let wrong = check(vec![relay(at)]);
            assert_eq!(wrong, Err(RecordError::Field("relay")), "{at:?}");
        }
        let many = vec![relay("relay.example:4627"); RECORD_RELAYS_MAX + 1];
        assert_eq!(check(many), Err(RecordError::Field("list of relays")));
    }

    #[test]
    fn a_lent_relay_is_readable_and_few_are_borrowed() {
        let check = |tag: u16, value: Vec<u8>| {
            let relays = Vec::new();
            let extensions = vec![(tag, value)];
            let fields = ContactWire { relays, extensions };
            signed::<ContactRecord>(SUITE, 5, &fields)
                .check::<ContactRecord>(ann().id().person())
                .map(|_| ())
        };
        let lent = |at: &str| codec::encode(&(DeviceId::from_bytes([9; 32]), at));
        assert_eq!(check(contact_tag::LENDS, lent("r.example:4627")), Ok(()));
        let wrong = check(contact_tag::LENDS, lent("r.example:0"));
        assert_eq!(wrong, Err(RecordError::Field("relay")));
        let cut = check(contact_tag::LENDS, vec![9; 31]);
        assert!(matches!(cut, Err(RecordError::Malformed(_))), "{cut:?}");
        let borrowed = |n| codec::encode(&vec![DeviceId::from_bytes([9; 32]); n]);
        assert_eq!(check(contact_tag::BORROWS, borrowed(BORROWED_MAX)), Ok(()));
        let many = check(contact_tag::BORROWS, borrowed(BORROWED_MAX + 1));
        assert_eq!(many, Err(RecordError::Field("list of borrowed relays")));
    }

    #[test]
    fn of_two_records_with_one_number_all_choose_the_same() {
        let one = Checked::sign(public(5, "ann"), &ann());
        let other = Checked::sign(public(5, "anna"), &ann());
        assert_ne!(one.is_newer_than(&other), other.is_newer_than(&one));
        let later = Checked::sign(public(6, "a"), &ann());
        assert!(later.is_newer_than(&one) && later.is_newer_than(&other));
        assert!(!later.is_newer_than(&later));
    }

    #[test]
    fn numbers_grow_even_if_the_clock_goes_back() {
        assert_eq!(next_number(0, 1_000), 1_000);
        assert_eq!(next_number(1_000, 10), 1_001);
        assert_eq!(next_number(u64::MAX, u64::MAX), NUMBER_MAX);
    }

    proptest! {
        #[test]
        fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let signed = SignedRecord::from_bytes(bytes);
            let _ = signed.claimed_number();
            prop_assert!(signed.clone().check::<PublicRecord>(ann().id().person()).is_err());
            prop_assert!(signed.check::<ContactRecord>(ann().id().person()).is_err());
        }
    }
}
