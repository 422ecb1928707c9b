use serde_json::json;

use super::*;
use crate::AllowedRoute;

fn server() -> ServerRules {
    let route = AllowedRoute { network: "10.77.0.0/16".parse().unwrap(), nat: true };
    ServerRules::new("pst-0506070809", "10.88.0.0/24".parse().unwrap(), [route]).unwrap()
}

/// A table whose forward chain has this policy and these rules; other chains likewise, without a policy.
fn table(family: &str, policy: &str, chains: &[(&str, &[Value])]) -> Ruleset {
    let mut objects = vec![json!({ "metainfo": { "version": "1.0.6" } })];
    for (name, rules) in chains {
        let mut chain = json!({ "family": family, "table": "filter", "name": name, "handle": 1 });
        if *name == "FORWARD" {
            chain = json!({ "family": family, "table": "filter", "name": name, "type": "filter", "hook": "forward",
                "prio": 0, "policy": policy });
        }
        objects.push(json!({ "chain": chain }));
        objects.extend(
            rules
                .iter()
                .map(|expr| json!({ "rule": { "family": family, "table": "filter", "chain": name, "expr": expr } })),
        );
    }
    Ruleset::parse(json!({ "nftables": objects }).to_string().as_bytes()).unwrap()
}

fn device(key: &str, name: &str) -> Value {
    json!({ "match": { "op": "==", "left": { "meta": { "key": key } }, "right": name } })
}

fn saddr(network: &str, length: u8) -> Value {
    json!({ "match": { "op": "==", "left": { "payload": { "protocol": "ip", "field": "saddr" } },
        "right": { "prefix": { "addr": network, "len": length } } } })
}

fn established() -> Value {
    json!({ "match": { "op": "in", "left": { "ct": { "key": "state" } }, "right": ["established", "related"] } })
}

fn docker() -> Vec<Value> {
    let conntrack = json!({ "xt": { "type": "match", "name": "conntrack" } });
    vec![
        json!([{ "counter": { "packets": 0, "bytes": 0 } }, { "jump": { "target": "DOCKER-USER" } }]),
        json!([device("oifname", "docker0"), conntrack, { "accept": null }]),
        json!([device("iifname", "docker0"), { "accept": null }]),
    ]
}

