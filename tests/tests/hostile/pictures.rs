//! Profile pictures: for strangers, wrong, too large, or pushed without a request.

use hobnob_protocol::frame::Profile;
use hobnob_protocol::picture::PICTURE_BYTES_MAX;
use hobnob_protocol::{ContentHash, Frame, close};
use hobnob_tests::hostile::{Mallory, RawStream, TestNet, public_record_with_picture};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn hash_of(file: &[u8]) -> ContentHash {
    ContentHash(*blake3::hash(file).as_bytes())
}

/// Ann chooses a picture. Returns its hash.
fn ann_has_picture(net: &TestNet) -> ContentHash {
    let file = net.dir().join("ann.png");
    let pixels = image::RgbImage::from_pixel(300, 200, image::Rgb([200, 30, 30]));
    pixels.save(&file).expect("the folder can be written to");
    net.ann.run(&["picture", &file.to_string_lossy()]).expect(0);
    let status = net.ann.run(&["--json", "id"]).expect(0).json();
    let hash = status[0]["picture"].as_str().expect("ann has a picture");
    hash.parse().expect("a hash")
}

/// Connects as somebody whose record names the picture with this hash.
async fn shows(mallory: &Mallory, net: &TestNet, picture: ContentHash) -> RawStream {
    let mut stream = mallory.connected(&net.ann).await;
    let record = public_record_with_picture(mallory.key(), "mallory", picture.0);
    stream
        .greet(Profile {
            record,
            ..Profile::default()
        })
        .await;
    stream
}

/// The picture of the attacker that ann has, if any.
fn named(net: &TestNet, mallory: &Mallory) -> Option<String> {
    let peers = net.ann.run(&["--json", "peers"]).expect(0).json();
    let mut peers = peers.into_iter();
    let known = peers.find(|known| known["peer"] == mallory.id().to_string())?;
    known["picture"].as_str().map(str::to_owned)
}

async fn asks(stream: &mut RawStream, picture: ContentHash) -> usize {
    stream.sends(&Frame::WantPicture(picture)).await;
    let answer = stream
        .receives_until("the answer", |frame| matches!(frame, Frame::Picture(..)))
        .await;
    let Frame::Picture(of, bytes) = answer else {
        unreachable!("it was chosen")
    };
    assert_eq!(of, picture);
    bytes.len()
}

#[test]
fn a_stranger_gets_no_picture_and_a_contact_does() {
    let net = TestNet::alone();
    let picture = ann_has_picture(&net);
    net.attack(async |net: &TestNet| {
        let stranger = Mallory::new();
        // In the lobby with ann.
        let mut stream = stranger.in_session(&net.ann).await;
        assert_eq!(asks(&mut stream, picture).await, 0);
        assert_eq!(asks(&mut stream, ContentHash([7; 32])).await, 0);
        let contact = Mallory::new();
        net.accept(&contact);
        let mut stream = contact.in_session(&net.ann).await;
        let bytes = asks(&mut stream, picture).await;
        assert!((1..=PICTURE_BYTES_MAX).contains(&bytes), "{bytes}");
        // One that has begun as a stranger gets it once ann accepts it.
        let later = Mallory::new();
        let mut stream = later.in_session(&net.ann).await;
        assert_eq!(asks(&mut stream, picture).await, 0);
        net.accept(&later);
        let arrives =
            |frame: &Frame| matches!(frame, Frame::Picture(_, bytes) if !bytes.is_empty());
        stream.receives_until("the picture", arrives).await;
    });
}

#[test]
fn wrong_bytes_for_a_hash_end_the_session_and_are_not_stored() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        net.accept(&mallory);
        let picture = hash_of(PNG);
        let mut stream = shows(&mallory, net, picture).await;
        let wants = |frame: &Frame| *frame == Frame::WantPicture(picture);
        stream.receives_until("a request", wants).await;
        let other = [PNG, b"other"].concat();
        stream.sends(&Frame::Picture(picture, other.into())).await;
        assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
        assert_eq!(named(net, &mallory), None);
    });
}

#[test]
fn only_a_picture_that_the_record_names_is_stored_and_only_a_picture() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        net.accept(&mallory);
        // No picture at all, but the hash is right.
        let text = b"<svg onload=alert(1)>".to_vec();
        let mut stream = shows(&mallory, net, hash_of(&text)).await;
        let wants = |frame: &Frame| matches!(frame, Frame::WantPicture(_));
        stream.receives_until("a request", wants).await;
        stream
            .sends(&Frame::Picture(hash_of(&text), text.into()))
            .await;
        // Nobody named this one.
        stream
            .sends(&Frame::Picture(hash_of(PNG), PNG.to_vec().into()))
            .await;
        stream.is_alive().await;
        assert_eq!(named(net, &mallory), None);
        // The record of a stranger is not a reason to ask.
        let stranger = Mallory::new();
        let mut stream = shows(&stranger, net, hash_of(PNG)).await;
        stream
            .sends(&Frame::Picture(hash_of(PNG), PNG.to_vec().into()))
            .await;
        stream.is_alive().await;
        assert_eq!(named(net, &stranger), None);
    });
}

#[test]
fn a_picture_that_is_too_large_ends_the_session() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        net.accept(&mallory);
        let mut large = PNG.to_vec();
        large.resize(PICTURE_BYTES_MAX + 1, 7);
        let picture = hash_of(&large);
        let mut stream = shows(&mallory, net, picture).await;
        stream.sends(&Frame::Picture(picture, large.into())).await;
        assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
        assert_eq!(named(net, &mallory), None);
    });
}
