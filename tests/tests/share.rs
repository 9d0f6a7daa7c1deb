//! `hobnob share`, as curl sees it on other machines.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Machine, Screen, hobnob_binary, until};

const WITHIN: Duration = Duration::from_secs(20);

/// A share that runs on a machine.
struct Share {
    screen: Screen,
    link: String,
}

impl Share {
    fn of(machine: &Machine, arguments: &[&str]) -> Share {
        let arguments = [&["share"], arguments].concat();
        let screen = machine.screen(hobnob_binary(), &arguments);
        let ipv4 = format!("https://{}:", machine.ipv4());
        // The link is on standard output, the rest on standard error.
        screen.shows("Ctrl-C ends it.");
        screen.shows(&ipv4);
        let said = String::from_utf8(screen.bytes()).expect("it writes text");
        // The two streams may meet within a line.
        let at = said.find(&ipv4);
        let link = at.and_then(|at| said[at..].split_whitespace().next());
        Share {
            link: link.unwrap_or_else(|| panic!("no link: {said}")).to_owned(),
            screen,
        }
    }
}

#[test]
fn a_guest_without_hobnob_looks_at_a_file_and_continues_a_broken_download() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, guest) = (office.machine("ann"), office.machine("guest"));
    let content = "0123456789".repeat(500_000);
    let (file, copy) = (lab.file("film.mp4", &content), lab.file("copy.mp4", ""));
    let share = Share::of(&ann, &[&file]);
    share.screen.shows("one download");
    let fingerprint = String::from_utf8(share.screen.bytes()).expect("it writes text");
    let fingerprint = fingerprint
        .lines()
        .find(|line| line.matches(':').count() == 31)
        .expect("it shows the fingerprint")
        .to_owned();
    let page = guest.run("curl", &["-sSk", &share.link]).expect(0);
    for text in ["film.mp4", "5000000 bytes", &fingerprint, "Download"] {
        assert!(page.stdout.contains(text), "{text} is not in {page}");
    }
    guest.run("curl", &["-sS", &share.link]).expect(60); // nobody vouches for the certificate
    let download = format!("{}file", share.link);
    let part = ["-sSk", "-r", "0-999999", "-o", &copy, &download];
    guest.run("curl", &part).expect(0);
    let rest = ["-sSk", "-C", "-", "-o", &copy, &download];
    guest.run("curl", &rest).expect(0);
    let arrived = std::fs::read_to_string(&copy).expect("curl has written it");
    assert!(arrived == content, "the copy differs");
    share.screen.shows("downloads left: 0");
    until("the share ends", WITHIN, || {
        match guest.run("curl", &["-sSk", &share.link]).code {
            Some(7) => Ok(()), // nobody listens
            code => Err(format!("curl ends with {code:?}")),
        }
    });
}

#[test]
fn people_on_other_networks_are_refused_unless_they_are_invited() {
    let lab = Lab::open();
    let internet = lab.internet();
    let (ann, guest) = (internet.machine("ann"), internet.machine("guest"));
    let file = lab.file("plan.txt", "the plan");
    let share = Share::of(&ann, &[&file]);
    let refused = guest.run("curl", &["-sSk", &share.link]);
    assert_ne!(refused.code, Some(0), "{refused}");
    share.screen.shows("refused");
    let wide = Share::of(&ann, &[&file, "--anywhere", "--for", "1h"]);
    let download = format!("{}file", wide.link);
    for _ in 0..2 {
        let got = guest.run("curl", &["-sSk", &download]).expect(0);
        assert_eq!(got.stdout, "the plan");
    }
}