#[test]
fn dockers_policy_is_found_with_the_command_that_helps() {
    let back = [json!([{ "counter": { "packets": 0, "bytes": 0 } }, { "return": null }])];
    let found = table("ip", "drop", &[("FORWARD", &docker()), ("DOCKER-USER", &back)]).blockage(&server()).unwrap();
    assert!(found.from_clients);
    assert_eq!(
        found.to_string(),
        "chain FORWARD of table ip filter, as Docker sets it, drops what clients send; let it through: \
         iptables -I DOCKER-USER -i pst-+ -j ACCEPT && \
         iptables -I DOCKER-USER -o pst-+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    );
    let conntrack = json!({ "xt": { "type": "match", "name": "conntrack" } });
    let one_way = [json!([device("iifname", "pst-*"), { "accept": null }]), back[0].clone()];
    let found = table("ip", "drop", &[("FORWARD", &docker()), ("DOCKER-USER", &one_way)]).blockage(&server()).unwrap();
    assert!(!found.from_clients, "the answers are still dropped: {found}");
    let both = [json!([device("oifname", "pst-*"), conntrack, { "accept": null }]), one_way[0].clone()];
    assert_eq!(table("ip", "drop", &[("FORWARD", &docker()), ("DOCKER-USER", &both)]).blockage(&server()), None);
}

#[test]
fn an_administrators_table_is_read_by_what_it_says_of_us() {
    let accept = json!({ "accept": null });
    let port = json!({ "match": { "op": "==", "left": { "payload": { "protocol": "tcp", "field": "dport" } },
        "right": 443 } });
    let answers = json!([established(), accept]);
    let cases: [(&str, Vec<Value>, Option<bool>); 9] = [
        ("no rule", vec![], Some(true)),
        ("all", vec![json!([accept])], None),
        ("by device", vec![json!([device("iifname", "pst-0506070809"), accept]), answers.clone()], None),
        ("by a set", vec![json!([device("iifname", "@vpn"), accept]), answers.clone()], Some(true)),
        ("another device", vec![json!([device("iifname", "wg0"), accept]), answers.clone()], Some(true)),
        ("by network", vec![json!([saddr("10.88.0.0", 16), accept]), answers.clone()], None),
        ("some ports for us", vec![json!([saddr("10.88.0.0", 16), port, accept]), answers.clone()], None),
        ("some ports for all", vec![json!([port, accept]), answers.clone()], Some(true)),
        ("answers forgotten", vec![json!([device("iifname", "pst-*"), accept])], Some(false)),
    ];
    for (what, rules, expected) in cases {
        let found = table("inet", "drop", &[("FORWARD", &rules)]).blockage(&server());
        assert_eq!(found.map(|found| found.from_clients), expected, "{what}");
    }
}

#[test]
fn a_chain_that_accepts_and_rejects_at_its_end_drops_as_well() {
    let reject = [json!([{ "reject": { "type": "icmpx", "expr": "admin-prohibited" } }])];
    let zones = [
        json!([device("iifname", "lan"), { "goto": { "target": "zone_lan" } }]),
        json!([{ "goto": { "target": "zone_public" } }]),
    ];
    let chains: [(&str, &[Value]); 3] = [("FORWARD", &zones), ("zone_lan", &[]), ("zone_public", &reject)];
    let found = table("inet", "accept", &chains).blockage(&server()).unwrap();
    assert_eq!(found.chain.2, "zone_public");
    assert!(found.command().starts_with("nft insert rule inet filter FORWARD iifname"), "{found}");
    assert_eq!(table("inet", "accept", &[("FORWARD", &[])]).blockage(&server()), None);
    assert_eq!(table("ip6", "drop", &[("FORWARD", &[])]).blockage(&server()), None, "no IPv6 in the tunnel");
}

#[test]
fn answers_are_let_through_by_their_state_alone_as_ufw_does_it() {
    let state = json!({ "xt": { "type": "match", "name": "conntrack" } });
    let before = [json!([state, { "accept": null }]), json!([state, { "drop": null }])];
    let jump = |to: &str| json!([{ "jump": { "target": to } }]);
    let base = [jump("ufw-before-forward"), jump("ufw-user-forward")];
    let chains = |user: &[Value]| {
        table("ip", "drop", &[("FORWARD", &base), ("ufw-before-forward", &before), ("ufw-user-forward", user)])
    };
    let found = chains(&[]).blockage(&server()).unwrap();
    assert!(found.from_clients, "new connections are dropped: {found}");
    assert!(found.command().starts_with("iptables -I FORWARD -i pst-+"), "{found}");
    assert_eq!(chains(&[json!([device("iifname", "pst-0506070809"), { "accept": null }])]).blockage(&server()), None);
}

#[test]
fn the_tables_of_iptables_legacy_are_read_by_their_policy() {
    assert!(is_legacy_drop("-P FORWARD DROP\n-A FORWARD -o docker0 -j ACCEPT\n"));
    assert!(!is_legacy_drop("-P FORWARD ACCEPT\n"));
    assert!(!is_legacy_drop("-P FORWARD DROP\n-A FORWARD -i pst-+ -j ACCEPT\n"));
}

#[test]
fn a_map_of_verdicts_is_looked_up() {
    let map = json!([{ "vmap": { "key": { "meta": { "key": "iifname" } },
        "data": { "set": [["lan", { "accept": null }], ["pst-*", { "jump": { "target": "vpn" } }]] } } }]);
    let accept = [json!([{ "accept": null }])];
    let answers = json!([established(), { "accept": null }]);
    let rules = [map, answers];
    assert_eq!(table("inet", "drop", &[("FORWARD", &rules), ("vpn", &accept)]).blockage(&server()), None);
    let drop = [json!([{ "drop": null }])];
    let found = table("inet", "accept", &[("FORWARD", &rules), ("vpn", &drop)]).blockage(&server()).unwrap();
    assert_eq!(found.chain.2, "vpn");
}
