//! Records: forged, replayed, too long, of somebody else, or of nobody.

use hobnob_protocol::frame::Profile;
use hobnob_protocol::record::NUMBER_MAX;
use hobnob_protocol::{Frame, PersonId, SignedRecord, close};
use hobnob_tests::hostile::{
    Mallory, RawStream, TestNet, public_record, public_record_numbered, random_key,
};

/// The nickname of a peer, as a host knows it.
fn nick_of(net: &TestNet, peer: PersonId) -> Option<String> {
    let peers = net.ann.run(&["--json", "peers"]).expect(0).json();
    let mut peers = peers.into_iter();
    let known = peers.find(|known| known["peer"] == peer.to_string());
    known?["nick"].as_str().map(str::to_owned)
}

async fn is_refused(net: &TestNet, record: impl FnOnce(&Mallory) -> SignedRecord) {
    let mallory = Mallory::new();
    let mut stream = mallory.connected(&net.ann).await;
    let profile = Profile {
        record: record(&mallory),
        ..Profile::default()
    };
    stream.sends(&Mallory::hello(profile)).await;
    assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
    assert_eq!(nick_of(net, mallory.id()), None);
}

async fn passes_on(stream: &mut RawStream, records: Vec<(PersonId, SignedRecord)>) {
    let answer = false;
    stream.sends(&Frame::Records { answer, records }).await;
}

#[test]
fn a_record_in_hello_must_be_signed_by_the_peer() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        is_refused(net, |_| public_record(&random_key(), "eve")).await;
        is_refused(net, |_| SignedRecord::default()).await;
        is_refused(net, |mallory| {
            let mut bytes = public_record(mallory.key(), "eve").as_bytes().to_vec();
            *bytes.last_mut().expect("it is not empty") ^= 1;
            SignedRecord::from_bytes(bytes)
        })
        .await;
        is_refused(net, |mallory| {
            public_record_numbered(mallory.key(), "eve", NUMBER_MAX + 1)
        })
        .await;
        is_refused(net, |mallory| {
            public_record(mallory.key(), &"e".repeat(129))
        })
        .await;
    });
}

#[test]
fn records_of_peers_that_are_in_no_room_are_not_learned() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        let eve = random_key();
        passes_on(
            &mut stream,
            vec![(eve.id().person(), public_record(&eve, "eve"))],
        )
        .await;
        stream.is_alive().await;
        assert_eq!(nick_of(net, eve.id().person()), None);
    });
}

#[test]
fn a_forged_record_of_a_member_ends_the_session() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let member = Mallory::new();
        let _stream = member.in_session_as(&net.ann, "carl", Vec::new()).await;
        let mut stream = Mallory::new().in_session(&net.ann).await;
        let forged = public_record(&random_key(), "eve");
        passes_on(&mut stream, vec![(member.id(), forged)]).await;
        assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
        assert_eq!(nick_of(net, member.id()).as_deref(), Some("carl"));
    });
}

#[test]
fn an_older_record_brings_no_name_back() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let member = Mallory::new();
        let older = public_record(member.key(), "carl");
        let mut stream = member.in_session_as(&net.ann, "carlo", Vec::new()).await;
        let mut other = Mallory::new().in_session(&net.ann).await;
        passes_on(&mut other, vec![(member.id(), older.clone())]).await;
        other.is_alive().await;
        assert_eq!(nick_of(net, member.id()).as_deref(), Some("carlo"));
        // Its own older record is answered with the newer one, so that it can sign above it.
        let profile = Profile {
            record: older,
            ..Profile::default()
        };
        stream.sends(&Frame::Profile(profile)).await;
        stream
            .receives_until("its newer record", |frame| {
                let of = |records: &[(PersonId, SignedRecord)]| {
                    records.iter().any(|(of, _)| *of == member.id())
                };
                matches!(frame, Frame::Records { records, .. } if of(records))
            })
            .await;
        assert_eq!(nick_of(net, member.id()).as_deref(), Some("carlo"));
    });
}

#[test]
fn nobody_learns_the_names_of_peers_in_other_rooms() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let member = Mallory::new();
        let _member = member.in_session_as(&net.ann, "carl", Vec::new()).await;
        // In no room.
        let stranger = Mallory::new();
        let mut outside = stranger.connected(&net.ann).await;
        outside.greet(stranger.profile("eve")).await;
        let mut inside = Mallory::new().in_session(&net.ann).await;
        for (stream, answers) in [(&mut outside, false), (&mut inside, true)] {
            let wanted = vec![(member.id(), 0), (stranger.id(), 0)];
            stream.sends(&Frame::WantRecords(wanted)).await;
            let answer = stream
                .receives_until("the answer", |frame| {
                    matches!(frame, Frame::Records { answer: true, .. })
                })
                .await;
            let Frame::Records { records, .. } = answer else {
                unreachable!("it was chosen")
            };
            let names: Vec<_> = records.iter().map(|(of, _)| *of).collect();
            assert_eq!(names, if answers { vec![member.id()] } else { vec![] });
        }
    });
}
