//! Routes that cover the hosts themselves, as the full tunnel's do, and clients behind a router: the way to the other
//! hosts must not lead into the tunnel of a dead one.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, LISTED, Profile};
use crate::lab::{HOME, Lab, PAGE, WEBSITE, WEBSITE_SIX};
use crate::openvpn::OpenVpn;
use crate::page::{Knock, Probe, fetch, knock};
use crate::wait::{assert_stays, wait_until};

/// A crash costs about 8 s with the defaults, whatever the routes are; the machine may be busy.
const CRASH: Duration = Duration::from_secs(40);
const FETCH: Duration = Duration::from_secs(10);

/// Somebody at home who is connected, and a probe of the private page from there.
struct AtHome<'a> {
    cluster: &'a mut Cluster,
    client: Client,
    probe: Probe,
}

impl<'a> AtHome<'a> {
    #[track_caller]
    fn connect(cluster: &'a mut Cluster, openvpn: OpenVpn, profile: &Profile) -> Self {
        let client = Client::connect_of(&cluster.lab, openvpn, HOME, &profile.text);
        let probe = Probe::start(cluster.lab.client(HOME), PAGE);
        let home = Self { cluster, client, probe };
        home.host(Instant::now(), FETCH);
        home
    }

    /// The number of the host by which the page is reached after `moment`.
    #[track_caller]
    fn host(&self, moment: Instant, deadline: Duration) -> usize {
        let via = self.probe.wait_up(moment, deadline);
        let found = self.cluster.hosts.iter().position(|host| IpAddr::from(host.lan()) == via);
        found.unwrap_or_else(|| panic!("the page was reached by way of {via}, which is no host"))
    }

    /// Kills the host that carries the client, waits until it has found another one, and repairs the host.
    #[track_caller]
    fn survive_a_crash(&mut self) {
        let host = self.host(Instant::now(), FETCH);
        let moment = Instant::now();
        self.cluster.hosts[host].crash();
        self.probe.wait_via(self.cluster.hosts[1 - host].lan(), moment, CRASH);
        eprintln!("crash: the page was away for {:?}", self.probe.longest_gap(moment));
        assert!(self.client.runs(), "the same client process");
        self.cluster.hosts[host].start();
        self.cluster.hosts[host].wait_ready();
        self.cluster.wait_running(&self.cluster.hosts[host]);
    }

    /// Drains the host that carries the client, and puts it back into service.
    #[track_caller]
    fn survive_a_drain(&mut self) {
        let host = self.host(Instant::now(), FETCH);
        let moment = Instant::now();
        let path = format!("/hosts/{}", self.cluster.host_id(&self.cluster.hosts[host]));
        let api = self.cluster.any_api();
        api.post(&format!("{path}/drain"), &json!({ "budget_seconds": 0 }));
        self.probe.wait_via(self.cluster.hosts[1 - host].lan(), moment, CRASH);
        eprintln!("drain: the page was away for {:?}", self.probe.longest_gap(moment));
        assert!(self.client.runs(), "the same client process");
        wait_until("the host to be drained", LISTED, || api.get(&path)["drain"]["state"] == "drained");
        api.act(&format!("{path}/resume"));
        self.cluster.wait_running(&self.cluster.hosts[host]);
    }
}

/// A cluster whose server has these routes.
fn cluster(lab: Lab, routes: &[&str]) -> Cluster {
    let cluster = Cluster::start_in(lab, 2, 1);
    let routes: Vec<_> = routes.iter().map(|network| json!({ "network": network })).collect();
    let settings = json!({ "routes": routes, "dns_servers": [PAGE], "search_domains": ["postern.test"] });
    cluster.any_api().patch(&format!("/servers/{}", cluster.server), &settings);
    cluster
}

fn full_tunnel(openvpn: OpenVpn, lab: Lab) {
    let cluster = &mut cluster(lab, &["0.0.0.0/0"]);
    let profile = cluster.user_with_profile("anna");
    let inside = std::sync::Arc::clone(cluster.lab.client(HOME));
    let six = SocketAddr::from((WEBSITE_SIX, 80));
    let is_at_home = |via: IpAddr| via == IpAddr::from([203, 0, 113, 50]);
    assert!(fetch(&inside, WEBSITE).is_some_and(is_at_home), "without a VPN the website is reached from home");
    assert_eq!(knock(&inside, six), Knock::Open, "by IPv6 too");

    let mut home = AtHome::connect(cluster, openvpn, &profile);
    let all_of_it_is_inside = |home: &AtHome<'_>| {
        let inet = home.cluster.hosts[home.host(Instant::now(), FETCH)].inet();
        assert_eq!(fetch(&inside, WEBSITE), Some(inet.into()), "the website is reached through the tunnel");
        assert_ne!(knock(&inside, six), Knock::Open, "IPv6 does not leave outside");
    };
    all_of_it_is_inside(&home);
    home.survive_a_crash();
    all_of_it_is_inside(&home);
    home.survive_a_drain();
    all_of_it_is_inside(&home);
    assert_stays("IPv6 is blocked", Duration::from_millis(500), || knock(&inside, six) != Knock::Open);
    drop(home);
    assert_eq!(knock(&inside, six), Knock::Open, "whoever leaves the VPN has IPv6 again");
}

#[test]
fn the_full_tunnel_of_openvpn_2_5_survives_the_loss_of_its_host() {
    full_tunnel(OpenVpn::V25, Lab::new(None).with_home());
}

#[test]
fn the_full_tunnel_survives_the_loss_of_its_host() {
    full_tunnel(OpenVpn::Installed, Lab::new(None).with_home());
}

#[test]
fn the_full_tunnel_of_openvpn_2_7_survives_the_loss_of_its_host() {
    full_tunnel(OpenVpn::V27, Lab::new(None).with_home());
}

#[test]
fn hosts_that_are_reached_by_ipv6_are_spared_from_its_block() {
    full_tunnel(OpenVpn::Installed, Lab::new(None).with_home().reached_by_ipv6());
}

#[test]
fn hosts_inside_of_their_own_routes_are_reached_past_the_tunnel() {
    let cluster = &mut cluster(Lab::new(None).with_home().reached_on_core(), &["10.0.0.0/8"]);
    let profile = cluster.user_with_profile("anna");
    // The first is known by its address, the second by a name.
    assert!(profile.text.contains("remote 10.92.0.11 ") && profile.text.contains("remote h2.postern.test "));
    let mut home = AtHome::connect(cluster, OpenVpn::Installed, &profile);
    // Once from each to the other, whichever was the first.
    home.survive_a_crash();
    home.survive_a_crash();
    home.survive_a_drain();
}

#[test]
fn a_host_that_joins_inside_of_the_routes_is_told_to_those_who_are_connected() {
    let cluster = &mut cluster(Lab::new(None).with_home(), &["0.0.0.0/1", "128.0.0.0/1"]);
    let profile = cluster.user_with_profile("anna");
    let home = AtHome::connect(cluster, OpenVpn::Installed, &profile);
    let routes = |home: &AtHome<'_>| home.cluster.lab.client(HOME).run("ip", &["-4", "route", "show"]);
    let [first, second, third] = [11, 12, 13].map(|last| format!("203.0.113.{last} via 192.168.7.1"));
    let before = routes(&home);
    assert!(before.contains(&first) && before.contains(&second) && !before.contains(&third), "{before}");
    home.cluster.add_host();
    home.cluster.attach(&home.cluster.hosts[2]);
    wait_until("the third host to have a way past the tunnel", FETCH * 3, || routes(&home).contains(&third));
    home.host(Instant::now(), FETCH);
}
