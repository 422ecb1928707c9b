//! Conversations with OpenVPN 2.6.14 and 2.7.8 as they happened, through the machine, cut in every way.

use postern::openvpn::management::{
    Cid, ClientConfig, Command, Event, Farewell, Kid, Machine, Output, Refusal, Reply, Text,
};

const TRANSCRIPTS: [(&str, &str); 5] = [
    ("admitted", include_str!("transcripts/admitted.txt")),
    ("admitted-2.7", include_str!("transcripts/admitted-2.7.txt")),
    ("refused", include_str!("transcripts/refused.txt")),
    ("two-families", include_str!("transcripts/two-families.txt")),
    ("two-families-2.7", include_str!("transcripts/two-families-2.7.txt")),
];

/// Something that happens to the machine.
enum Step {
    Send(Command),
    Receive(Vec<u8>),
}

fn steps(transcript: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in transcript.lines() {
        if let Some(written) = line.strip_prefix("> ") {
            steps.extend(sent(written).map(Step::Send));
            continue;
        }
        let line = format!("{}\r\n", line.strip_prefix("< ").unwrap());
        match steps.last_mut() {
            Some(Step::Receive(bytes)) => bytes.extend(line.into_bytes()),
            _ => steps.push(Step::Receive(line.into_bytes())),
        }
    }
    steps
}

/// A command with the same kind of answer. Lines that belong to the one before them are none.
fn sent(line: &str) -> Option<Command> {
    let text = Text::new("x").unwrap();
    match line.split(' ').next().unwrap() {
        "status" => Some(Command::Status),
        "client-pending-auth" => {
            let config = ClientConfig::new("10.0.0.2".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
            Some(Command::Admit { cid: Cid(0), kid: Kid(0), config })
        }
        "client-deny" => Some(Command::Refuse { cid: Cid(0), kid: Kid(0), refusal: Refusal::Final(text) }),
        "client-kill" if line.contains("AUTH_FAILED,TEMP") || line.contains("Not for you") => None,
        "client-kill" => Some(Command::Kill { cid: Cid(0), farewell: Farewell::Restart }),
        "client-auth" | "ifconfig-push" | "push" | "END" => None,
        _ => Some(Command::Pid),
    }
}

/// Plays it with each received stretch cut by `cut`.
fn play(steps: &[Step], cut: impl Fn(&[u8]) -> Vec<&[u8]>) -> Vec<Output> {
    let (mut machine, mut out) = (Machine::new(), Vec::new());
    for step in steps {
        match step {
            Step::Send(command) => drop(machine.send(command)),
            Step::Receive(bytes) => {
                for part in cut(bytes) {
                    machine.receive(part);
                    out.extend(std::iter::from_fn(|| machine.poll()));
                }
            }
        }
    }
    assert_eq!(machine.in_flight(), 0, "every command was answered");
    out
}

#[test]
fn transcripts_mean_the_same_however_they_are_cut() {
    for (name, transcript) in TRANSCRIPTS {
        let steps = steps(transcript);
        let whole = play(&steps, |bytes| vec![bytes]);
        assert!(whole.iter().all(|out| !matches!(out, Output::Event(Event::Unknown(_)))), "{name}: {whole:#?}");
        assert_eq!(play(&steps, |bytes| bytes.chunks(1).collect()), whole, "{name} byte by byte");
        let length = |step: &Step| if let Step::Receive(bytes) = step { bytes.len() } else { 0 };
        let longest = steps.iter().map(length).max().unwrap();
        for at in 0..longest {
            let halves = play(&steps, |bytes| <[&[u8]; 2]>::from(bytes.split_at(at.min(bytes.len()))).to_vec());
            assert_eq!(halves, whole, "{name} cut at {at}");
        }
    }
}

#[test]
fn the_admission_reads_as_it_happened() {
    let out = play(&steps(TRANSCRIPTS[0].1), |bytes| vec![bytes]);
    let events: Vec<_> = out
        .iter()
        .filter_map(|out| match out {
            Output::Event(Event::Connect { .. }) => Some("connect"),
            Output::Event(Event::Address { .. }) => Some("address"),
            Output::Event(Event::Established { .. }) => Some("established"),
            Output::Event(Event::Disconnect { .. }) => Some("disconnect"),
            Output::Reply(Reply::Lines(_)) => Some("status"),
            Output::Reply(Reply::Error(_)) => Some("error"),
            _ => None,
        })
        .collect();
    assert_eq!(events, ["connect", "address", "established", "status", "disconnect", "error"]);
}
