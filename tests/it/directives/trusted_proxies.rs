//! `WSGITrustedProxies`; what it does is tested in `proxies.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![trusted_proxies_takes_addresses_and_networks]);
}

fn trusted_proxies_takes_addresses_and_networks(case: &Case) {
    if !case.theirs() {
        // The original takes it for nothing.
        refuses(case, &[("WSGITrustedProxies", &["at least one argument"])]);
    }
    refuses(
        case,
        &[
            (
                "WSGITrustedProxies proxy.example.org",
                &["proxy.example.org", "address"],
            ),
            ("WSGITrustedProxies 10.0.0.0/33", &["10.0.0.0/33"]),
            ("WSGITrustedProxies 10.0.0.1 nonsense", &["nonsense"]),
            ("WSGITrustedProxies 10.0.0.256", &["10.0.0.256"]),
            ("WSGITrustedProxies 10.0.0.1:80", &["10.0.0.1:80"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGITrustedProxies 10.0.0.1 10.0.0.0/8 192.168.0.0/255.255.0.0 172.16 ::1 fd00::/8",
            "WSGITrustedProxies 127.0.0.1",
            "<Location /x>\nWSGITrustedProxies 127.0.0.1\n</Location>",
        ],
    );
}
